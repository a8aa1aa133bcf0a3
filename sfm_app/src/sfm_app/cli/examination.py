"""The checks of `sfm doctor`: from the outside in, each only where those before it leave something to look at."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

from sfm_app.cli import calls
from sfm_app.cli.invocation import Invocation
from sfm_app.cli.remote import RemoteTarget
from sfm_app.pipeline import can
from sfm_core import errors
from sfm_core.config.backends import plan_configs
from sfm_core.config.env import Environment
from sfm_core.config.modes import Indexing, Plan, Role, make_plan
from sfm_core.config.settings import Settings, load_settings
from sfm_core.errors import BackendError, SfmError
from sfm_core.plugins.host import PluginHost
from sfm_core.plugins.registry import LoadedPlugin
from sfm_core.ports.events import DeadLetters, EventsCapability
from sfm_core.runtime import Runtime
from sfm_core.services.principal import EVERYTHING
from sfm_core.services.relay import RELAY

__all__ = ["Finding", "examine"]

_MOST_DEAD = 1000
_OURS = ("sfm-core", "sfm-app")

# The first type that an error is an instance of counts.
_FIXES: tuple[tuple[type[SfmError], str], ...] = (
    (
        errors.ConfigError,
        "set the variable or option that it names to what is allowed; docs/CONFIGURATION.md lists all",
    ),
    (errors.PluginError, "install, update or remove the plugin that it names, then try `sfm plugins check NAME`"),
    (
        errors.CorruptData,
        "put back a backup, or import an archive into a new data directory; the file was left as it is",
    ),
    (errors.BackendUnavailable, "start what it names, or end the process that holds it, or correct its address"),
    (errors.CapabilityNotSupported, "choose a backend that has what is missing"),
)


@dataclass(frozen=True)
class Finding:
    """What one check found: `ok`, `warning` or `failed`, and how to mend it."""

    name: str
    state: str
    detail: str
    fix: str = ""

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"name": self.name, "state": self.state, "detail": self.detail, "fix": self.fix}


def examine(invocation: Invocation) -> list[Finding]:
    """Carry out the checks that apply and return what they found, in order; no check stops the program."""
    findings = [_versions()]
    try:
        environment = Environment.read(invocation.overrides())
        settings = load_settings(environment)
        plan = None if settings.url is not None else _plan(settings)
    except SfmError as error:
        return [*findings, _failure("settings", error)]
    if settings.url is not None:
        return [*findings, *_service(settings)]
    assert plan is not None
    findings.append(Finding("settings", "ok", f"mode {plan.mode}"))
    findings.append(_data_dir(plan.data_dir))
    findings += _plugins(plan, environment)
    if all(finding.state != "failed" for finding in findings):
        findings += _store(invocation, plan)
    return findings


def _plan(settings: Settings) -> Plan:
    """Return the plan to look at: that of a service, where the index depends on its event bus."""
    plan = make_plan(settings, Role.LIBRARY)
    return plan if plan.indexing is Indexing.INLINE else make_plan(settings, Role.SERVICE)


def _failure(name: str, error: SfmError) -> Finding:
    fix = next((text for kind, text in _FIXES if isinstance(error, kind)), "")
    return Finding(name, "failed", " ".join(str(error).split()), fix)


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _versions() -> Finding:
    found = {name: _version(name) for name in _OURS}
    detail = f"Python {platform.python_version()}, " + ", ".join(f"{name} {number}" for name, number in found.items())
    if len(set(found.values())) == 1 and None not in found.values():
        return Finding("versions", "ok", detail)
    return Finding("versions", "failed", detail, "install the same version of all of them: pip install -U sfm-app")


def _data_dir(folder: Path | None) -> Finding:
    name = "data directory"
    if folder is None:
        return Finding(name, "ok", "the plan uses none")
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.R_OK | os.W_OK | os.X_OK):
        return Finding(
            name,
            "failed",
            f"{folder}: {nearest} is no folder that this user can read and write",
            "change its owner or mode, or set SFM_DATA_DIR (--data-dir) to another folder",
        )
    return Finding(name, "ok", str(folder) if nearest == folder else f"{folder}, will be made when it is needed")


def _plugins(plan: Plan, environment: Environment) -> Iterator[Finding]:
    """Load each plugin alone, so that a broken one is told from the others; then all, with what slots and settings need."""
    failed = False
    for name in plan.plugins:
        try:
            [plugin] = PluginHost().load([name]).infos
        except SfmError as error:
            failed = True
            yield _failure(f"plugin {name}", error)
        else:
            yield Finding(f"plugin {name}", "ok", _described(plugin))
    if failed:
        return
    try:
        registry = PluginHost().load(plan.plugins, slots=plan.slots.values())
        plan_configs(plan, registry, environment)
    except SfmError as error:
        yield _failure("plan", error)
    else:
        yield Finding("plan", "ok", ", ".join(f"{slot.name} {slot.backend}" for slot in plan.slots.values()))


def _described(plugin: LoadedPlugin) -> str:
    return f"{plugin.distribution} {plugin.version}, plugin API {plugin.api}"


def _store(invocation: Invocation, plan: Plan) -> Iterator[Finding]:
    if plan.data_dir is not None and not (plan.data_dir.is_dir() and any(plan.data_dir.iterdir())):
        yield Finding("store", "ok", "nothing is stored yet")
        return
    try:
        with invocation.local(role=plan.role) as target:
            yield from _backends(target.health())
            maintenance = target.runtime.services.maintenance
            report = target.run(maintenance.reconcile(EVERYTHING, repair=False))
            stats = target.ask(calls.stats(namespace=None))
            if plan.indexing is Indexing.CONSUMER:
                yield target.run(_pipeline(target.runtime))
    except SfmError as error:
        yield _failure("store", error)
        return
    differs = report.missing + report.stale + report.orphaned
    behind = stats["last_sequence"] - stats["indexed_sequence"]
    detail = f"{report.checked} memories, {differs} differ, {behind} changes behind"
    if differs or behind:
        state = "warning" if behind and plan.indexing is Indexing.CONSUMER else "failed"
        yield Finding("index", state, detail, "run `sfm reconcile`; if that is not enough, `sfm reindex`")
    else:
        yield Finding("index", "ok", detail)


async def _pipeline(runtime: Runtime) -> Finding:
    """Look at what lies between change log and index."""
    storage, events, group = runtime.ports.storage, runtime.ports.events, runtime.settings.consumer_group
    name = "pipeline"
    last, relayed = await storage.last_sequence(), await storage.cursor(RELAY)
    try:
        waiting = 0 if events is None else sum((await events.lag(group)).values())
        dead = 0
        if can(runtime, "events", EventsCapability.DEAD_LETTERS):
            dead = len(await cast(DeadLetters, events).dead_letters(group, limit=_MOST_DEAD))
    except BackendError as error:
        return Finding(name, "warning", " ".join(str(error).split()), "start the event bus, or correct its address")
    detail = f"{last - relayed} changes to relay, {waiting} events to work on, {dead} dead letters"
    if dead:
        return Finding(
            name, "warning", detail, "see `sfm events dlq list`, mend the cause, then `sfm events dlq replay`"
        )
    if waiting or last > relayed:
        return Finding(
            name, "warning", detail, "if that does not shrink, look at `/readyz` of `sfm consumer`, or start one"
        )
    return Finding(name, "ok", detail)


def _backends(readiness: dict[str, Any]) -> Iterator[Finding]:
    for name, backend in readiness["backends"].items():
        if backend["state"] == "up":
            yield Finding(f"backend {name}", "ok", "it answers")
            continue
        state = "failed" if backend["required"] else "warning"
        yield Finding(f"backend {name}", state, backend["detail"], "start it, or correct its address")


def _service(settings: Settings) -> Iterator[Finding]:
    try:
        with RemoteTarget(str(settings.url), settings.api_key) as target:
            readiness = target.health()
            yield Finding("service", "ok" if readiness["status"] == "ready" else "failed", readiness["status"])
            yield from _backends(readiness)
            loaded = target.ask(calls.plugins())["items"]
    except SfmError as error:
        fix = "start it with `sfm serve`, or correct --url or SFM_URL"
        if isinstance(error, errors.Unauthenticated):
            fix = "make a key with `sfm keys create` on the service's own store, and set SFM_API_KEY"
        yield Finding("service", "failed", " ".join(str(error).split()), fix)
        return
    yield Finding("plugins", "ok", ", ".join(f"{plugin['name']} {plugin['version']}" for plugin in loaded))
