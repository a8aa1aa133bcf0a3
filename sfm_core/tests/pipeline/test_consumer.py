"""The consumer: committed after it is done, split around poison, paused while something is down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sfm_core.errors import BackendError, BackendUnavailable, ConfigError
from sfm_core.model.event import Event
from sfm_core.ports.events import Delivery

DOWN = BackendUnavailable("fake/port: down")
GROUP = "sfm-projector"
Running = Callable[[Any], Any]


async def test_what_the_log_holds_is_projected_in_batches(world: Any, running: Running) -> None:
    """What was deleted is not found."""
    memories = [await world.put(namespace=f"ns-{n % 3}") for n in range(20)]
    await world.remove(memories[0])
    await world.relayed()
    consumer = world.consumer(batch=8)
    async with running(consumer):
        await asyncio.sleep(1)
    assert await world.indexed() == [False, *[True] * 19]
    assert (consumer.batches, consumer.events, consumer.failures, consumer.dead_letters) == (3, 21, 0, 0)
    assert set((await world.bus.lag(GROUP)).values()) == {0}


async def test_nothing_is_committed_before_it_is_durable(world: Any, running: Running) -> None:
    """A kill while the index is flushed: the batch comes again."""
    await world.put()
    await world.relayed()
    world.vectors.failing["flush"] = DOWN
    consumer = world.consumer()
    async with running(consumer):
        await asyncio.sleep(60)
        assert sum((await world.bus.lag(GROUP)).values()) == 1
    world.vectors.failing.clear()
    async with running(world.consumer()):
        await asyncio.sleep(1)
    assert sum((await world.bus.lag(GROUP)).values()) == 0
    assert await world.indexed() == [True]


@pytest.mark.parametrize(
    ("backend", "method"),
    [
        ("storage", "locate"),
        ("vectors", "versions"),
        ("vectors", "upsert"),
        ("storage", "save_cursor"),
    ],
)
@pytest.mark.parametrize("error", [DOWN, ConfigError("fake/port: another dimension")])
async def test_it_waits_with_the_batch_in_hand(
    world: Any, running: Running, backend: str, method: str, error: Exception
) -> None:
    """No attempt is counted and nothing becomes a dead letter, however long it takes."""
    for _ in range(3):
        await world.put()
    await world.relayed()
    getattr(world, backend).failing[method] = error
    consumer = world.consumer(attempts=1)
    async with running(consumer):
        await asyncio.sleep(600)
        assert consumer.paused == str(error)
        assert (consumer.failures, consumer.dead_letters) == (0, 0)
        getattr(world, backend).failing.clear()
        await asyncio.sleep(6)
        assert consumer.paused is None
        assert await world.indexed() == [True] * 3
        assert await world.projector().indexed(3) == 3


async def test_an_embedder_that_is_down_is_waited_for(world: Any, running: Running) -> None:
    """As the stores are."""
    await world.put()
    await world.relayed()
    world.embedder.error = DOWN
    consumer = world.consumer(attempts=1)
    async with running(consumer):
        await asyncio.sleep(60)
        assert consumer.paused == str(DOWN)
        world.embedder.error = None
        await asyncio.sleep(6)
    assert await world.indexed() == [True]
    assert consumer.dead_letters == 0


@pytest.mark.parametrize("method", ["receive", "commit"])
@pytest.mark.parametrize("error", [DOWN, BackendError("fake/events: not a member any more")])
async def test_a_broken_membership_is_made_anew(
    world: Any, running: Running, monkeypatch: pytest.MonkeyPatch, method: str, error: Exception
) -> None:
    """What was in hand comes again."""
    from sfm_inmemory.events import InmemorySubscription

    true = getattr(InmemorySubscription, method)
    left = 3

    async def broken(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left >= 0:
            raise error
        return await true(self, *arguments, **named)

    monkeypatch.setattr(InmemorySubscription, method, broken)
    await world.put()
    await world.relayed()
    async with running(world.consumer()):
        await asyncio.sleep(10)
    assert sum((await world.bus.lag(GROUP)).values()) == 0
    assert await world.indexed() == [True]


async def test_a_poison_event_is_isolated_and_the_rest_goes_on(world: Any, running: Running) -> None:
    """It alone is tried again and becomes a dead letter with its error."""
    for n in range(20):
        await world.put("poison" if n in (4, 11) else "tea")
    await world.relayed()
    consumer = world.consumer(attempts=3)
    async with running(consumer):
        await asyncio.sleep(0.01)
        assert sum(await world.indexed()) == 18
        assert sum((await world.bus.lag(GROUP)).values()) == 2
        await asyncio.sleep(10)
    assert sum(await world.indexed()) == 18
    dead = await world.dead()
    assert sorted(letter.delivery.event.data.sequence for letter in dead) == [5, 12]
    assert {letter.error for letter in dead} == {"embedder/embedding: refused a text"}
    assert consumer.dead_letters == 2
    assert await world.projector().indexed(20) == 20


async def test_an_event_that_succeeds_later_is_no_dead_letter(world: Any, running: Running) -> None:
    """A failure that passes is survived, however it looks."""
    await world.put()
    await world.relayed()
    world.vectors.failing["upsert"] = [BackendError("fake/vectors: odd"), RuntimeError("a fault")]
    consumer = world.consumer(attempts=3)
    async with running(consumer):
        await asyncio.sleep(10)
    assert (consumer.failures, consumer.dead_letters) == (2, 0)
    assert await world.indexed() == [True]
    assert sum((await world.bus.lag(GROUP)).values()) == 0


async def test_the_text_of_a_foreign_error_does_not_get_into_dead_letters(world: Any, running: Running) -> None:
    """It may hold content or an address."""
    await world.put()
    await world.relayed()
    world.vectors.failing["upsert"] = RuntimeError("secret")
    async with running(world.consumer(attempts=1)):
        await asyncio.sleep(1)
    [letter] = await world.dead()
    assert letter.error == "raised RuntimeError"


async def test_an_event_that_cannot_be_read_is_rejected_at_once(
    world: Any, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came with it goes on."""
    from sfm_inmemory import events

    def unreadable(event: Event) -> Delivery:
        odd = event.data.sequence == 2
        return Delivery(None if odd else event, object(), raw=b"?" if odd else None, lane="0")

    monkeypatch.setattr(events, "_delivery", unreadable)
    for _ in range(3):
        await world.put()
    await world.relayed()
    consumer = world.consumer()
    async with running(consumer):
        await asyncio.sleep(0.1)
    assert (consumer.dead_letters, consumer.failures) == (1, 0)
    assert await world.indexed() == [True, False, True]
    [letter] = await world.dead()
    assert letter.error == "the event cannot be read"


