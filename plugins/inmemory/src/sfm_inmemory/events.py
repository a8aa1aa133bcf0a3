"""The event bus in one process: a bounded log, and for each consumer group what it has seen of it."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from zlib import crc32

from msgspec.structs import replace

from sfm_core.model.event import Event
from sfm_core.ports.events import DeadLetter, Delivery

__all__ = ["InmemoryEvents", "InmemorySubscription"]


_LANES = 8


class _Group:
    """What one consumer group has to work on: `waiting` in order, `taken` by members, `dead` given up."""

    def __init__(self, held: Sequence[Event], limit: int) -> None:
        self.waiting = deque(map(_delivery, held))
        self.taken: dict[object, tuple[InmemorySubscription, Delivery]] = {}
        self.dead: deque[DeadLetter] = deque(maxlen=limit)

    def take(self, member: InmemorySubscription, limit: int) -> list[Delivery]:
        """Hand out waiting deliveries, those of a lane only to the member that already holds some of it."""
        owners = {delivery.lane: owner for owner, delivery in self.taken.values()}
        given: list[Delivery] = []
        left: deque[Delivery] = deque()
        while self.waiting and len(given) < limit:
            delivery = self.waiting.popleft()
            if owners.get(delivery.lane, member) is member:
                given.append(delivery)
                self.taken[delivery.token] = (member, delivery)
            else:
                left.append(delivery)
        self.waiting.extendleft(reversed(left))
        return given

    def give_back(self, member: InmemorySubscription) -> None:
        """Put what `member` holds back in front of what waits, in its order."""
        held = [delivery for owner, delivery in self.taken.values() if owner is member]
        for delivery in held:
            del self.taken[delivery.token]
        again = [replace(delivery, attempt=delivery.attempt + 1) for delivery in held]
        self.waiting.extendleft(reversed(again))


class InmemoryEvents:
    """The events port in one event loop, with dead letters.

    Args:
        retained: how many events are held for groups to come, and dead letters for each group; beyond it the oldest go.
    """

    def __init__(self, *, retained: int = 100_000) -> None:
        self._retained = retained
        self._held: deque[Event] = deque(maxlen=retained)
        self._groups: dict[str, _Group] = {}
        self._news = asyncio.Condition()

    async def publish(self, events: Sequence[Event]) -> None:
        """Append `events` to the log and to what each group has to do."""
        async with self._news:
            self._held.extend(events)
            for group in self._groups.values():
                group.waiting.extend(map(_delivery, events))
                while len(group.waiting) > self._retained:
                    group.waiting.popleft()
            self._news.notify_all()

    @asynccontextmanager
    async def subscribe(self, group: str) -> AsyncIterator[InmemorySubscription]:
        """Join a group; on leaving, what was not committed goes back to it."""
        member = InmemorySubscription(group, self._group(group), self._news)
        try:
            yield member
        finally:
            async with self._news:
                self._group(group).give_back(member)
                self._news.notify_all()

    async def lag(self, group: str) -> Mapping[str, int]:
        """Return how many events of each lane a group has not committed."""
        state = self._groups.get(group) or _Group(self._held, self._retained)
        behind = Counter(delivery.lane for delivery in state.waiting)
        behind.update(delivery.lane for _, delivery in state.taken.values())
        return {lane: behind[lane] for lane in map(str, range(_LANES))}

    async def check(self) -> None:
        """Answer."""

    async def dead_letters(self, group: str, *, limit: int) -> list[DeadLetter]:
        """Return the oldest dead letters of a group."""
        return list(islice(self._group(group).dead, limit))

    async def replay(self, group: str, letters: Sequence[DeadLetter]) -> None:
        """Deliver dead letters again."""
        async with self._news:
            state = self._group(group)
            for letter in letters:
                if letter in state.dead:
                    state.dead.remove(letter)
                    state.waiting.append(letter.delivery)
            self._news.notify_all()

    def _group(self, name: str) -> _Group:
        if name not in self._groups:
            self._groups[name] = _Group(self._held, self._retained)
        return self._groups[name]


class InmemorySubscription:
    """One member of a group."""

    def __init__(self, name: str, group: _Group, news: asyncio.Condition) -> None:
        self._name = name
        self._group = group
        self._news = news

    async def receive(self, *, limit: int, timeout: float) -> list[Delivery]:
        """Wait for deliveries."""
        given: list[Delivery] = []
        try:
            async with asyncio.timeout(timeout), self._news:
                while not (given := self._group.take(self, limit)):
                    await self._news.wait()
        except TimeoutError:
            return given
        return given

    async def commit(self, deliveries: Sequence[Delivery]) -> None:
        """Mark deliveries as done, and let other members have the rest of their lanes."""
        async with self._news:
            for delivery in deliveries:
                self._group.taken.pop(delivery.token, None)
            self._news.notify_all()

    async def reject(self, delivery: Delivery, *, error: str) -> None:
        """Make a delivery a dead letter."""
        if delivery.token in self._group.taken:
            self._group.dead.append(DeadLetter(self._name, delivery, error))
        await self.commit([delivery])


def _delivery(event: Event) -> Delivery:
    lane = crc32(event.data.namespace.encode("utf-8", "surrogatepass")) % _LANES
    return Delivery(event, object(), lane=str(lane))
