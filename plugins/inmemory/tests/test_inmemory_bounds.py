"""What the in-memory backends do beyond the contracts of their ports: bounds."""

from __future__ import annotations

import pytest

from sfm_core.errors import CapabilityNotSupported
from sfm_core.model.namespace import ALL
from sfm_core.plugins.types import OpenContext
from sfm_core.testing.events import change_events, drain
from sfm_core.testing.fakes import SettableClock
from sfm_inmemory import plugin
from sfm_inmemory.cache import InmemoryCache
from sfm_inmemory.config import InmemoryConfig
from sfm_inmemory.events import InmemoryEvents


async def test_a_full_cache_drops_what_was_set_longest_ago() -> None:
    """Setting again makes a value young; counters count as values."""
    cache = InmemoryCache(entries=3)
    await cache.set({"a": b"1", "b": b"2"}, ttl=60)
    await cache.increment("c", ttl=60)
    await cache.set({"a": b"3"}, ttl=60)
    await cache.set({"d": b"4"}, ttl=60)
    assert await cache.get(["a", "b", "c", "d"]) == [b"3", None, b"1", b"4"]


async def test_time_is_that_of_the_given_clock() -> None:
    """Nothing expires while it stands still."""
    clock = SettableClock()
    cache = InmemoryCache(clock=clock.seconds)
    await cache.set({"a": b"1"}, ttl=0.001)
    assert await cache.get(["a"]) == [b"1"]
    clock.advance(0.001)
    assert await cache.get(["a"]) == [None]


async def test_a_full_bus_drops_the_oldest_events() -> None:
    """For groups to come and for groups that are behind."""
    bus = InmemoryEvents(retained=5)
    async with bus.subscribe("slow"):
        await bus.publish(change_events(8))
    for group in ("slow", "new"):
        assert [event.id for event in await drain(bus, group, 0.01)] == ["4", "5", "6", "7", "8"]


async def test_dead_letters_are_bounded() -> None:
    """The oldest go."""
    bus = InmemoryEvents(retained=2)
    async with bus.subscribe("index") as member:
        for event in change_events(3):
            await bus.publish([event])
            [delivery] = await member.receive(limit=1, timeout=1)
            await member.reject(delivery, error=f"reason {event.id}")
    assert [letter.error for letter in await bus.dead_letters("index", limit=9)] == ["reason 2", "reason 3"]


async def test_vectors_without_a_space_are_an_index_of_words() -> None:
    """A search for neighbours is refused by name."""
    [spec] = plugin.sfm_vectors()
    async with spec.open(InmemoryConfig(), OpenContext()) as vectors:
        with pytest.raises(CapabilityNotSupported, match="inmemory/vectors"):
            await vectors.search(ALL, [1.0], limit=1)
