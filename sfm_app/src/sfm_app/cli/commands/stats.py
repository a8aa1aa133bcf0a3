"""stats and capabilities: what is stored where, and what the plan in force can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from sfm_app.cli import calls
from sfm_app.cli.invocation import Invocation, command
from sfm_app.cli.tables import columns, fields

__all__ = ["capabilities_command", "stats_command"]

_COUNTS = ("memories", "deleted", "versions", "links")


@command("stats")
@click.option("--namespace", metavar="NS", help="Only this namespace; `a/**` takes all below as well.")
def stats_command(invocation: Invocation, namespace: str | None) -> None:
    """Count what is stored.

    Memories, tombstones, versions and links, by namespace and in all.
    """
    with invocation.target() as target:
        sums = target.ask(calls.stats(namespace=namespace))
        found = target.ask(calls.namespaces(namespace=namespace))
    invocation.show({**sums, "by_namespace": found["items"]}, _view)


def _view(document: Mapping[str, Any]) -> str:
    rows = [(one["namespace"], *(one[name] for name in _COUNTS)) for one in document["by_namespace"]]
    rows.append(("all", *(document[name] for name in _COUNTS)))
    table = columns(("NAMESPACE", *(name.upper() for name in _COUNTS)), rows)
    return f"{table}\nchanges: {document['last_sequence']}, indexed up to {document['indexed_sequence']}"


@command("capabilities")
def capabilities_command(invocation: Invocation) -> None:
    """Show what the plan in force can do: mode, slots, arms of recall, limits."""
    invocation.answer(calls.capabilities(), _plan)


def _plan(document: Mapping[str, Any]) -> str:
    rows = [
        (name, slot["plugin"], slot["backend"], ", ".join(slot["capabilities"])) if slot else (name, "-", "-", "")
        for name, slot in document["slots"].items()
    ]
    head = fields({name: document[name] for name in ("mode", "indexing", "arms")})
    return f"{head}\n\n{columns(('SLOT', 'PLUGIN', 'BACKEND', 'CAPABILITIES'), rows)}\n\n{fields(document['limits'])}"
