"""How far the projections have come, as every process can read it: never ahead of the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from sfm_core.errors import BackendUnavailable
from sfm_core.model.event import Change, event_of
from sfm_core.services.progress import Progress
from sfm_core.services.relay import RELAY
from sfm_core.testing.build import NOW, new_id

DOWN = BackendUnavailable("fake/port: down")
GROUP = "sfm-projector"
NAME = "projector:pipeline"


def progress(world: Any) -> Progress:
    """Return one of the group."""
    return Progress(world.storage, world.bus, name=NAME, group=GROUP)


async def test_it_is_the_relays_cursor_where_nothing_lags(world: Any) -> None:
    """What the relay has not noted yet does not count."""
    assert await progress(world).refresh() == 0
    async with world.bus.subscribe(GROUP) as member:
        await world.put()
        await world.relayed()
        await member.commit(await member.receive(limit=10, timeout=1))
    await world.put()
    assert await progress(world).refresh() == 1
    assert await world.storage.cursor(NAME) == 1


async def test_a_lane_that_lags_holds_it_back_to_its_own_cursor(world: Any) -> None:
    """The others may be as far as they like."""
    spaces = ["ns-0", "ns-1", "ns-0", "ns-1", "ns-0"]
    for space in spaces:
        await world.put(namespace=space)
    await world.relayed()
    async with world.bus.subscribe(GROUP) as member:
        held = await member.receive(limit=10, timeout=1)
        lanes = {d.event.data.namespace: d.lane for d in held}
        assert len(set(lanes.values())) == 2
        assert await progress(world).refresh() == 0
        await member.commit([d for d in held if d.event.data.namespace == "ns-1"])
        assert await progress(world).refresh() == 0
        await member.commit(held[:1])
        await progress(world).done({lanes["ns-0"]: 1, lanes["ns-1"]: 4})
        assert await progress(world).refresh() == 1
        await member.commit(held)
        assert await progress(world).refresh() == 5


async def test_it_asks_for_the_relays_cursor_first(world: Any) -> None:
    """Else what is published in between would count as done."""
    lag = world.bus._inner.lag

    async def late(group: str) -> Any:
        await world.put()
        await world.relayed()
        return await lag(group)

    world.bus._inner.lag = late
    assert await progress(world).refresh() == 0


async def test_a_consumer_keeps_it_up_to_date(world: Any, running: Callable[[Any], Any]) -> None:
    """Also when the relay notes its cursor late, and after storage or bus were down."""
    async with running(world.consumer()):
        await world.put()
        await world.relayed()
        await asyncio.sleep(0.5)
        assert await world.storage.cursor(NAME) == 1
        world.bus.failing["lag"] = DOWN
        await world.put()
        await world.relayed()
        await asyncio.sleep(20)
        assert await world.storage.cursor(NAME) == 1
        world.bus.failing.clear()
        await asyncio.sleep(2)
        assert await world.storage.cursor(NAME) == 2


async def test_events_of_others_tell_nothing_of_our_log(world: Any, running: Callable[[Any], Any]) -> None:
    """Another installation counts by itself: its numbers do not move the cursor past what lags."""
    memory = await world.put()
    change = Change(
        sequence=2**40, type="memory.created", memory_id=new_id(), version=1, namespace=memory.namespace, time=NOW
    )
    await world.relayed()
    await world.bus.publish([event_of(change, "urn:somebody")])
    async with running(world.consumer()):
        await asyncio.sleep(1)
    assert set((await world.bus.lag(GROUP)).values()) == {0}
    await world.put()
    await world.relayed()
    assert await progress(world).refresh() == 1


async def test_a_writer_learns_that_its_write_is_indexed(world: Any, running: Callable[[Any], Any]) -> None:
    """By the cursor, or by the index itself where others hold the cursor back."""
    memory = await world.put()
    projector = world.projector()
    assert not await projector.reached(1, 1.0)
    async with running(world.consumer()):
        waiting = asyncio.ensure_future(projector.reached(1, 10.0))
        await asyncio.sleep(0.1)
        await world.relayed()
        assert await waiting
    world.bus.failing["lag"] = DOWN
    second = await world.put()
    async with running(world.consumer()):
        await world.relayed()
        await asyncio.sleep(1)
        assert not await projector.reached(2, 1.0)
        assert await projector.reached(2, 1.0, live=[second])
        await world.remove(memory)
        await world.relayed()
        await asyncio.sleep(1)
        assert not await projector.reached(3, 1.0)
    world.vectors.failing["versions"] = DOWN
    assert not await projector.reached(3, 1.0, live=[second])


async def test_a_group_that_lost_its_relay_goes_no_further(world: Any) -> None:
    """The cursor of the relay is the upper end."""
    for _ in range(3):
        await world.put()
    assert await world.storage.cursor(RELAY) == 0
    assert await progress(world).refresh() == 0
