"""Poison and dead letters, on a real broker."""

from __future__ import annotations

from typing import Any

import pytest

from sfm_core.errors import InvalidInput
from sfm_core.ports.events import DeadLetter, Delivery
from sfm_core.testing.events import change_events, drain
from sfm_kafka.config import KafkaConfig
from sfm_kafka.events import KafkaEvents, open_events
from sfm_kafka.subscription import KafkaSubscription

QUIET = 2.0


async def take(member: KafkaSubscription, count: int) -> list[Delivery]:
    """Receive that many deliveries."""
    found: list[Delivery] = []
    while len(found) < count:
        found += await member.receive(limit=count - len(found), timeout=5.0)
    return found


async def buried(events: KafkaEvents, group: str, count: int, *, error: str = "reason") -> None:
    """Publish that many events and give up on them."""
    await events.publish(change_events(count))
    async with events.subscribe(group) as member:
        for delivery in await take(member, count):
            await member.reject(delivery, error=f"{error} {delivery.event.id if delivery.event else ''}")


async def test_poison_is_delivered_raw_and_does_not_hold_up_what_is_behind_it(
    events: KafkaEvents, config: KafkaConfig, put: Any, spill: Any
) -> None:
    """Its key, value and headers go to the dead letters as they were, with why, from where and when."""
    await put(config.topic, b"\xff{", headers=[("traceparent", b"00-1")])
    await put(config.topic, None)
    await events.publish(change_events(1, namespaces=["acme"]))
    async with events.subscribe("index") as member:
        first, second, third = await take(member, 3)
        assert (first.event, first.raw, second.event, second.raw) == (None, b"\xff{", None, b"")
        assert third.event is not None
        assert third.raw is None
        await member.reject(first, error="cannot be read: \ud800")
        await member.reject(second, error="empty")
        await member.commit([third])
    assert set((await events.lag("index")).values()) == {0}
    record = (await spill(config.dead_letter_topic))[0]
    headers = dict(record.headers)
    assert (record.key, record.value) == (b"acme", b"\xff{")
    assert headers.pop("sfm-time").startswith(b"20")
    assert headers == {
        "traceparent": b"00-1",
        "sfm-group": b"index",
        "sfm-error": b"cannot be read: \\ud800",
        "sfm-topic": config.topic.encode(),
        "sfm-partition": first.lane.encode(),
        "sfm-offset": b"0",
        "sfm-attempt": b"1",
    }
    letters = await events.dead_letters("index", limit=9)
    assert [(letter.delivery.raw, letter.error) for letter in letters] == [
        (b"\xff{", "cannot be read: \\ud800"),
        (b"", "empty"),
    ]


async def test_poison_without_key_and_value_is_a_dead_letter_too(
    events: KafkaEvents, config: KafkaConfig, put: Any
) -> None:
    """There is nothing to lose, and it does not stop the group."""
    await put(config.topic, b"", key=None)
    async with events.subscribe("index") as member:
        [delivery] = await take(member, 1)
        await member.reject(delivery, error="nothing")
    [letter] = await events.dead_letters("index", limit=9)
    assert letter.delivery.raw == b""


async def test_poison_as_long_as_a_broker_takes_is_cut_and_does_not_stop_the_group(
    events: KafkaEvents, config: KafkaConfig, put: Any, spill: Any
) -> None:
    """With its headers it would be longer than that."""
    await put(config.topic, b"x" * 1_048_000)
    async with events.subscribe("index") as member:
        [delivery] = await take(member, 1)
        await member.reject(delivery, error="too long")
    [letter] = await events.dead_letters("index", limit=9)
    assert letter.delivery.raw == b"x" * 524_288
    [record] = await spill(config.dead_letter_topic)
    assert dict(record.headers)["sfm-cut"] == b"1048000"


async def test_a_replay_reaches_its_group_only(events: KafkaEvents) -> None:
    """Other groups pass over it and are not behind because of it."""
    await buried(events, "index", 2)
    assert len(await drain(events, "audit", QUIET)) == 2
    letters = await events.dead_letters("index", limit=9)
    await events.replay("index", letters)
    assert await drain(events, "audit", QUIET) == []
    assert set((await events.lag("audit")).values()) == {0}
    assert sum((await events.lag("index")).values()) == 2
    assert [event.id for event in await drain(events, "index", QUIET)] == ["1", "2"]


async def test_a_replayed_delivery_knows_how_often_it_was_tried(events: KafkaEvents) -> None:
    """Through the headers, whichever process delivers it."""
    await buried(events, "index", 1)
    await events.replay("index", await events.dead_letters("index", limit=9))
    async with events.subscribe("index") as member:
        [again] = await take(member, 1)
        assert again.attempt == 2
        await member.reject(again, error="still")
    [letter] = await events.dead_letters("index", limit=9)
    assert (letter.delivery.attempt, letter.error) == (2, "still")


async def test_what_was_replayed_is_remembered_by_the_cluster(events: KafkaEvents, config: KafkaConfig) -> None:
    """Replaying the same letters again does nothing, in this process and in another."""
    await buried(events, "index", 5)
    letters = await events.dead_letters("index", limit=9)
    await events.replay("index", [letters[3], letters[0]])
    async with open_events(config, create=False) as other:
        await other.replay("index", letters[:1])
        await other.replay("index", letters[3:4])
        left = await other.dead_letters("index", limit=9)
        assert [letter.error for letter in left] == ["reason 2", "reason 3", "reason 5"]
        assert [event.id for event in await drain(other, "index", QUIET)] == ["1", "4"]
        await other.replay("index", left)
        assert await other.dead_letters("index", limit=9) == []
    async with events.subscribe("index") as member:
        held = await take(member, 3)
        await member.reject(held[0], error="new 2")
        await member.commit(held[1:])
    assert [letter.error for letter in await events.dead_letters("index", limit=9)] == ["new 2"]


async def test_letters_of_another_group_or_bus_are_not_replayed(events: KafkaEvents) -> None:
    """The caller is told."""
    await buried(events, "index", 1)
    letters = await events.dead_letters("index", limit=9)
    with pytest.raises(InvalidInput, match="letters"):
        await events.replay("audit", letters)
    with pytest.raises(InvalidInput, match="letters"):
        await events.replay("index", [DeadLetter("index", Delivery(None, object()), "")])


async def test_what_others_write_to_the_topic_of_dead_letters_is_passed_over(
    events: KafkaEvents, config: KafkaConfig, put: Any
) -> None:
    """It may be shared with other tools."""
    await put(config.dead_letter_topic, b"hello")
    await buried(events, "index", 1)
    assert len(await events.dead_letters("index", limit=9)) == 1
