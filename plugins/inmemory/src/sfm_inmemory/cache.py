"""The cache in memory: values and counters with a time to live, bounded in number."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

__all__ = ["InmemoryCache"]


class _Entry(Struct, frozen=True):
    value: bytes | int
    until: float


class InmemoryCache:
    """The cache port. Beyond `entries` values the ones that were set longest ago go first.

    Args:
        entries: how many values are kept.
        clock: seconds that only rise.
    """

    def __init__(self, *, entries: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = entries
        self._clock = clock
        self._entries: dict[str, _Entry] = {}

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of `keys`, None for unknown and expired ones. A counter is read as its decimal digits."""
        return [self._read(key) for key in keys]

    async def set(self, values: Mapping[str, bytes], *, ttl: float) -> None:
        """Store `values` for `ttl` seconds."""
        until = self._clock() + ttl
        for key, value in values.items():
            self._store(key, _Entry(value, until))

    async def add(self, values: Mapping[str, bytes], *, ttl: float) -> None:
        """Store those of `values` whose key holds nothing."""
        await self.set({key: value for key, value in values.items() if self._live(key) is None}, ttl=ttl)

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove `keys`."""
        for key in keys:
            self._entries.pop(key, None)

    async def increment(self, key: str, *, ttl: float, by: int = 1) -> int:
        """Add `by` to a counter."""
        entry = self._live(key)
        before = int(entry.value) if entry is not None else 0
        self._store(key, _Entry(before + by, entry.until if entry is not None else self._clock() + ttl))
        return before + by

    async def clear(self) -> None:
        """Remove everything."""
        self._entries.clear()

    async def check(self) -> None:
        """Answer."""

    def _live(self, key: str) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is not None and entry.until <= self._clock():
            del self._entries[key]
            return None
        return entry

    def _read(self, key: str) -> bytes | None:
        entry = self._live(key)
        if entry is None:
            return None
        return entry.value if isinstance(entry.value, bytes) else b"%d" % entry.value

    def _store(self, key: str, entry: _Entry) -> None:
        self._entries.pop(key, None)
        self._entries[key] = entry
        while len(self._entries) > self._limit:
            del self._entries[next(iter(self._entries))]
