"""A broker that is killed, frozen, late or never there."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from sfm_core.errors import BackendUnavailable
from sfm_core.plugins.types import OpenContext
from sfm_core.testing.events import change_events
from sfm_core.testing.servers.kafka import KafkaServer
from sfm_core.testing.servers.process import free_port
from sfm_kafka import plugin
from sfm_kafka.events import KafkaEvents, open_events

pytestmark = pytest.mark.slow

NAMESPACES = [f"acme/agent-{n}" for n in range(5)]
HASTY = {"request_timeout": 1.0, "publish_timeout": 2.0, "session_timeout": 6.0, "handover_timeout": 1.0}


async def publish(events: KafkaEvents, first: int, last: int, acknowledged: list[int]) -> None:
    """Publish events in small batches as a relay does: a batch that was not acknowledged is published again."""
    for start in range(first, last + 1, 10):
        batch = change_events(10, namespaces=NAMESPACES, first=start)
        while True:
            try:
                await events.publish(batch)
                break
            except BackendUnavailable:
                await asyncio.sleep(0.2)
        acknowledged += [event.data.sequence for event in batch]
        await asyncio.sleep(0.01)


async def consume(events: KafkaEvents, until: int, found: list[tuple[str, int]]) -> None:
    """Consume as a member that joins again when it must, until everything was seen."""
    while len({sequence for _, sequence in found}) < until:
        try:
            async with events.subscribe("index") as member:
                while len({sequence for _, sequence in found}) < until:
                    part = await member.receive(limit=7, timeout=0.5)
                    found += [(d.event.data.namespace, d.event.data.sequence) for d in part if d.event]
                    await member.commit(part)
        except BackendUnavailable:
            await asyncio.sleep(0.2)


async def reached(acknowledged: list[int], count: int) -> None:
    """Wait until that many events are acknowledged."""
    while True:
        if len(acknowledged) >= count:
            return
        await asyncio.sleep(0.02)


def assert_in_order(found: list[tuple[str, int]]) -> None:
    """Per namespace a number is followed by the next, or by one that was there before."""
    seen: defaultdict[str, int] = defaultdict(int)
    follows = {n: n + len(NAMESPACES) for n in range(1, 10_000)}
    for namespace, sequence in found:
        newest = seen[namespace]
        assert sequence <= (follows[newest] if newest else len(NAMESPACES)), (namespace, newest, sequence)
        seen[namespace] = max(newest, sequence)


async def test_a_killed_broker_loses_nothing_and_keeps_the_order(
    own_kafka: KafkaServer, make_config: Any, kafka_topic: str
) -> None:
    """Killed and started again twice while events are published and consumed."""
    config = make_config(own_kafka.bootstrap, kafka_topic, **HASTY)
    acknowledged: list[int] = []
    found: list[tuple[str, int]] = []
    async with asyncio.timeout(240), open_events(config, create=True) as events:
        publishing = asyncio.create_task(publish(events, 1, 400, acknowledged))
        consuming = asyncio.create_task(consume(events, 400, found))
        for mark in (100, 250):
            await reached(acknowledged, mark)
            await asyncio.to_thread(own_kafka.kill)
            await asyncio.sleep(1.0)
            await asyncio.to_thread(own_kafka.start)
        await publishing
        await consuming
    assert acknowledged == list(range(1, 401))
    assert {sequence for _, sequence in found} == set(acknowledged)
    assert_in_order(found)


async def test_a_frozen_broker_is_unavailable_in_time_and_goes_on_when_it_thaws(
    own_kafka: KafkaServer, make_config: Any, kafka_topic: str
) -> None:
    """Publishing, committing, asking: each ends with BackendUnavailable; a quiet member is told as well."""
    config = make_config(own_kafka.bootstrap, kafka_topic, **HASTY)
    async with asyncio.timeout(120), open_events(config, create=True) as events:
        await events.publish(change_events(5))
        async with events.subscribe("index") as member:
            held = await member.receive(limit=5, timeout=20.0)
            own_kafka.freeze()
            try:
                async with asyncio.timeout(30):
                    with pytest.raises(BackendUnavailable):
                        await events.check()
                    with pytest.raises(BackendUnavailable):
                        await events.publish(change_events(5, first=6))
                    with pytest.raises(BackendUnavailable):
                        await member.commit(held)
                    with pytest.raises(BackendUnavailable):
                        await events.lag("index")
                    with pytest.raises(BackendUnavailable):
                        await receive_for_ever(member)
                    with pytest.raises(BackendUnavailable):
                        async with events.subscribe("audit"):
                            pass
            finally:
                own_kafka.thaw()
            await recovered(events)
            await publish(events, 6, 10, [])
            found = {d.event.data.sequence for d in held if d.event}
            # What was not acknowledged may have been written all the same, and comes as a repeat.
            while found != set(range(1, 16)) or sum((await events.lag("index")).values()):
                part = await received(member)
                found |= {d.event.data.sequence for d in part if d.event}
                await member.commit(part)


async def receive_for_ever(member: Any) -> None:
    """Receive, though nothing comes."""
    while True:
        assert await member.receive(limit=5, timeout=1.0) == []


async def received(member: Any) -> Any:
    """Receive, again when the broker is not back yet."""
    while True:
        try:
            return await member.receive(limit=9, timeout=0.5)
        except BackendUnavailable:
            await asyncio.sleep(0.2)


async def recovered(events: KafkaEvents) -> None:
    """Wait until the bus answers."""
    while True:
        try:
            return await events.check()
        except BackendUnavailable:
            await asyncio.sleep(0.2)


@pytest.mark.server
async def test_a_bus_opens_without_a_broker_and_works_when_one_comes(make_config: Any, kafka_topic: str) -> None:
    """Until then every call says so; then the topics are made at first contact."""
    [spec] = plugin.sfm_events()
    port = free_port()
    config = make_config(f"127.0.0.1:{port}", kafka_topic, **HASTY)
    server = KafkaServer(port=port)
    try:
        async with asyncio.timeout(120), spec.open(config, OpenContext()) as events:
            with pytest.raises(BackendUnavailable, match=r"^kafka/events: .*\(ConnectionRefusedError\)$"):
                await events.check()
            with pytest.raises(BackendUnavailable):
                await events.publish(change_events(1))
            with pytest.raises(BackendUnavailable):
                async with events.subscribe("index"):
                    pass
            await asyncio.to_thread(server.start)
            await recovered(events)
            await publish(events, 1, 10, [])
            assert sum((await events.lag("index")).values()) == 10
    finally:
        await asyncio.to_thread(server.close)


async def test_a_closed_bus_says_so(make_config: Any, tmp_path: Path) -> None:
    """It does not connect again."""
    config = make_config(f"127.0.0.1:{free_port()}", "memory.events")
    async with open_events(config, create=True) as events:
        pass
    with pytest.raises(BackendUnavailable, match="closed"):
        await events.check()
    with pytest.raises(BackendUnavailable, match="closed"):
        await events.publish(change_events(1))


async def test_several_bootstrap_servers_of_which_one_is_there_will_do(
    own_kafka: KafkaServer, make_config: Any, kafka_topic: str
) -> None:
    """The first that answers counts."""
    gone = [f"127.0.0.1:{free_port()}" for _ in range(3)]
    config = make_config(",".join([*gone, own_kafka.bootstrap]), kafka_topic)
    async with open_events(config, create=True) as events:
        await events.publish(change_events(3))
        assert sum((await events.lag("index")).values()) == 3
