"""reconcile, reindex and migrate: looking after the store from the machine that has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
import msgspec

from sfm_app.cli.invocation import Invocation, command
from sfm_app.cli.progress import PROGRESS, bar
from sfm_app.cli.tables import counted

__all__ = ["migrate_command", "reconcile_command", "reindex_command"]

_HERE = "works on the store itself"


@command("reconcile")
@click.option("--dry-run", is_flag=True, help="Only tell what differs.")
@PROGRESS
def reconcile_command(invocation: Invocation, dry_run: bool, progress: bool | None) -> None:
    """Make the index agree with the records.

    Compares every memory with the vector index and mends what differs.
    """
    from sfm_core.services.principal import EVERYTHING

    invocation.refuse_url(_HERE)
    with invocation.local() as target, bar("reconcile", progress, quiet=invocation.quiet) as advance:
        maintenance = target.runtime.services.maintenance
        report = target.run(maintenance.reconcile(EVERYTHING, repair=not dry_run, progress=advance))
    invocation.show(msgspec.to_builtins(report), _reconciled)


def _reconciled(report: Mapping[str, Any]) -> str:
    found = f"{report['missing']} missing, {report['stale']} stale, {report['orphaned']} orphaned"
    if not any(report[name] for name in ("missing", "stale", "orphaned")):
        end = "the index agrees with the records"
    else:
        end = f"{found}; " + ("mended" if report["repaired"] else "not mended, run it without --dry-run")
    return f"checked {counted(report['checked'], 'memory', 'memories')}: {end}"


@command("reindex")
@PROGRESS
def reindex_command(invocation: Invocation, progress: bool | None) -> None:
    """Build the index anew.

    Throws the projections away and makes them again with the embedding in force.
    """
    from sfm_core.services.principal import EVERYTHING

    invocation.refuse_url(_HERE)
    with invocation.local(rebuild=True) as target, bar("reindex", progress, quiet=invocation.quiet) as advance:
        count = target.run(target.runtime.services.maintenance.reindex(EVERYTHING, progress=advance))
    invocation.show({"memories": count}, lambda done: f"indexed {counted(done['memories'], 'memory', 'memories')} anew")


@command("migrate")
@click.option("--check", is_flag=True, help="Only tell whether a migration is due; exit code 1 when one is.")
def migrate_command(invocation: Invocation, check: bool) -> None:
    """Bring the schema of the backends up to date.

    Schema is made where there is none. A mode that makes no schema at start needs this once for each new version.
    """
    from sfm_core.errors import ConfigError

    invocation.refuse_url(_HERE)
    try:
        backends, due = _opened(invocation, create=False), False
    except ConfigError:
        if check:
            raise
        backends, due = _opened(invocation, create=True), True
    invocation.show({"backends": backends, "up_to_date": True, "migrated": due}, _migrated)


def _opened(invocation: Invocation, *, create: bool) -> list[str]:
    """Open every backend that a service has and return their names.

    Raises:
        ConfigError: one has no schema, or an old one, and may not make it.
        BackendUnavailable: one does not answer.
    """
    from sfm_core.config.modes import Role
    from sfm_core.errors import BackendUnavailable, ConfigError

    with invocation.local(role=Role.SERVICE, create=create) as target:
        found = target.health()["backends"]
    missing = [f"{name}: {backend['detail']}" for name, backend in found.items() if backend["state"] != "up"]
    if any("sfm migrate" in detail for detail in missing):
        raise ConfigError("; ".join(missing))
    if missing:
        raise BackendUnavailable("; ".join(missing))
    return sorted(found)


def _migrated(document: Mapping[str, Any]) -> str:
    done = "brought up to date" if document["migrated"] else "up to date already, nothing to do"
    return f"{done}: {', '.join(document['backends'])}"
