"""What one transaction knows and changes: rows as they were read, with its own effects over them. Nothing here does I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, MutableMapping
from datetime import datetime
from typing import Any, NoReturn, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from sfm_core.errors import BackendError, Conflict, NotFound, StaleVersion
from sfm_core.model.event import ChangeType
from sfm_core.model.link import Link
from sfm_core.model.memory import Memory
from sfm_core.ports.writes import Operation
from sfm_postgres.keys import place_key, twin_key
from sfm_postgres.rows import Content

__all__ = ["WHERE", "Changed", "Held", "LinkKey", "Past", "View", "refuse"]

WHERE = "postgres/storage"

LinkKey = tuple[str, str, str]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Held(Struct, frozen=True, kw_only=True):
    """The newest version of a memory, as the transaction sees it.

    Attributes:
        memory: the version.
        deleted: whether it is a tombstone.
        operation: the one that deleted it.
        sequence: of its change; below zero for one of this transaction, see `View.log`.
        twin: its twin key.
        place: the key of the place that it holds.
        content: what is stored beside it; None when that is as in the row.
        row: the version of the row in the table, None when there is none yet.
    """

    memory: Memory
    deleted: bool = False
    operation: str | None = None
    sequence: int
    twin: str
    place: str | None = None
    content: Content | None = None
    row: int | None = None

    def is_live(self, now: datetime) -> bool:
        """Tell whether it is neither a tombstone nor expired."""
        return not self.deleted and (self.memory.expires_at is None or self.memory.expires_at > now)


class Changed(Struct, frozen=True):
    """A change to be logged."""

    type: ChangeType
    memory_id: str
    version: int
    namespace: str
    time: datetime
    target: str | None = None
    operation: str | None = None


class Past(Struct, frozen=True):
    """A version that is history now, the newest until `until`. Without `content` it is the row that is in the table."""

    memory: Memory
    deleted: bool
    until: datetime
    content: Content | None = None


class View:
    """The state of a group of writes. Every change of it is journaled, so that a refused part can be taken back."""

    def __init__(self) -> None:
        self.records: dict[str, Held | None] = {}
        self.twins: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
        self.places: dict[str, str | None] = {}
        self.stored_places: dict[str, str] = {}
        self.erased: dict[str, bool] = {}
        self.taken: dict[str, bool] = {}
        self.links: dict[LinkKey, tuple[Link, int] | None] = {}
        self.operations: dict[str, Operation] = {}
        self.members: dict[tuple[str, str], bool] = {}
        self.counts: dict[str, int] = {}
        self.sequences: dict[str, int] = {}
        self.answers: dict[tuple[str, str], Any] = {}
        self.removals: dict[str, int] = {}
        self.changes: list[Changed] = []
        self.past: list[Past] = []
        self.touched: dict[str, bool] = {}
        self.tied: dict[LinkKey, bool] = {}
        self._journal: list[tuple[MutableMapping[Any, Any], Any, Any]] = []

    def put(self, table: MutableMapping[K, V], key: K, value: V) -> None:
        """Set an entry of a table."""
        self._journal.append((table, key, table.get(key, _NOTHING)))
        table[key] = value

    def mark(self) -> tuple[int, int, int]:
        """Return the place that `take_back` returns to."""
        return len(self._journal), len(self.changes), len(self.past)

    def take_back(self, mark: tuple[int, int, int]) -> None:
        """Undo everything after `mark`."""
        journal, changes, past = mark
        while len(self._journal) > journal:
            table, key, before = self._journal.pop()
            if before is _NOTHING:
                del table[key]
            else:
                table[key] = before
        del self.changes[changes:]
        del self.past[past:]

    def seen(self, held: Held) -> None:
        """Take in a row that was read."""
        self.records[held.memory.id] = held
        if held.place is not None:
            self.stored_places[held.memory.id] = held.place
        self._place(held)

    def hold(self, held: Held) -> None:
        """Make `held` the newest version of its memory."""
        id = held.memory.id
        before = self.records.get(id)
        if before is not None and before.place is not None and before.place != held.place:
            self.put(self.places, before.place, None)
        self.put(self.records, id, held)
        self.put(self.touched, id, True)
        self._place(held, journaled=True)

    def wipe(self, held: Held) -> None:
        """Forget a memory that is erased, its history and its links."""
        id = held.memory.id
        if held.place is not None:
            self.put(self.places, held.place, None)
        self.put(self.records, id, None)
        self.put(self.touched, id, True)
        self.put(self.erased, id, True)
        for key, tied in list(self.links.items()):
            if tied is not None and id in key[:2]:
                self.put(self.links, key, None)

    def log(self, changed: Changed) -> int:
        """Log a change; return its sequence, counted from -1 downwards until the real ones are known."""
        self.changes.append(changed)
        sequence = -len(self.changes)
        if changed.operation is not None:
            self.put(self.sequences, changed.operation, sequence)
            member = (changed.operation, changed.memory_id)
            if not self.members.get(member):
                self.put(self.members, member, True)
                self.put(self.counts, changed.operation, self.counts.get(changed.operation, 0) + 1)
        return sequence

    def find(self, id: str) -> Held | None:
        """Return the newest version of a memory."""
        return self.records.get(id)

    def known(self, id: str) -> Held:
        """Return the newest version of a memory, or refuse."""
        held = self.records.get(id)
        if held is None:
            refuse(NotFound, f"memory {id} is not there")
        return held

    def holder(self, memory: Memory, now: datetime) -> Held | None:
        """Return the live memory at the coordinate of `memory`. An expired one loses the place."""
        if memory.coordinate is None:
            return None
        place = place_key(memory.namespace, memory.coordinate)
        id = self.places.get(place)
        held = self.records.get(id) if id is not None else None
        if held is None:
            return None
        if held.is_live(now):
            return held
        self.hold(replace(held, place=None))
        return None

    def require_version(self, held: Held, expected: int | None) -> None:
        """Refuse another version than the expected one."""
        current = held.memory.version
        if expected is not None and current != expected:
            text = f"{WHERE}: memory {held.memory.id} has version {current}, not {expected}"
            raise StaleVersion(text, current=current)

    def require_free_id(self, id: str) -> None:
        """Refuse an id that is in use or was erased."""
        if self.records.get(id) is not None or self.erased.get(id) or self.taken.get(id):
            refuse(Conflict, f"id {id} is taken")

    def require_free_coordinate(self, memory: Memory, now: datetime) -> None:
        """Refuse a coordinate that another live memory of the namespace holds."""
        holder = self.holder(memory, now)
        if holder is not None and holder.memory.id != memory.id:
            refuse(Conflict, f"the coordinate is held by memory {holder.memory.id}")

    def like(self, namespace: str, digest: bytes, now: datetime) -> Iterable[Held]:
        """Return the live memories of a namespace with equal content and payload, as far as they were read."""
        key = twin_key(namespace, digest)
        for id in self.twins[key]:
            held = self.records.get(id)
            if held is not None and held.twin == key and held.is_live(now):
                yield held

    def _place(self, held: Held, *, journaled: bool = False) -> None:
        id = held.memory.id
        known = self.twins[held.twin]
        if id not in known:
            self.put(self.twins, held.twin, (*known, id)) if journaled else self.twins.update({held.twin: (*known, id)})
        if held.place is not None:
            self.put(self.places, held.place, id) if journaled else self.places.update({held.place: id})


_NOTHING = object()


def refuse(kind: type[BackendError], text: str) -> NoReturn:
    """Refuse a write."""
    raise kind(f"{WHERE}: {text}")
