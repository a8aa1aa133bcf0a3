"""The storage in memory: plain tables, every write carried out in one step of the event loop."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from sfm_core.errors import Conflict, IdempotencyMismatch, LeaseLost, SfmError
from sfm_core.model.event import Change
from sfm_core.model.filter import Filter, matches
from sfm_core.model.link import Direction, Link
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope
from sfm_core.ports.answers import answer_of
from sfm_core.ports.storage import (
    ApiKey,
    Candidate,
    Lease,
    Listing,
    NamespaceStats,
    Order,
    Result,
    Stored,
    TextHit,
    TextQuery,
)
from sfm_core.ports.writes import Idempotency, Operation, Replayed, Write
from sfm_inmemory.fulltext import Document, rank
from sfm_inmemory.paging import decode, encode, read_place, sort_key
from sfm_inmemory.state import Answered, Record, State, is_live
from sfm_inmemory.threads import neighbours
from sfm_inmemory.writing import Writer

__all__ = ["InmemoryStorage"]


class InmemoryStorage:
    """The storage port with full text, matching, vocabulary, leases and API keys. One event loop at a time.

    Args:
        clock: seconds that only rise; leases are judged by them.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._state = State()
        self._writer = Writer(self._state)
        self._cursors: dict[str, int] = {}
        self._leases: dict[str, tuple[Lease, float]] = {}
        self._keys: dict[str, ApiKey] = {}
        self._clock = clock

    async def apply(
        self, writes: Sequence[Write], *, atomic: bool = True, idempotency: Idempotency | None = None
    ) -> list[Result] | Replayed:
        """Carry out `writes`: see the port. Nothing is awaited on the way, so that nothing comes between."""
        if idempotency is not None and (replayed := self._replay(idempotency)) is not None:
            return replayed
        try:
            results = [self._do(write, atomic) for write in writes]
            if idempotency is not None:
                self._keep(idempotency, results)
        except BaseException:
            self._state.roll_back()
            raise
        self._state.commit()
        return results

    async def answered(self, idempotency: Idempotency) -> Replayed | None:
        """Return what is kept with an idempotency key: see the port."""
        return self._replay(idempotency)

    async def get(self, ids: Sequence[str], *, now: datetime, as_of: datetime | None = None) -> list[Memory | None]:
        """Return the live memories with `ids`: see the port."""
        return [self._visible(self._state.records.get(id), now, as_of) for id in ids]

    async def locate(self, ids: Sequence[str]) -> list[Stored | None]:
        """Return the newest version of each id: see the port."""
        found = [self._state.records.get(id) for id in ids]
        return [record.newest if record is not None else None for record in found]

    async def erased(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` that were erased."""
        return {id for id in ids if id in self._state.erased}

    async def history(self, id: str, *, limit: int, before: int | None = None) -> list[Stored]:
        """Return versions of `id`, newest first: see the port."""
        record = self._state.records.get(id)
        versions = reversed(record.versions) if record is not None else ()
        return [stored for stored in versions if before is None or stored.memory.version < before][:limit]

    async def at_coordinate(self, namespace: str, coordinate: tuple[float, ...], *, now: datetime) -> Memory | None:
        """Return the live memory that holds `coordinate`."""
        id = self._state.coordinates.get((namespace, coordinate))
        return self._visible(self._state.records[id], now, None) if id is not None else None

    async def in_box(
        self, namespace: str, low: tuple[float, ...], high: tuple[float, ...], *, limit: int, now: datetime
    ) -> list[Memory]:
        """Return live memories inside the box, by coordinate."""

        def inside(memory: Memory) -> bool:
            place = memory.coordinate or ()
            bounds = zip(low, place, high, strict=False)
            return len(place) == len(low) and all(least <= value <= most for least, value, most in bounds)

        found = [memory for memory in self._live(Scope(namespace), None, now) if inside(memory)]
        return sorted(found, key=lambda memory: (memory.coordinate or (), memory.id))[:limit]

    async def links(
        self, ids: Sequence[str], *, relation: str | None, direction: Direction, now: datetime
    ) -> list[Link]:
        """Return the links that touch one of `ids`: see the port."""
        asked = set(ids)
        keys = {key for id in ids for key in self._state.touching.get(id, ())}
        found = [self._state.links[key][0] for key in keys]
        return sorted(
            (
                link
                for link in found
                if (relation is None or link.relation == relation)
                and ((direction != "in" and link.source in asked) or (direction != "out" and link.target in asked))
                and self._is_live(link.source, now)
                and self._is_live(link.target, now)
            ),
            key=lambda link: (link.weight, link.source, link.target, link.relation),
        )

    async def links_in(self, scope: Scope, *, after: str | None, limit: int) -> tuple[list[Link], str | None]:
        """Page through all links of a scope."""
        keys = sorted(key for key, (link, _) in self._state.links.items() if scope.covers(link.namespace))
        if after is not None:
            place = tuple(decode(after, [str, str, str]))
            keys = [key for key in keys if key > place]
        page = keys[:limit]
        return [self._state.links[key][0] for key in page], encode(*page[-1]) if len(keys) > len(page) > 0 else None

    async def changes(self, scope: Scope, *, after: int, limit: int) -> list[Change]:
        """Return changes of `scope` above `after`, in order."""
        later = self._state.changes[max(after, 0) :]
        return [change for change in later if scope.covers(change.namespace)][:limit]

    async def last_sequence(self) -> int:
        """Return the newest sequence."""
        return len(self._state.changes)

    async def cursor(self, name: str) -> int:
        """Return how far a consumer has come."""
        return self._cursors.get(name, 0)

    async def save_cursor(self, name: str, sequence: int, *, fence: Lease | None = None) -> None:
        """Note how far a consumer has come: see the port."""
        if fence is not None and self._running(fence.name) != fence:
            raise LeaseLost(f"inmemory/storage: lease {fence.name} with token {fence.token} is not the current one")
        self._cursors[name] = max(sequence, self._cursors.get(name, 0)) if sequence else 0

    async def acquire_lease(self, name: str, holder: str, *, seconds: float) -> Lease | None:
        """Take or renew a lease: see the port."""
        lease = self._running(name)
        if lease is None:
            last, _ = self._leases.get(name, (Lease(name, holder, 0), 0.0))
            lease = Lease(name, holder, last.token + 1)
        elif lease.holder != holder:
            return None
        self._leases[name] = lease, self._clock() + seconds
        return lease

    async def release_lease(self, lease: Lease) -> None:
        """Free a lease that is the current one."""
        if self._running(lease.name) == lease:
            self._leases[lease.name] = lease, self._clock()

    async def add_api_key(self, key: ApiKey) -> None:
        """Keep a new API key: see the port."""
        if key.id in self._keys:
            raise Conflict(f"inmemory/storage: the id {key.id} of an API key is taken")
        self._keys[key.id] = key

    async def api_key(self, id: str) -> ApiKey | None:
        """Return an API key."""
        return self._keys.get(id)

    async def api_keys(self, *, after: str | None, limit: int) -> list[ApiKey]:
        """Return a page of the API keys, by id."""
        return [self._keys[id] for id in sorted(self._keys) if after is None or id > after][:limit]

    async def revoke_api_key(self, id: str, at: datetime) -> ApiKey | None:
        """Mark an API key as revoked: see the port."""
        key = self._keys.get(id)
        if key is not None and key.revoked_at is None:
            key = self._keys[id] = replace(key, revoked_at=at)
        return key

    async def operation(self, id: str) -> Operation | None:
        """Return an operation, with the figures of its writes so far."""
        found = self._state.operations.get(id)
        if found is None:
            return None
        return replace(found, sequence=self._state.moved.get(id, 0), count=len(self._state.members.get(id, ())))

    async def operation_members(self, id: str, *, limit: int, after: str | None = None) -> list[tuple[str, int]]:
        """Return the memories an operation touched, by id."""
        members = sorted(self._state.members.get(id, {}).items())
        return [member for member in members if after is None or member[0] > after][:limit]

    async def namespaces(self, scope: Scope, *, now: datetime) -> list[NamespaceStats]:
        """Return the namespaces of `scope` that hold anything, with their counts."""
        names = sorted(name for name, ids in self._state.in_namespace.items() if ids and scope.covers(name))
        return [self._stats(name, now) for name in names]

    async def scan(self, scope: Scope, *, now: datetime, batch: int = 1000) -> AsyncIterator[Sequence[Stored]]:
        """Page through the newest versions of all memories of `scope`, by id."""
        ids = sorted(record.memory.id for record in self._records(scope))
        for start in range(0, len(ids), batch):
            found = [self._state.records.get(id) for id in ids[start : start + batch]]
            if page := [record.newest for record in found if record is not None]:
                yield page

    async def check(self) -> None:
        """Answer."""

    async def search_text(
        self, scope: Scope, query: TextQuery, *, filter: Filter | None, limit: int, now: datetime
    ) -> list[TextHit]:
        """Return the best memories by words: see the port."""
        records = [record for record in self._records(scope) if is_live(record.newest, now)]
        documents = [Document(record.memory.id, record.terms, len(record.analysis.stems)) for record in records]
        return rank(documents, query, await self.matching(scope, filter=filter, limit=len(records), now=now), limit)

    async def authors(self, scope: Scope, keys: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Return the authors that `keys` stand for."""
        found: dict[str, set[str]] = {}
        for record in self._records(scope):
            key, author = record.analysis.author_key, record.memory.author
            if key and key in keys and author is not None and not record.newest.deleted:
                found.setdefault(key, set()).add(author)
        return {key: sorted(authors) for key, authors in found.items()}

    async def candidates(
        self, ids: Sequence[str], *, now: datetime, around: bool = True, filter: Filter | None = None
    ) -> dict[str, Candidate]:
        """Return what ranking needs of memories and their neighbours: see the port."""
        asked = {id: self._state.records[id] for id in ids if self._is_live(id, now)}
        found: dict[str, Candidate] = {}
        for id, record in asked.items():
            before, after = neighbours(self._state, record, now) if around else ((), ())
            found[id] = Candidate.of(record.memory, record.analysis, before, after)
            for other in (self._state.records[n] for n in (*before, *after) if n not in asked):
                if filter is None or matches(filter, other.memory):
                    found[other.memory.id] = Candidate.of(other.memory, other.analysis)
        return found

    async def in_period(
        self, scope: Scope, first: datetime, last: datetime, *, filter: Filter | None, limit: int, now: datetime
    ) -> list[str]:
        """Return ids of live memories that occurred in first <= t < last, newest first."""
        found = [memory for memory in self._live(scope, filter, now) if first <= memory.occurred_at < last]
        return [memory.id for memory in sorted(found, key=sort_key(Order.OCCURRED_AT_DESC))][:limit]

    async def matching(self, scope: Scope, *, filter: Filter | None, limit: int, now: datetime) -> list[str]:
        """Return the ids of live memories of `scope` that pass `filter`."""
        return [memory.id for memory in self._live(scope, filter, now)][:limit]

    async def words(self, scope: Scope) -> Sequence[tuple[str, str]]:
        """Return the distinct words of `scope`, sorted."""
        return sorted({word for name, words in self._state.holders.items() if scope.covers(name) for word in words})

    async def list(
        self,
        scope: Scope,
        *,
        filter: Filter | None,
        order: Order,
        limit: int,
        after: str | None,
        now: datetime,
        as_of: datetime | None = None,
        deleted: bool = False,
    ) -> Listing:
        """Return a page of the live memories of `scope`: see the port."""
        found = [self._visible(record, now, as_of, deleted=deleted) for record in self._records(scope)]
        key = sort_key(order)
        memories = sorted((m for m in found if m is not None and (filter is None or matches(filter, m))), key=key)
        if after is not None:
            place = read_place(order, after)
            memories = [memory for memory in memories if key(memory) > place]
        page = memories[:limit]
        return Listing(tuple(page), encode(order.value, *key(page[-1])) if len(memories) > len(page) > 0 else None)

    async def words_token(self, scope: Scope) -> object:
        """Return a number that rises when words change anywhere."""
        return self._state.words_token

    def _do(self, write: Write, atomic: bool) -> Result:
        mark = self._state.mark()
        try:
            return self._writer.do(write)
        except SfmError as error:
            if atomic:
                raise
            self._state.roll_back(mark)
            return error

    def _replay(self, asked: Idempotency) -> Replayed | None:
        kept = self._state.answers.get((asked.scope, asked.key))
        if kept is None or kept.expires_at <= asked.now:
            return None
        if kept.request != asked.request:
            raise IdempotencyMismatch("inmemory/storage: the idempotency key was used for another request")
        return Replayed(kept.answer)

    def _keep(self, asked: Idempotency, results: Sequence[Result]) -> None:
        answered = Answered(asked.request, answer_of(asked, results), asked.expires_at)
        self._state.put(self._state.answers, (asked.scope, asked.key), answered)

    def _records(self, scope: Scope) -> Iterator[Record]:
        for name, ids in list(self._state.in_namespace.items()):
            if scope.covers(name):
                yield from [self._state.records[id] for id in ids]

    def _live(self, scope: Scope, filter: Filter | None, now: datetime) -> Iterator[Memory]:
        for record in self._records(scope):
            if is_live(record.newest, now) and (filter is None or matches(filter, record.memory)):
                yield record.memory

    def _is_live(self, id: str, now: datetime) -> bool:
        record = self._state.records.get(id)
        return record is not None and is_live(record.newest, now)

    def _visible(
        self, record: Record | None, now: datetime, as_of: datetime | None, *, deleted: bool = False
    ) -> Memory | None:
        if record is None:
            return None
        stored = record.newest if as_of is None else record.at(as_of)
        if stored is None or not (is_live(stored, as_of or now) or (deleted and stored.deleted)):
            return None
        return stored.memory

    def _running(self, name: str) -> Lease | None:
        lease, until = self._leases.get(name, (None, 0.0))
        return lease if until > self._clock() else None

    def _stats(self, name: str, now: datetime) -> NamespaceStats:
        records = [self._state.records[id] for id in self._state.in_namespace[name]]
        alive = {record.memory.id for record in records if is_live(record.newest, now)}
        return NamespaceStats(
            namespace=name,
            memories=len(alive),
            deleted=sum(record.newest.deleted for record in records),
            versions=sum(len(record.versions) for record in records),
            links=sum(key[0] in alive and key[1] in alive for key in self._state.links),
        )
