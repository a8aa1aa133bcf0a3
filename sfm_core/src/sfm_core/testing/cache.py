"""The conformance suites of the cache port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar

import pytest
from hypothesis import given

from sfm_core.plugins.types import Port
from sfm_core.ports.cache import Cache, CacheCapability
from sfm_core.testing.opener import Opener
from sfm_core.testing.storage_isolation import QUIET, namespaces
from sfm_core.testing.suite import Suite

__all__ = ["CacheSuite", "SharedCacheSuite"]

LONG = 3600.0


class CacheSuite(Suite):
    """What every cache must do. Override `wait` where time can be set instead of waited for.

    `ttl` is how many seconds a value lives that a test lets expire: long enough for a few calls.
    """

    port = Port.CACHE
    ttl: ClassVar[float] = 1.0

    @pytest.fixture
    def wait(self) -> Callable[[float], Awaitable[None]]:
        """Let that many seconds pass for the backend."""
        return asyncio.sleep

    async def test_values_are_read_back_in_order(self, backend: Cache) -> None:
        """Any bytes by any text, None for unknown keys."""
        values = {"a": b"", "b": bytes(range(256)), "é 日本\n%*": b"x" * (4 * 2**20), "k" * 512: b"1", "a:b": b"c"}
        await backend.set(values, ttl=LONG)
        keys = [*reversed(values), "unknown", "A", "a*"]
        assert await backend.get(keys) == [*reversed(values.values()), None, None, None]
        assert await backend.get([]) == []

    async def test_a_later_value_replaces_an_earlier_one(
        self, backend: Cache, wait: Callable[[float], Awaitable[None]]
    ) -> None:
        """Its lifetime as well."""
        await backend.set({"key": b"one"}, ttl=self.ttl)
        await backend.set({"key": b"two"}, ttl=LONG)
        assert await backend.get(["key"]) == [b"two"]
        await wait(self.ttl * 1.1)
        assert await backend.get(["key"]) == [b"two"]

    async def test_an_expired_value_is_gone(self, backend: Cache, wait: Callable[[float], Awaitable[None]]) -> None:
        """Not before its time, and others stay."""
        await backend.set({"short": b"1"}, ttl=self.ttl)
        await backend.set({"long": b"2"}, ttl=LONG)
        assert await backend.get(["short", "long"]) == [b"1", b"2"]
        await wait(self.ttl * 1.1)
        assert await backend.get(["short", "long"]) == [None, b"2"]

    async def test_an_added_value_does_not_replace(
        self, backend: Cache, wait: Callable[[float], Awaitable[None]]
    ) -> None:
        """Live values and counters stay as they are, with their lifetimes; free and expired keys are filled."""
        await backend.set({"value": b"1"}, ttl=self.ttl)
        await backend.increment("counter", ttl=LONG, by=7)
        await backend.add({"value": b"2", "counter": b"2", "free": b"2"}, ttl=LONG)
        await backend.add({}, ttl=LONG)
        assert await backend.get(["value", "free"]) == [b"1", b"2"]
        assert await backend.increment("counter", ttl=LONG) == 8
        await backend.add({"brief": b"2"}, ttl=self.ttl)
        await wait(self.ttl * 1.1)
        assert await backend.get(["value", "free", "brief"]) == [None, b"2", None]
        await backend.add({"value": b"3", "free": b"3"}, ttl=LONG)
        assert await backend.get(["value", "free"]) == [b"3", b"2"]

    async def test_racing_adds_keep_the_first(self, backend: Cache) -> None:
        """Each of sixteen reads, after its own add, the one value that was stored."""

        async def add(number: int) -> bytes | None:
            await backend.add({"key": b"%d" % number, f"key {number}": b""}, ttl=LONG)
            return (await backend.get(["key"]))[0]

        seen = set(await asyncio.gather(*(add(number) for number in range(16))))
        assert len(seen) == 1
        assert seen < {b"%d" % number for number in range(16)}

    @QUIET
    @given(names=namespaces)
    async def test_no_key_reads_the_value_of_another(self, opener: Opener, names: list[str]) -> None:
        """Keys that are easily confused: each has its own value and counter, and deleting one leaves the rest."""
        backend: Cache = await opener.reopen()
        await backend.clear()
        await backend.set({name: name.encode() for name in names[1:]}, ttl=LONG)
        assert await backend.get(names) == [None, *(name.encode() for name in names[1:])]
        counts = [await backend.increment(f"n:{name}", ttl=LONG, by=by) for by, name in enumerate(names, 1)]
        assert counts == list(range(1, len(names) + 1))
        await backend.delete(names[1:2])
        assert await backend.get(names) == [None, None, *(name.encode() for name in names[2:])]

    async def test_deleted_values_are_gone(self, backend: Cache) -> None:
        """Those and no others; unknown keys are fine."""
        await backend.set({"one": b"1", "two": b"2", "one2": b"3"}, ttl=LONG)
        await backend.delete(["one", "unknown"])
        await backend.delete([])
        assert await backend.get(["one", "two", "one2"]) == [None, b"2", b"3"]

    async def test_racing_increments_all_count(self, backend: Cache) -> None:
        """Every caller gets a number of its own, and the sum is right."""
        results = await asyncio.gather(*(backend.increment("counter", ttl=LONG) for _ in range(100)))
        assert sorted(results) == list(range(1, 101))
        assert await backend.increment("counter", ttl=LONG, by=10) == 110
        assert await backend.increment("other", ttl=LONG, by=5) == 5
        assert await backend.increment("counter", ttl=LONG, by=-110) == 0

    async def test_a_counter_lives_from_its_start(
        self, backend: Cache, wait: Callable[[float], Awaitable[None]]
    ) -> None:
        """Later increments do not lengthen its life; afterwards it starts at 0 again."""
        assert await backend.increment("counter", ttl=self.ttl) == 1
        await wait(self.ttl * 0.6)
        assert await backend.increment("counter", ttl=LONG) == 2
        await wait(self.ttl * 0.6)
        assert await backend.increment("counter", ttl=LONG) == 1

    async def test_a_deleted_counter_starts_again(self, backend: Cache) -> None:
        """Counters are values like others when it comes to removing."""
        await backend.increment("counter", ttl=LONG, by=7)
        await backend.delete(["counter"])
        assert await backend.increment("counter", ttl=LONG) == 1

    async def test_a_cleared_cache_is_empty(self, backend: Cache) -> None:
        """Values and counters; and it goes on working."""
        await backend.set({"key": b"1"}, ttl=LONG)
        await backend.increment("counter", ttl=LONG)
        await backend.clear()
        assert await backend.get(["key"]) == [None]
        assert await backend.increment("counter", ttl=LONG) == 1
        await backend.check()


class SharedCacheSuite(Suite):
    """What a cache with SHARED must do."""

    port = Port.CACHE
    capability = CacheCapability.SHARED

    async def test_processes_share_values_and_counters(self, opener: Opener) -> None:
        """What one sets, counts, deletes and clears is so for the other."""
        first, second = await opener.open(), await opener.open()
        await first.set({"key": b"1", "other": b"2"}, ttl=LONG)
        assert await second.get(["key"]) == [b"1"]
        await second.delete(["key"])
        assert await first.get(["key", "other"]) == [None, b"2"]
        calls = (backend.increment("counter", ttl=LONG) for _ in range(20) for backend in (first, second))
        assert sorted(await asyncio.gather(*calls)) == list(range(1, 41))
        await first.clear()
        assert await second.get(["other", "counter"]) == [None, None]
