"""The relay: in order, nothing lost, one leader at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sfm_core.errors import BackendUnavailable
from sfm_core.services.relay import RELAY

DOWN = BackendUnavailable("fake/port: down")


async def published(world: Any) -> list[int]:
    """Return the sequences that the bus holds, in order."""
    async with world.bus.subscribe("reader") as member:
        return [delivery.event.data.sequence for delivery in await member.receive(limit=1000, timeout=0.1)]


async def test_a_durable_bus_gets_the_whole_log_in_order_and_once(world: Any) -> None:
    """The saved cursor tells the next relay where to go on."""
    for _ in range(5):
        await world.put()
    relay = world.relay(page=2)
    assert [await relay.step() for _ in range(4)] == [2, 2, 1, 0]
    await world.put()
    assert await world.relay().step() == 1
    assert await published(world) == [1, 2, 3, 4, 5, 6]
    assert (relay.published, relay.position, relay.lag) == (5, 5, 0)


async def test_a_bus_that_forgets_gets_what_comes_after_the_start(world: Any) -> None:
    """Nobody can be waiting there for anything older, and no cursor is moved."""
    await world.put()
    relay = world.relay(durable=False)
    assert await relay.step() == 0
    await world.put()
    assert await relay.step() == 1
    assert await published(world) == [2]
    assert await world.storage.cursor(RELAY) == 0


@pytest.mark.parametrize("method", ["publish", "save_cursor", "changes", "cursor", "acquire_lease"])
async def test_a_relay_waits_for_what_is_down_and_loses_nothing(
    world: Any, running: Callable[[Any], Any], method: str
) -> None:
    """Storage and bus alike; at most the page in hand comes twice."""
    await world.put()
    backend = world.bus if method == "publish" else world.storage
    backend.failing[method] = DOWN
    relay = world.relay("one")
    async with running(relay):
        await asyncio.sleep(30)
        backend.failing.clear()
        await asyncio.sleep(3)
        assert set(await published(world)) == {1}
        assert await world.storage.cursor(RELAY) == 1
        assert (relay.failing, relay.lag) == (None, 0)


async def test_one_of_two_relays_works(world: Any, running: Callable[[Any], Any]) -> None:
    """The other waits, and nothing comes twice."""
    first, second = world.relay("one"), world.relay("two")
    async with running(first), running(second):
        for _ in range(20):
            await world.put()
            await asyncio.sleep(0.3)
        assert first.is_leader != second.is_leader
    assert await published(world) == list(range(1, 21))


async def test_another_relay_takes_over_within_three_seconds_of_a_kill(
    world: Any, running: Callable[[Any], Any]
) -> None:
    """The lease of a dead process runs out: it is not given back."""
    first, second = world.relay("one"), world.relay("two")
    async with running(first) as process, running(second):
        await asyncio.sleep(1)
        assert first.is_leader
        world.storage.failing["release_lease"] = DOWN
        process.cancel()
        await asyncio.wait({process})
        await world.put()
        await asyncio.sleep(3)
        assert second.is_leader
        assert await world.storage.cursor(RELAY) == 1


async def test_a_relay_that_stops_gives_its_lease_back(world: Any, running: Callable[[Any], Any]) -> None:
    """The next one begins at once."""
    async with running(world.relay("one")):
        await asyncio.sleep(0.1)
    assert await world.storage.acquire_lease(RELAY, "two", seconds=1) is not None


async def test_a_relay_that_was_overtaken_does_not_move_the_cursor(world: Any) -> None:
    """It was frozen between publishing and saving: the page comes twice, the cursor is the new leader's."""
    await world.put()
    relay = world.relay("one")
    leadership = relay._leadership
    async with leadership.held():
        await asyncio.sleep(0)
        lease = leadership.lease
        await world.storage.release_lease(lease)
        assert await world.storage.acquire_lease(RELAY, "two", seconds=100) is not None
        assert await relay.step() == 1
        assert await world.storage.cursor(RELAY) == 0
        assert not relay.is_leader


async def test_a_leader_stops_believing_before_the_store_does(world: Any) -> None:
    """Its own deadline counts from when it asked, not from when it was answered."""
    relay = world.relay("one")
    async with relay._leadership.held():
        await asyncio.sleep(0.1)
        assert relay.is_leader
        world.storage.failing["acquire_lease"] = DOWN
        await asyncio.sleep(2.0)
        await world.put()
        assert not relay.is_leader
        assert await relay.step() == 0


async def test_a_slow_bus_does_not_cost_the_lease(world: Any, running: Callable[[Any], Any]) -> None:
    """It is renewed while a page is on its way."""
    publish = world.bus._inner.publish

    async def slow(events: Any) -> None:
        await asyncio.sleep(20)
        await publish(events)

    world.bus._inner.publish = slow
    await world.put()
    async with running(world.relay("one")), running(world.relay("two")):
        await asyncio.sleep(30)
    assert await published(world) == [1]


async def test_a_fault_of_the_storage_does_not_end_the_asking(world: Any, running: Callable[[Any], Any]) -> None:
    """A relay that stopped asking for the lease would be dead without anybody seeing it."""
    world.storage.failing["acquire_lease"] = [RuntimeError("a fault")]
    relay = world.relay("one")
    async with running(relay):
        await asyncio.sleep(1)
        assert relay.is_leader
