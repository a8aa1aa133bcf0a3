"""The conformance suites of the events port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from sfm_core.model.event import Change, Event, event_of
from sfm_core.plugins.types import Port
from sfm_core.ports.events import DeadLetters, Delivery, Events, EventsCapability, Subscription
from sfm_core.testing.build import at, new_id
from sfm_core.testing.opener import Opener
from sfm_core.testing.storage_isolation import CONFUSABLE
from sfm_core.testing.suite import Suite

__all__ = ["DeadLettersSuite", "DurableEventsSuite", "EventsSuite", "SharedEventsSuite", "change_events", "drain"]


def change_events(count: int, *, namespaces: Sequence[str] = ("acme/agent",), first: int = 1) -> list[Event]:
    """Return events of that many changes, over the namespaces in turn."""
    return [
        event_of(
            Change(
                sequence=number,
                type="memory.created",
                memory_id=new_id(),
                version=1,
                namespace=namespaces[number % len(namespaces)],
                time=at(number),
                target=new_id() if number % 5 == 0 else None,
            ),
            "urn:kit",
        )
        for number in range(first, first + count)
    ]


async def drain(backend: Events, group: str, quiet: float = 0.5, *, settle: float = 0.0) -> list[Event]:
    """Return, as a new member of `group`, everything that comes until nothing came for `quiet` seconds; commits it.

    For the first delivery it waits `settle` seconds longer: until a new member has its share.
    """
    found: list[Event] = []
    patience = settle + quiet
    async with backend.subscribe(group) as member:
        while part := await member.receive(limit=100, timeout=patience):
            await member.commit(part)
            found += events_of(part)
            patience = quiet
    return found


def events_of(deliveries: Sequence[Delivery]) -> list[Event]:
    """Return the events of deliveries that could be read."""
    return [delivery.event for delivery in deliveries if delivery.event is not None]


def ids(events: Sequence[Event]) -> list[str]:
    """Return the ids of events."""
    return [event.id for event in events]


def number(event: Event) -> int:
    """Return the sequence of an event's change."""
    return event.data.sequence


class EventsTests(Suite):
    """The base of these suites. Where a server takes its time, the fixtures class of the plugin sets these attributes.

    Attributes:
        quiet: how many seconds without a delivery mean that nothing more will come.
        settle: how many seconds it may take until everybody who joined or left a group has (or has not) their share.
        patience: how many seconds to wait for what must come.
    """

    port = Port.EVENTS
    quiet: ClassVar[float] = 0.5
    settle: ClassVar[float] = 0.0
    patience: ClassVar[float] = 20.0

    async def drain(self, backend: Events, group: str) -> list[Event]:
        """Return what a new member of `group` gets until nothing more comes; commits it."""
        return await drain(backend, group, self.quiet, settle=self.settle)

    async def settled(self) -> None:
        """Wait until the members who joined have their shares, so that no later change of hands repeats an event."""
        await asyncio.sleep(self.settle)

    async def lags(self, backend: Events, group: str, count: int) -> Mapping[str, int]:
        """Wait until `group` lags `count` events behind over all lanes, and return its lag by lane."""
        found = await backend.lag(group)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.patience):
                while sum(found.values()) != count:
                    await asyncio.sleep(0.05)
                    found = await backend.lag(group)
        assert sum(found.values()) == count
        return found

    async def take(self, member: Subscription, count: int, *, commit: bool = True, limit: int = 7) -> list[Delivery]:
        """Receive exactly `count` deliveries."""
        found: list[Delivery] = []
        async with asyncio.timeout(self.patience):
            while len(found) < count:
                part = await member.receive(limit=min(limit, count - len(found)), timeout=1.0)
                assert len(part) <= min(limit, count - len(found))
                if commit:
                    await member.commit(part)
                found += part
        return found


