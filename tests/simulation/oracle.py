"""What must hold while the pipeline runs, and what must be true when it has come to rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sfm_core.errors import LeaseLost
from sfm_core.model.event import Change, Event
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import ALL
from sfm_core.ports.abilities import Lease
from sfm_core.ports.storage import Applied
from sfm_core.ports.vectors import Point
from sfm_core.services.relay import RELAY
from sfm_inmemory.cache import InmemoryCache
from sfm_inmemory.storage import InmemoryStorage
from tests.simulation.bus import Broker

__all__ = ["Index", "Oracle", "Store", "Violation"]

_LINKS = ("memory.linked", "memory.unlinked")


class Violation(AssertionError):
    """The pipeline broke a promise."""


class Index:
    """A vector index that remembers versions, deletions among them, and what of it is durable."""

    def __init__(self) -> None:
        self.versions_of: dict[str, int] = {}
        self.points: set[str] = set()
        self.durable: dict[str, int] = {}
        self.epoch = 0

    async def upsert(self, points: Sequence[Point]) -> None:
        """Store points that are newer than what is known."""
        for point in points:
            if point.version > self.versions_of.get(point.id, 0):
                self.versions_of[point.id] = point.version
                self.points.add(point.id)

    async def delete(self, ids: Sequence[tuple[str, int]]) -> None:
        """Remove points, and remember at which version."""
        for id, version in ids:
            if version >= self.versions_of.get(id, 0):
                self.versions_of[id] = version
                self.points.discard(id)

    async def versions(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the versions of the points of `ids`."""
        return {id: self.versions_of[id] for id in ids if id in self.points}

    async def flush(self) -> None:
        """Make everything so far durable."""
        self.durable = dict(self.versions_of)


class Store(InmemoryStorage):
    """A storage whose cursors are watched."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock=clock)
        self.oracle: Oracle

    async def save_cursor(self, name: str, sequence: int, *, fence: Lease | None = None) -> None:
        """Let the oracle judge every cursor that is saved."""
        try:
            await super().save_cursor(name, sequence, fence=fence)
        except LeaseLost:
            self.oracle.refused += 1
            raise
        await self.oracle.saved(name, sequence, fence)


class Oracle:
    """Knows what was acknowledged, and compares everything with it.

    Attributes:
        acked: (memory id, version) -> the newest memory as acknowledged, None for one that was deleted or erased.
        refused: how often the fence kept a relay that was overtaken from moving the cursor.
    """

    def __init__(self, store: Store, index: Index, cache: InmemoryCache, name: str) -> None:
        self._store = store
        self._index = index
        self._cache = cache
        self._name = name
        self.broker: Broker
        self.acked: dict[tuple[str, int], Memory | None] = {}
        self.refused = 0
        self.served = 0

    def acknowledged(self, result: Applied) -> None:
        """Note a write that its caller was told of."""
        gone = result.outcome in ("deleted", "erased")
        version = result.memory.version + (1 if result.outcome == "erased" else 0)
        self.acked[result.memory.id, version] = None if gone else result.memory

    async def saved(self, name: str, sequence: int, fence: Lease | None) -> None:
        """Judge a cursor at the moment it is saved."""
        if name == RELAY:
            lease = self._store._running(RELAY)
            if lease is None or fence != lease:
                raise Violation("the relay's cursor was moved without the lease")
            on_bus = self._on_bus()
            await self._all_of(sequence, lambda c: c.sequence in on_bus, "relayed", "the bus does not hold")
        elif name == self._name:
            await self._all_of(sequence, self._is_projected, "projected", "the index has not")

    def committed(self, event: Event) -> None:
        """Judge a commit at the moment it is made."""
        data = event.data
        if event.type not in _LINKS and self._index.durable.get(data.memory_id, 0) < data.version:
            raise Violation(f"change {data.sequence} was committed before it was projected")

    def answered(self, asked: Mapping[str, int], answers: Sequence[Memory | None], truth: Mapping[str, Memory]) -> None:
        """Judge what a reader was given for the live memories that storage named by id and version."""
        for (id, version), memory in zip(asked.items(), answers, strict=True):
            if memory is not None and memory.version == version:
                self.served += 1
                if memory != truth[id]:
                    raise Violation(f"a reader was given another content of {id}, version {version}")

    async def at_rest(self) -> None:
        """Judge everything when nothing moves any more."""
        changes = await self._store.changes(ALL, after=0, limit=1_000_000)
        last = changes[-1].sequence if changes else 0
        ids = list(dict.fromkeys([id for id, _ in self.acked] + [c.memory_id for c in changes]))
        await self._records(ids)
        await self._agreement(ids)
        await self._order(changes)
        for cursor in (RELAY, self._name):
            if (found := await self._store.cursor(cursor)) != last:
                raise Violation(f"cursor {cursor} stands at {found}, the log at {last}")
        if any(self.broker.lag().values()):
            raise Violation("the group still lags")
        if any(letter.delivery.event is not None for letter in self.broker.dead):
            raise Violation("a dead letter is left that could be worked off")

    async def _records(self, ids: Sequence[str]) -> None:
        for (id, version), memory in self.acked.items():
            if memory is None or id in await self._store.erased([id]):
                continue
            kept = {stored.memory.version: stored.memory for stored in await self._store.history(id, limit=1000)}
            if kept.get(version) != memory:
                raise Violation(f"acknowledged version {version} of {id} is lost")

    async def _agreement(self, ids: Sequence[str]) -> None:
        for id, stored in zip(ids, await self._store.locate(ids), strict=True):
            found = self._index.versions_of[id] if id in self._index.points else None
            live = stored is not None and not stored.deleted and stored.memory.content is not None
            wanted = stored.memory.version if live and stored is not None else None
            if found != wanted:
                raise Violation(f"{id} is indexed in version {found}, its record is {wanted}")
            if stored is None or stored.deleted:
                places = [f"memory:{id}:{place}" for place in range(4)]
                if any(value not in (None, b"gone") for value in await self._cache.get(places)):
                    raise Violation(f"a copy of {id} outlives it")

    async def _order(self, changes: Sequence[Change]) -> None:
        on_bus = self._on_bus()
        if missing := [c.sequence for c in changes if c.sequence not in on_bus]:
            raise Violation(f"changes {missing} never came to the bus")
        for lane, events in enumerate(self.broker.lanes):
            firsts = list(dict.fromkeys(event.data.sequence for event in events if event is not None))
            if firsts != sorted(firsts):
                raise Violation(f"lane {lane} is out of order")

    def _on_bus(self) -> set[int]:
        return {event.data.sequence for events in self.broker.lanes for event in events if event is not None}

    def _is_projected(self, change: Change) -> bool:
        if change.type in _LINKS or self._index.durable.get(change.memory_id, 0) >= change.version:
            return True
        return change.sequence in self.broker.given_up

    async def _all_of(self, sequence: int, holds: Any, what: str, complaint: str) -> None:
        for change in await self._store.changes(ALL, after=0, limit=sequence):
            if change.sequence <= sequence and not holds(change):
                raise Violation(f"everything up to {sequence} is said to be {what}; {complaint} {change.sequence}")
