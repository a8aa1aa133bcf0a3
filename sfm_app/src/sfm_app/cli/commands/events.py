"""events: what consumers gave up on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import click

from sfm_app.cli.invocation import Group, Invocation, command
from sfm_app.cli.tables import columns, counted

if TYPE_CHECKING:
    from sfm_app.cli.local import LocalTarget
    from sfm_core.ports.events import DeadLetter, DeadLetters

__all__ = ["events_command"]

_GROUP = click.option("--group", metavar="NAME", help="The consumer group; SFM_CONSUMER_GROUP.")
_RAW_SHOWN = 200


@click.group("events", cls=Group)
def events_command() -> None:
    """Look after the event bus."""


@click.group("dlq", cls=Group)
def dlq_command() -> None:
    """Look after the dead letters: events that consumers gave up on."""


@command("list")
@_GROUP
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, metavar="N", help="How many at most; 100 unless given."
)
def list_letters(invocation: Invocation, group: str | None, limit: int) -> None:
    """Show the oldest dead letters and why they were given up."""
    with _letters(invocation) as (target, letters):
        name = group or target.runtime.settings.consumer_group
        found = target.run(letters.dead_letters(name, limit=limit))
    invocation.show({"group": name, "items": [_document(letter) for letter in found]}, _listed)


@command("replay")
@_GROUP
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="How many at most, oldest first; all unless given."
)
def replay_letters(invocation: Invocation, group: str | None, limit: int | None) -> None:
    """Deliver dead letters again, oldest first, after what was wrong is mended."""
    with _letters(invocation) as (target, letters):
        name = group or target.runtime.settings.consumer_group
        found = target.run(letters.dead_letters(name, limit=limit or _ALL))
        target.run(letters.replay(name, found))
    invocation.show(
        {"group": name, "replayed": len(found)},
        lambda done: f"delivering {counted(done['replayed'], 'dead letter', 'dead letters')} again to {done['group']}",
    )


_ALL = 1_000_000


@contextmanager
def _letters(invocation: Invocation) -> Iterator[tuple[LocalTarget, DeadLetters]]:
    """Open storage and bus, and give the bus as one that keeps dead letters.

    Raises:
        CapabilityNotSupported: it keeps none, or none that this process could see.
    """
    from sfm_app.pipeline import can
    from sfm_core.config.modes import Role
    from sfm_core.errors import CapabilityNotSupported
    from sfm_core.ports.events import DeadLetters, EventsCapability

    invocation.refuse_url("works on the event bus itself")
    with invocation.local(role=Role.RELAY) as target:
        if not can(target.runtime, "events", EventsCapability.DEAD_LETTERS):
            backend = target.runtime.plan.slots["events"].backend
            raise CapabilityNotSupported(f"SFM_EVENTS: {backend} keeps no dead letters (capability dead_letters)")
        yield target, cast(DeadLetters, target.runtime.ports.events)


def _document(letter: DeadLetter) -> dict[str, Any]:
    import msgspec

    delivery = letter.delivery
    event = None if delivery.event is None else msgspec.to_builtins(delivery.event)
    raw = None if delivery.raw is None else delivery.raw[:_RAW_SHOWN].decode("utf-8", "backslashreplace")
    return {"error": letter.error, "lane": delivery.lane, "event": event, "raw": raw}


def _listed(document: Mapping[str, Any]) -> str:
    rows = [
        (
            "?" if (event := item["event"]) is None else event["data"]["sequence"],
            "unreadable" if event is None else event["type"].removeprefix("memory."),
            "" if event is None else event["data"]["namespace"],
            "" if event is None else event["data"]["memory_id"],
            item["error"],
        )
        for item in document["items"]
    ]
    return columns(("SEQUENCE", "CHANGE", "NAMESPACE", "MEMORY", "ERROR"), rows)


for _command in (list_letters, replay_letters):
    dlq_command.add_command(_command)
events_command.add_command(dlq_command)