class EventsSuite(EventsTests):
    """What every event bus must do."""

    async def test_each_group_gets_every_event(self, backend: Events) -> None:
        """As it was published, and a group that is new starts at the oldest one."""
        events = change_events(20)
        async with backend.subscribe("index") as early:
            await backend.publish(events[:10])
            await backend.publish(events[10:])
            assert events_of(await self.take(early, 20)) == events
        async with backend.subscribe("audit") as late:
            assert events_of(await self.take(late, 20)) == events

    async def test_a_quiet_bus_answers_with_nothing(self, backend: Events) -> None:
        """`receive` ends with its timeout; nothing published is fine."""
        await backend.publish([])
        async with asyncio.timeout(self.patience), backend.subscribe("index") as member:
            assert await member.receive(limit=9, timeout=0.01) == []
        await backend.check()

    async def test_a_waiting_member_is_woken(self, backend: Events) -> None:
        """An event that is published while a member waits reaches it."""
        [event] = change_events(1)
        async with backend.subscribe("index") as member:
            waiting = asyncio.create_task(self.take(member, 1))
            await asyncio.sleep(0.01)
            await backend.publish([event])
            assert events_of(await waiting) == [event]

    async def test_order_is_kept_per_namespace(self, backend: Events) -> None:
        """Whatever the batches, each namespace's events come in their order."""
        names = ["a", "a-b", "b"]
        events = change_events(60, namespaces=names)
        async with backend.subscribe("index") as member:
            for start in range(0, 60, 7):
                await backend.publish(events[start : start + 7])
            found = events_of(await self.take(member, 60))
        for name in names:
            expected = [event.id for event in events if event.data.namespace == name]
            assert [event.id for event in found if event.data.namespace == name] == expected

    async def test_members_of_a_group_share_the_work(self, backend: Events) -> None:
        """No event goes to two of them when both commit; together they get all of it."""
        events = change_events(40, namespaces=[f"n{n}" for n in range(8)])
        await backend.publish(events)
        found: list[str] = []
        async with backend.subscribe("index") as one, backend.subscribe("index") as two:
            await self.settled()
            async with asyncio.timeout(self.patience):
                while len(found) < 40:
                    for member in (one, two):
                        part = await member.receive(limit=5, timeout=0.1)
                        await member.commit(part)
                        found += ids(events_of(part))
        assert sorted(found) == sorted(ids(events))

    async def test_a_namespace_is_in_one_hand_at_a_time(self, backend: Events) -> None:
        """While a member holds an event, no other member gets a later one of the same namespace."""
        await backend.publish(change_events(4))
        async with backend.subscribe("index") as one, backend.subscribe("index") as two:
            members = [one, two]
            await self.settled()
            first: list[Delivery] = []
            async with asyncio.timeout(self.patience):
                while not first:
                    first = await members[0].receive(limit=1, timeout=0.2)
                    members.reverse()
            assert await members[0].receive(limit=9, timeout=self.quiet) == []

    async def test_what_is_not_committed_comes_again(self, backend: Events) -> None:
        """After its member is gone, to the next one, marked as repeated; what was committed does not."""
        events = change_events(6)
        await backend.publish(events)
        async with backend.subscribe("index") as member:
            held = await self.take(member, 6, commit=False)
            await member.commit(held[:2])
        async with backend.subscribe("index") as member:
            again = await self.take(member, 4)
        assert ids(events_of(again)) == ids(events[2:])
        assert await self.drain(backend, "index") == []

    async def test_a_gap_in_what_was_committed_comes_again(self, backend: Events) -> None:
        """Committing the later half does not commit the first; the later half may come again with it."""
        events = change_events(6)
        await backend.publish(events)
        async with backend.subscribe("index") as member:
            held = await self.take(member, 6, commit=False)
            await member.commit(held[3:])
            await member.commit([held[1]])
        found = ids(await self.drain(backend, "index"))
        assert set(ids(events)) >= set(found) >= {events[0].id, events[2].id}
        assert await self.drain(backend, "index") == []
        assert sum((await backend.lag("index")).values()) == 0

    async def test_a_failing_consumer_loses_nothing(self, backend: Events) -> None:
        """An exception inside the subscription is the same as leaving it."""
        await backend.publish(change_events(3))
        try:
            async with backend.subscribe("index") as member:
                await self.take(member, 3, commit=False)
                raise LookupError
        except LookupError:
            assert len(await self.drain(backend, "index")) == 3

    async def test_a_rejected_event_does_not_come_again(self, backend: Events) -> None:
        """Giving up is a kind of committing; the next events are not held up."""
        events = change_events(3)
        await backend.publish(events)
        async with backend.subscribe("index") as member:
            held = await self.take(member, 3, commit=False)
            await member.reject(held[0], error="cannot be read")
            await member.commit(held[1:])
        assert await self.drain(backend, "index") == []

    async def test_repeats_are_delivered_as_repeats(self, backend: Events) -> None:
        """Publishing again delivers again, with the same id."""
        events = change_events(2)
        await backend.publish(events)
        await backend.publish(events)
        async with backend.subscribe("index") as member:
            assert ids(events_of(await self.take(member, 4))) == ids(events) * 2

    async def test_a_namespace_has_one_lane(self, backend: Events) -> None:
        """For ever, whoever reads it; and names that are easily confused stay what they are."""
        events = change_events(3 * len(CONFUSABLE), namespaces=CONFUSABLE)
        await backend.publish(events)
        lanes: dict[str, set[str]] = {}
        for group in ("index", "audit"):
            async with backend.subscribe(group) as member:
                found = await self.take(member, len(events))
            assert sorted(events_of(found), key=number) == events
            for delivery, event in zip(found, events_of(found), strict=True):
                lanes.setdefault(event.data.namespace, set()).add(delivery.lane)
        assert {name for name, held in lanes.items() if len(held) != 1} == set()

    async def test_a_lane_is_delivered_in_order(self, backend: Events) -> None:
        """In the order of publishing, over all the namespaces that share it and whatever the batches."""
        events = change_events(80, namespaces=[f"n{n}" for n in range(16)])
        for start in range(0, 80, 9):
            await backend.publish(events[start : start + 9])
        async with backend.subscribe("index") as member:
            found = await self.take(member, 80)
        lanes: dict[str, list[int]] = {}
        for delivery, event in zip(found, events_of(found), strict=True):
            lanes.setdefault(delivery.lane, []).append(number(event))
        assert lanes == {lane: sorted(numbers) for lane, numbers in lanes.items()}

    async def test_a_lane_is_in_one_hand_at_a_time(self, backend: Events) -> None:
        """While nobody commits, no two members of a group hold events of one lane."""
        await backend.publish(change_events(64, namespaces=[f"n{n}" for n in range(16)]))
        async with backend.subscribe("index") as one, backend.subscribe("index") as two:
            await self.settled()
            hands: list[set[str]] = [set(), set()]
            for limit in (1, 1, 5, 99):
                for hand, member in zip(hands, (one, two), strict=True):
                    hand |= {one.lane for one in await member.receive(limit=limit, timeout=self.quiet)}
        assert hands[0] | hands[1]
        assert hands[0] & hands[1] == set()

    async def test_the_lag_is_what_a_group_has_not_committed(self, backend: Events) -> None:
        """By lane, for a new group all there is, what is held included; other groups do not count; zero at the end."""
        assert sum((await backend.lag("index")).values()) == 0
        names = [f"n{n}" for n in range(8)]
        await backend.publish(change_events(24, namespaces=names))
        whole = await self.lags(backend, "index", 24)
        async with backend.subscribe("index") as member:
            held = await self.take(member, 24, commit=False)
            assert whole == {lane: sum(one.lane == lane for one in held) for lane in whole}
            assert await backend.lag("index") == whole
            first = [one for one in held if one.lane == held[0].lane]
            await member.commit(first)
            left = await self.lags(backend, "index", 24 - len(first))
            assert left == {**whole, held[0].lane: 0}
            await member.commit([one for one in held if one.lane != held[0].lane])
            assert await self.lags(backend, "index", 0) == dict.fromkeys(whole, 0)
        assert await self.lags(backend, "audit", 24) == whole
        await backend.publish(change_events(1, namespaces=names, first=25))
        await self.lags(backend, "index", 1)