async def test_a_replayed_dead_letter_is_worked_on_again(world: Any, running: Running) -> None:
    """After what was wrong is mended."""
    await world.put("poison")
    await world.relayed()
    async with running(world.consumer(attempts=1)):
        await asyncio.sleep(1)
        world.embedder.refuses = False
        await world.bus.replay(GROUP, await world.dead())
        await asyncio.sleep(1)
    assert await world.indexed() == [True]
    assert await world.dead() == []


async def test_an_event_of_nothing_known_is_harmless(world: Any, running: Running, event: Callable[..., Event]) -> None:
    """An erased memory's event may come after its erasure."""
    await world.bus.publish([event(1)])
    consumer = world.consumer()
    async with running(consumer):
        await asyncio.sleep(1)
    assert (consumer.events, consumer.dead_letters) == (1, 0)


async def test_a_stop_finishes_the_batch_and_commits(world: Any, running: Running) -> None:
    """Nothing of it comes again."""
    await world.put()
    await world.relayed()
    embed = world.embedder.embed

    async def slow(texts: Any) -> Any:
        await asyncio.sleep(5)
        return await embed(texts)

    world.embedder.embed = slow
    consumer = world.consumer()
    async with running(consumer) as process:
        await asyncio.sleep(1)
        consumer.stop()
        await asyncio.wait_for(process, 6)
    assert sum((await world.bus.lag(GROUP)).values()) == 0
    assert await world.indexed() == [True]


async def test_a_stop_does_not_wait_for_what_is_down(world: Any, running: Running) -> None:
    """The batch comes again to the next consumer; a half-tried event is no dead letter."""
    await world.put("poison")
    await world.relayed()
    consumer = world.consumer(attempts=10)
    async with running(consumer) as process:
        await asyncio.sleep(1)
        consumer.stop()
        await asyncio.wait_for(process, 1)
    assert sum((await world.bus.lag(GROUP)).values()) == 1
    assert await world.dead() == []


async def test_two_consumers_share_the_work(world: Any, running: Running) -> None:
    """Each event is worked on once while both live, and by the other when one dies."""
    first, second = world.consumer(batch=2), world.consumer(batch=2)
    async with running(first) as process, running(second):
        for n in range(40):
            await world.put(namespace=f"ns-{n % 10}")
            await world.relayed()
            await asyncio.sleep(0.1)
        assert first.events + second.events == 40
        process.cancel()
        await world.put()
        await world.relayed()
        await asyncio.sleep(5)
    assert all(await world.indexed())
