"""The plain dictionary model of a memory: what every answer of the real thing is compared with."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope

__all__ = ["Entry", "Reference", "same"]


def same(a: object, b: object) -> bool:
    """Tell whether two values are the same in JSON: true is not 1 (Python takes them for equal), a tuple is a list."""
    return msgspec.json.encode(a, order="deterministic") == msgspec.json.encode(b, order="deterministic")


class Entry:
    """One memory: its versions (memory, tombstone), oldest first, and the operation that hid it."""

    def __init__(self, memory: Memory) -> None:
        self.versions: list[tuple[Memory, bool]] = [(memory, False)]
        self.operation: str | None = None

    @property
    def memory(self) -> Memory:
        """The newest version."""
        return self.versions[-1][0]

    @property
    def live(self) -> bool:
        """Whether it is no tombstone."""
        return not self.versions[-1][1]

    def at(self, instant: datetime) -> Memory | None:
        """Return the version that was seen at `instant`."""
        past = [(memory, gone) for memory, gone in self.versions if memory.updated_at <= instant]
        return past[-1][0] if past and not past[-1][1] else None


class Reference:
    """Dictionaries and loops; no index, no storage, no clock."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.erased: set[str] = set()
        self.links: dict[tuple[str, str, str], float] = {}
        self.undone: set[str] = set()
        self.log: list[tuple[str, str, int]] = []

    def live(self, scope: Scope) -> dict[str, Memory]:
        """Return the live memories of a scope by id."""
        return {id: e.memory for id, e in self.entries.items() if e.live and scope.covers(e.memory.namespace)}

    def is_live(self, id: str) -> bool:
        """Tell whether a memory is there."""
        return id in self.entries and self.entries[id].live

    def twins(self, namespace: str, given: dict[str, Any]) -> set[str]:
        """Return the ids of the live memories that equal what is given; content and payload count when absent too."""
        asked = {"content": None, "payload": {}, **given}
        found = self.live(Scope(namespace)).items()
        return {id for id, one in found if all(same(getattr(one, field), value) for field, value in asked.items())}

    def holder(self, namespace: str, coordinate: tuple[float, ...] | None) -> str | None:
        """Return the id of the live memory at a coordinate."""
        if coordinate is None:
            return None
        found = (id for id, one in self.live(Scope(namespace)).items() if one.coordinate == coordinate)
        return next(found, None)

    def write(self, kind: str, memory: Memory) -> None:
        """Note a new version."""
        if memory.id in self.entries:
            self.entries[memory.id].versions.append((memory, False))
        else:
            self.entries[memory.id] = Entry(memory)
        self.log.append((f"memory.{kind}", memory.id, memory.version))

    def remove(self, tombstone: Memory, operation: str) -> None:
        """Note a tombstone."""
        entry = self.entries[tombstone.id]
        entry.versions.append((tombstone, True))
        entry.operation = operation
        self.log.append(("memory.deleted", tombstone.id, tombstone.version))

    def erase(self, id: str) -> None:
        """Forget a memory and its links."""
        entry = self.entries.pop(id)
        self.erased.add(id)
        self.links = {key: value for key, value in self.links.items() if id not in key[:2]}
        self.log.append(("memory.erased", id, entry.memory.version + 1))

    def revivable(self, operation: str) -> list[str]:
        """Return the ids that undoing `operation` brings back, in order of id."""
        hidden = sorted(id for id, e in self.entries.items() if not e.live and e.operation == operation)
        return [
            id
            for id in hidden
            if self.holder(self.entries[id].memory.namespace, self.entries[id].memory.coordinate) is None
        ]

    def neighbours(self, id: str) -> set[str]:
        """Return the live memories one link away."""
        ends = {t if s == id else s for s, t, _ in self.links if id in (s, t)}
        return {end for end in ends if self.is_live(end)}

    def visible_links(self, ids: Iterable[str]) -> int:
        """Return how many links have both ends among `ids`."""
        inside = set(ids)
        return sum(s in inside and t in inside for s, t, _ in self.links)
