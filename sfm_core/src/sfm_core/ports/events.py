"""The events port: a bus that carries change events to consumer groups, at least once, in order per namespace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from sfm_core.model.event import Event

__all__ = ["DeadLetter", "DeadLetters", "Delivery", "Events", "EventsCapability", "Subscription"]


class EventsCapability(StrEnum):
    """Optional abilities of an event bus."""

    DURABLE = "durable"
    """Published events survive a restart of bus and processes."""
    SHARED = "shared"
    """Publishers and subscribers may live in different processes."""
    DEAD_LETTERS = "dead_letters"
    """Keeps events that a consumer gave up on (`Subscription.reject`) for inspection and replay (`DeadLetters`)."""


class Delivery(Struct, frozen=True):
    """One event as it came in.

    Attributes:
        event: what was published; None when it could not be read.
        token: the bus's own.
        attempt: 1 at first, higher when it is known to come again.
        raw: the bytes, when they could not be read.
        lane: which of the bus's ordered lines it came along (a partition): all events of one namespace are in one lane
            (test_a_namespace_has_one_lane), a lane's events are delivered in the order they were published in
            (test_a_lane_is_delivered_in_order), and to one member of a group at a time
            (test_a_lane_is_in_one_hand_at_a_time).
    """

    event: Event | None
    token: object
    attempt: int = 1
    raw: bytes | None = None
    lane: str = ""


class Subscription(Protocol):
    """One member of a consumer group."""

    async def receive(self, *, limit: int, timeout: float) -> list[Delivery]:
        """Wait up to `timeout` seconds and return 1 to `limit` deliveries, or [] when none came.

        Proven by test_a_quiet_bus_answers_with_nothing and test_a_waiting_member_is_woken.
        """
        ...

    async def commit(self, deliveries: Sequence[Delivery]) -> None:
        """Mark work as done; what is not committed is delivered again: test_what_is_not_committed_comes_again.

        In any order: a later delivery of a lane does not commit an earlier one (it may come again with it):
        test_a_gap_in_what_was_committed_comes_again.
        """
        ...

    async def reject(self, delivery: Delivery, *, error: str) -> None:
        """Give up on a delivery: it goes to the dead letters (or is dropped where there are none) and is committed.

        Proven by test_a_rejected_event_does_not_come_again.
        """
        ...


class Events(Protocol):
    """An event bus with one topic."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Publish in order and return when the bus holds them; order is kept per namespace: test_order_is_kept_per_namespace.

        Publishing again repeats the events: a subscriber tells repeats by `Event.id`. What a call that fails leaves behind is a
        beginning of the events of each lane, without a gap: progress is told by the highest sequence of a lane.

        Proven by test_repeats_are_delivered_as_repeats.
        """
        ...

    def subscribe(self, group: str) -> AbstractAsyncContextManager[Subscription]:
        """Join consumer group `group`; each event goes to one member of each group: test_each_group_gets_every_event.

        It may take a bus seconds until a new member has its share; meanwhile `receive` gives nothing.

        A group that is new starts at the oldest event that the bus holds.

        Proven by test_members_of_a_group_share_the_work and test_a_namespace_is_in_one_hand_at_a_time.
        """
        ...

    async def lag(self, group: str) -> Mapping[str, int]:
        """Return, for every lane of the topic, how many events `group` has not committed; all of them for a new group.

        What members hold uncommitted counts. A lane without lag is there with 0. Needs no membership, and changes nothing.

        Proven by test_the_lag_is_what_a_group_has_not_committed.
        """
        ...

    async def check(self) -> None:
        """Prove that the bus answers.

        Raises:
            BackendUnavailable: it does not.
        """
        ...


class DeadLetter(Struct, frozen=True):
    """A delivery that a consumer of `group` gave up on, and why."""

    group: str
    delivery: Delivery
    error: str


class DeadLetters(Protocol):
    """Capability DEAD_LETTERS."""

    async def dead_letters(self, group: str, *, limit: int) -> list[DeadLetter]:
        """Return the oldest dead letters of `group`: test_a_rejected_event_becomes_a_dead_letter."""
        ...

    async def replay(self, group: str, letters: Sequence[DeadLetter]) -> None:
        """Deliver `letters` to `group` again; they are dead letters no longer: test_a_replayed_dead_letter_comes_again."""
        ...
