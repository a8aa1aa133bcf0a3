"""Members that come, go, pause and hold on, on a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from sfm_core.errors import InvalidInput
from sfm_core.ports.events import Delivery
from sfm_core.testing.events import change_events
from sfm_core.testing.servers.kafka import KafkaAt
from sfm_kafka.events import KafkaEvents, open_events
from sfm_kafka.subscription import KafkaSubscription

NAMESPACES = [f"acme/agent-{n}" for n in range(12)]


@pytest.fixture
async def brisk(make_config: Any, kafka_server: KafkaAt, kafka_topic: str) -> AsyncIterator[KafkaEvents]:
    """A bus whose groups find a dead member soon and wait little for a slow one."""
    config = make_config(kafka_server.bootstrap, kafka_topic, session_timeout=6.0, handover_timeout=1.0)
    async with open_events(config, create=True) as events:
        yield events


async def take(member: KafkaSubscription, count: int) -> list[Delivery]:
    """Receive that many deliveries."""
    found: list[Delivery] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found += await member.receive(limit=count - len(found), timeout=1.0)
    return found


class Worker:
    """Consumes as a member until it is stopped; notes what it committed, by lane."""

    def __init__(self, events: KafkaEvents) -> None:
        self.done: list[tuple[str, int]] = []
        self._events = events
        self._stop = asyncio.Event()
        self.works = asyncio.Event()

    async def run(self) -> None:
        """Work in small steps, so that a change of the group meets it in the middle."""
        async with self._events.subscribe("index") as member:
            while not self._stop.is_set():
                for delivery in await member.receive(limit=3, timeout=0.2):
                    await asyncio.sleep(0.002)
                    await member.commit([delivery])
                    assert delivery.event is not None
                    self.done.append((delivery.event.data.namespace, delivery.event.data.sequence))
                    self.works.set()

    def stop(self) -> None:
        """Leave after the step at hand."""
        self._stop.set()


async def caught_up(events: KafkaEvents) -> None:
    """Wait until nothing is left to commit."""
    while True:
        if not sum((await events.lag("index")).values()):
            return
        await asyncio.sleep(0.1)


async def test_members_that_come_and_go_lose_nothing(brisk: KafkaEvents) -> None:
    """Every event is worked on, in the order of its namespace apart from repeats."""
    first, second, third = Worker(brisk), Worker(brisk), Worker(brisk)
    async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
        tasks.create_task(first.run())
        await brisk.publish(change_events(200, namespaces=NAMESPACES))
        tasks.create_task(second.run())
        await brisk.publish(change_events(200, namespaces=NAMESPACES, first=201))
        await second.works.wait()
        tasks.create_task(third.run())
        first.stop()
        await brisk.publish(change_events(200, namespaces=NAMESPACES, first=401))
        await caught_up(brisk)
        second.stop()
        third.stop()
    done = first.done + second.done + third.done
    assert {sequence for _, sequence in done} == set(range(1, 601))
    for worker in (first, second, third):
        for namespace in NAMESPACES:
            mine = [sequence for name, sequence in worker.done if name == namespace]
            assert mine == sorted(mine)


async def test_a_member_finishes_what_it_holds_before_its_lanes_move(config: Any) -> None:
    """While it does, the member that comes gets nothing of it, and afterwards nothing comes twice."""
    async with open_events(config, create=True) as events, AsyncExitStack() as stack:
        await events.publish(change_events(40, namespaces=NAMESPACES))
        one = await stack.enter_async_context(events.subscribe("index"))
        held = await take(one, 10)
        coming = asyncio.create_task(stack.enter_async_context(events.subscribe("index")))
        await asyncio.sleep(2.0)
        await one.commit(held)
        two = await coming
        found = list(held)
        async with asyncio.timeout(60):
            while len(found) < 40:
                for member in (one, two):
                    part = await member.receive(limit=9, timeout=0.3)
                    await member.commit(part)
                    found += part
        numbers = [delivery.event.data.sequence for delivery in found if delivery.event is not None]
        assert sorted(numbers) == list(range(1, 41))


async def test_commits_of_lanes_that_moved_on_do_no_harm(brisk: KafkaEvents) -> None:
    """What was not committed in time comes again, to whoever has the lane now, as a further attempt; no letter is written."""
    await brisk.publish(change_events(8, namespaces=NAMESPACES[:8]))
    async with brisk.subscribe("index") as one:
        held = await take(one, 8)
        async with brisk.subscribe("index") as two:
            await one.commit(held[:4])
            await one.reject(held[4], error="too late")
            again: list[Delivery] = []
            async with asyncio.timeout(60):
                while len(again) < 8:
                    for member in (one, two):
                        part = await member.receive(limit=8, timeout=0.3)
                        await member.commit(part)
                        again += part
    assert {delivery.attempt for delivery in again} == {2}
    assert sum((await brisk.lag("index")).values()) == 0
    assert await brisk.dead_letters("index", limit=9) == []


@pytest.mark.slow
async def test_a_member_that_pauses_stays_a_member(brisk: KafkaEvents) -> None:
    """Longer than a dead one would: nothing it holds goes to another, and it can still commit."""
    await brisk.publish(change_events(6))
    async with brisk.subscribe("index") as one, brisk.subscribe("index") as two:
        members, held = [one, two], []
        async with asyncio.timeout(60):
            while not held:
                members.reverse()
                held = await members[0].receive(limit=6, timeout=0.5)
        assert await members[1].receive(limit=6, timeout=8.0) == []
        await members[0].commit(held)
        assert sum((await brisk.lag("index")).values()) == 6 - len(held)


async def test_a_delivery_of_something_else_is_refused(brisk: KafkaEvents) -> None:
    """Committing it would commit nothing."""
    async with brisk.subscribe("index") as member:
        with pytest.raises(InvalidInput, match="deliveries"):
            await member.commit([Delivery(None, object())])


async def test_installations_that_share_a_cluster_do_not_share_groups(
    make_config: Any, kafka_server: KafkaAt, kafka_topic: str
) -> None:
    """A group's name is within its topic."""
    ours = make_config(kafka_server.bootstrap, kafka_topic)
    theirs = make_config(kafka_server.bootstrap, f"{kafka_topic}.theirs")
    async with open_events(ours, create=True) as one, open_events(theirs, create=True) as two:
        await one.publish(change_events(3))
        await two.publish(change_events(3))
        async with one.subscribe("index") as mine, two.subscribe("index") as other:
            assert len(await take(mine, 3)) == 3
            assert len(await take(other, 3)) == 3
