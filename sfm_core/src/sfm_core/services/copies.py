"""Copies of memories in a shared cache, and their end: a copy is used only for what the storage just named by id and version.

A version of a memory never changes, so a copy is never stale; what is deleted is not named by the storage any more, so no
copy of it is used. Beyond that a deletion overwrites every place where copies of the memory may be, and no copy can be put
into an occupied place: a reader that was slow between its reading and its storing brings nothing erased back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256

import msgspec

from sfm_core.model.memory import Memory
from sfm_core.ports.storage import Candidate, Storage
from sfm_core.services.steady import SteadyCache

__all__ = ["Copies"]

_log = logging.getLogger("sfm.cache")

_PLACES = 4
"""A memory has so many places, used in turn by its versions: few enough to overwrite them all, more than one so that a new
version need not wait until the copy of the one before has ended."""
_GONE = b"gone"
_LARGEST = 64 * 2**10
_STORED_WITHIN = 2.0
"""A reader that took longer between reading and storing does not store: the marks of a deletion outlive it by far."""
_MARKED_LONGER = 60.0
_AT_ONCE = 100
_MOST_PENDING = 100_000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Memory).decode
# What a release with another form of `Memory` stored is not taken for one of this form.
_FORM = sha256(repr([(f.name, f.type) for f in msgspec.structs.fields(Memory)]).encode()).digest()[:8]


class Copies:
    """Reads memories through the cache.

    Args:
        storage: where they are.
        cache: where copies are; it must be shared by all processes that use it, or a deletion would not reach them all.
        ttl: how long a copy lives, in seconds.
        clock: seconds that only rise.
    """

    def __init__(
        self, storage: Storage, cache: SteadyCache, *, ttl: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._storage = storage
        self._cache = cache
        self._ttl = ttl
        self._clock = clock
        self._pending: dict[str, float] = {}
        self._worker: asyncio.Task[None] | None = None
        self._closed = False

    async def read(
        self, ids: Sequence[str], candidates: Mapping[str, Candidate], *, now: datetime
    ) -> list[Memory | None]:
        """Return the live memories with `ids`, in order, as `Storage.get` does.

        Args:
            ids: what to read.
            candidates: what the storage just told of each of them.
            now: the instant that expiry is judged by.
        """
        found = await self._cache.get([_place(id, candidates[id].version) for id in ids])
        if found is None:
            return await self._storage.get(ids, now=now)
        copies = {id: copy for id, value in zip(ids, found, strict=True) if (copy := _copy(value, candidates[id], now))}
        missing = [id for id in ids if id not in copies]
        self._cache.counts["memory_hits"] += len(copies)
        self._cache.counts["memory_misses"] += len(missing)
        if not missing:
            return [copies[id] for id in ids]
        started = self._clock()
        stored = dict(zip(missing, await self._storage.get(missing, now=now), strict=True))
        await self._store(stored.values(), started)
        return [copies.get(id) or stored[id] for id in ids]

    async def _store(self, memories: Iterable[Memory | None], read_at: float) -> None:
        values = {_place(m.id, m.version): value for m in memories if m is not None and (value := _encoded(m))}
        if values and self._clock() - read_at <= _STORED_WITHIN:
            await self._cache.add(values, ttl=self._ttl)

    async def forget(self, ids: Sequence[str]) -> bool:
        """Overwrite every copy of the memories `ids`, which are deleted or erased in storage; return whether that is done.

        When the cache is not at hand it is done later, as soon as it is; a copy that is not reached ends by itself.
        """
        for start in range(0, len(ids), _AT_ONCE):
            part = ids[start : start + _AT_ONCE]
            if not await self._mark(part):
                self._remember(ids[start:])
                return False
            for id in part:
                self._pending.pop(id, None)
        return True

    async def forgotten(self, ids: Sequence[str], *, since: datetime, now: datetime) -> bool:
        """Ask the cache itself whether it holds no copy of `ids`; what is left is overwritten.

        Args:
            ids: of memories that are deleted or erased.
            since: when the deletion began. While copies of that time may live only a mark proves that none comes back.
            now: the present instant.
        """
        young = now - since <= timedelta(seconds=self._ttl + _MARKED_LONGER)
        for start in range(0, len(ids), _AT_ONCE):
            part = ids[start : start + _AT_ONCE]
            values = await self._cache.get([place for id in part for place in _places(id)])
            if values is None:
                return False
            left = [id for n, id in enumerate(part) if _is_left(values[n * _PLACES : (n + 1) * _PLACES], young)]
            if left and not await self.forget(left):
                return False
        return True

    async def close(self) -> None:
        """Stop trying to reach the cache."""
        self._closed = True
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    async def _mark(self, ids: Sequence[str]) -> bool:
        marks = {place: _GONE for id in ids for place in _places(id)}
        return await self._cache.set(marks, ttl=self._ttl + _MARKED_LONGER)

    def _remember(self, ids: Sequence[str]) -> None:
        """Note what is to be forgotten later; what is beyond the bound ends by itself with its lifetime."""
        ends = self._clock() + self._ttl + _MARKED_LONGER
        added = dict.fromkeys(ids[: max(0, _MOST_PENDING - len(self._pending))], ends)
        self._pending = added | self._pending
        if self._worker is None and not self._closed and self._pending:
            self._worker = asyncio.get_running_loop().create_task(self._work_off(), name="sfm-copies")

    async def _work_off(self) -> None:
        pause = _FIRST_PAUSE
        try:
            while self._pending:
                await asyncio.sleep(pause)
                now = self._clock()
                due = [id for id, ends in self._pending.items() if ends > now]
                self._pending = {id: self._pending[id] for id in due}
                pause = _FIRST_PAUSE if await self.forget(due) else min(2 * pause, _LONGEST_PAUSE)
        finally:
            self._worker = None


def _places(id: str) -> Iterator[str]:
    return (_place(id, version) for version in range(_PLACES))


def _place(id: str, version: int) -> str:
    return f"memory:{id}:{version % _PLACES}"


def _is_left(values: Sequence[bytes | None], young: bool) -> bool:
    return any(value != _GONE and (young or value is not None) for value in values)


def _encoded(memory: Memory) -> bytes | None:
    """Return a memory as a copy, None for one that is too large or that MessagePack cannot hold as it is."""
    try:
        value = _FORM + _encode(memory)
    except (OverflowError, UnicodeError, TypeError, ValueError):
        return None
    return value if len(value) <= _LARGEST else None


def _copy(value: bytes | None, known: Candidate, now: datetime) -> Memory | None:
    """Return the memory that `value` is a copy of, None unless it is what the storage told."""
    if value is None or not value.startswith(_FORM):
        return None
    try:
        memory = _decode(memoryview(value)[len(_FORM) :])
    except (msgspec.MsgspecError, UnicodeError, ValueError):
        return None
    same = (
        memory.id == known.id
        and memory.version == known.version
        and memory.namespace == known.namespace
        and memory.author == known.author
        and memory.thread == known.thread
        and memory.position == known.position
        and memory.importance == known.importance
        and memory.occurred_at == known.occurred_at
        and memory.created_at == known.created_at
    )
    return memory if same and (memory.expires_at is None or memory.expires_at > now) else None