class _Lettered(Events, DeadLetters, Protocol):
    """A bus that keeps dead letters."""


class DeadLettersSuite(EventsTests):
    """What an event bus with DEAD_LETTERS must do."""

    capability = EventsCapability.DEAD_LETTERS

    async def test_a_rejected_event_becomes_a_dead_letter(self, backend: _Lettered) -> None:
        """With its event and the reason, of its group only, oldest first."""
        events = change_events(3)
        await backend.publish(events)
        async with backend.subscribe("index") as member:
            held = await self.take(member, 3, commit=False)
            await member.reject(held[0], error="first reason")
            await member.reject(held[2], error="second reason")
            await member.commit([held[1]])
        letters = await backend.dead_letters("index", limit=9)
        assert [letter.delivery.event for letter in letters] == [events[0], events[2]]
        assert [(letter.group, letter.error) for letter in letters] == [
            ("index", "first reason"),
            ("index", "second reason"),
        ]
        assert [letter.error for letter in await backend.dead_letters("index", limit=1)] == ["first reason"]
        assert await backend.dead_letters("audit", limit=9) == []

    async def test_a_replayed_dead_letter_comes_again(self, backend: _Lettered) -> None:
        """To its group, and it is a dead letter no longer."""
        events = change_events(2)
        await backend.publish(events)
        async with backend.subscribe("index") as member:
            for delivery in await self.take(member, 2, commit=False):
                await member.reject(delivery, error="reason")
        first, second = await backend.dead_letters("index", limit=9)
        await backend.replay("index", [first])
        assert await self.drain(backend, "index") == events[:1]
        left = await backend.dead_letters("index", limit=9)
        assert [letter.delivery.event for letter in left] == [second.delivery.event]


class DurableEventsSuite(EventsTests):
    """What an event bus with DURABLE must do."""

    capability = EventsCapability.DURABLE

    async def test_published_events_survive_reopening(self, opener: Opener) -> None:
        """What was not committed comes afterwards, what was does not."""
        backend: Events = await opener.open()
        events = change_events(6)
        await backend.publish(events)
        async with backend.subscribe("index") as member:
            await self.take(member, 2)
        backend = await opener.reopen()
        found = ids(await self.drain(backend, "index"))
        assert found[-4:] == ids(events[2:])
        assert ids(await self.drain(backend, "audit")) == ids(events)


class SharedEventsSuite(EventsTests):
    """What an event bus with SHARED must do."""

    capability = EventsCapability.SHARED

    async def test_a_bus_joins_processes(self, opener: Opener) -> None:
        """What one publishes the other receives; a group works together over both."""
        first, second = await opener.open(), await opener.open()
        events = change_events(10)
        await first.publish(events)
        assert ids(await self.drain(second, "index")) == ids(events)
        assert await self.drain(first, "index") == []
        assert sum((await first.lag("index")).values()) == 0
