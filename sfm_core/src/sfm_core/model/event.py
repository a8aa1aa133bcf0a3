"""Changes: the thin rows of the change log, and their CloudEvents form. They never carry content."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

__all__ = ["DATASCHEMA", "Change", "ChangeData", "ChangePage", "ChangeType", "Event", "change_of", "event_of"]

ChangeType = Literal[
    "memory.created",
    "memory.updated",
    "memory.deleted",
    "memory.erased",
    "memory.restored",
    "memory.linked",
    "memory.unlinked",
]

DATASCHEMA = "urn:somafractalmemory:memory-change:1"


class Change(Struct, frozen=True, kw_only=True, gc=False):
    """One row of the change log. `sequence` rises strictly; readers never see a gap that is filled later."""

    sequence: int
    type: ChangeType
    memory_id: str
    version: int
    namespace: str
    time: datetime
    target: str | None = None


class ChangeData(Struct, frozen=True, kw_only=True, gc=False):
    """The data of a change event: ids and numbers only."""

    memory_id: str
    version: int
    namespace: str
    sequence: int
    target: str | UnsetType = UNSET


class Event(Struct, frozen=True, kw_only=True, gc=False):
    """A change as a CloudEvents 1.0 event in structured JSON. `id` is equal for repeats of the same change."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: ChangeType
    subject: str
    time: datetime
    datacontenttype: str = "application/json"
    dataschema: str = DATASCHEMA
    data: ChangeData


class ChangePage(Struct, frozen=True):
    """A page of events: `next` is the `after` that continues it (None at the end), `last_sequence` the log's newest."""

    items: tuple[Event, ...]
    next: int | None
    last_sequence: int


def event_of(change: Change, source: str) -> Event:
    """Return the CloudEvents form of `change`; `source` names this installation."""
    return Event(
        id=f"{change.sequence}",
        source=source,
        type=change.type,
        subject=change.memory_id,
        time=change.time,
        data=ChangeData(
            memory_id=change.memory_id,
            version=change.version,
            namespace=change.namespace,
            sequence=change.sequence,
            target=change.target if change.target is not None else UNSET,
        ),
    )


def change_of(event: Event) -> Change:
    """Return the row of the change log that `event` tells of."""
    data = event.data
    return Change(
        sequence=data.sequence,
        type=event.type,
        memory_id=data.memory_id,
        version=data.version,
        namespace=data.namespace,
        time=event.time,
        target=data.target if data.target is not UNSET else None,
    )
