"""An event bus as Kafka is one: lanes, one group with generations, whole repeats, offsets, dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from zlib import crc32

from msgspec import Struct

from sfm_core.errors import BackendError, BackendUnavailable
from sfm_core.model.event import Event
from sfm_core.ports.events import DeadLetter, Delivery
from tests.simulation.wire import Network, Wire

__all__ = ["Broker", "Bus"]

_SESSION = 6.0
_RAW = b"\xff unreadable"


class _Token(Struct, frozen=True):
    lane: int
    offset: int
    generation: int


class _Member:
    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.positions: dict[int, int] = {}
        self.generation = 0


class Broker:
    """The servers of the bus: what is in the lanes, and how far the group is.

    Args:
        network: chance, for repeats and partial publications.
        lanes: how many.
        committed: told of every event that is committed.

    Attributes:
        lanes: what was published, None for what cannot be read.
        dead: the dead letters.
        given_up: sequences of all events that ever were dead letters: the cursor of all passes them.
    """

    def __init__(self, network: Network, lanes: int, committed: Callable[[Event], None]) -> None:
        self.network = network
        self.lanes: list[list[Event | None]] = [[] for _ in range(lanes)]
        self.dead: list[DeadLetter] = []
        self.given_up: set[int] = set()
        self._committed_event = committed
        self._committed = [0] * lanes
        self._done: list[set[int]] = [set() for _ in range(lanes)]
        self._members: list[_Member] = []
        self._generation = 0
        self._news = asyncio.Event()

    def lane_of(self, event: Event) -> int:
        """Return the lane of an event's namespace."""
        return crc32(event.data.namespace.encode()) % len(self.lanes)

    async def append(self, events: Sequence[Event]) -> None:
        """Hold events, one after the other; a failure in between leaves a beginning of each lane."""
        times = 2 if self.network.happens(0.03) else 1
        for event in [event for _ in range(times) for event in events]:
            if self.network.happens(0.005):
                raise BackendUnavailable("simulated/bus: broke off")
            if self.network.happens(0.01):
                await asyncio.sleep(self.network.delay())
            self.lanes[self.lane_of(event)].append(event)
        self._tell()

    def litter(self) -> None:
        """Put something unreadable into a lane."""
        self.lanes[self.network.chance.randrange(len(self.lanes))].append(None)
        self._tell()

    def lag(self) -> dict[str, int]:
        """Return what the group has not committed."""
        return {
            str(lane): len(events) - self._committed[lane] - len(self._done[lane])
            for lane, events in enumerate(self.lanes)
        }

    def join(self, member: _Member) -> None:
        """Make a process a member."""
        self._members.append(member)
        self._rebalance()

    def leave(self, member: _Member) -> None:
        """Take a member out of the group."""
        if member in self._members:
            self._members.remove(member)
            self._rebalance()

    def expire(self, wire: Wire) -> None:
        """Take the members of a process out that gave no sign of life for long enough."""
        for member in [member for member in self._members if member.wire is wire]:
            self.network.note(f"{wire.process} expired")
            self.leave(member)

    async def fetch(self, member: _Member, limit: int, timeout: float) -> list[Delivery]:
        """Wait for deliveries of the member's lanes."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeout
        while True:
            if member not in self._members:
                raise BackendUnavailable("simulated/bus: not a member any more")
            if found := self._next(member, limit):
                return found
            if loop.time() >= ends:
                return []
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(ends - loop.time()):
                    await self._news.wait()

    def finish(self, token: object, *, rejected: bool = False) -> bool:
        """Commit one delivery; return False when it was handed out in an earlier generation."""
        assert isinstance(token, _Token)
        if token.generation != self._generation:
            return False
        lane = token.lane
        if token.offset >= self._committed[lane] and token.offset not in self._done[lane]:
            event = self.lanes[lane][token.offset]
            if event is not None and not rejected:
                self._committed_event(event)
            self._done[lane].add(token.offset)
            while self._committed[lane] in self._done[lane]:
                self._done[lane].discard(self._committed[lane])
                self._committed[lane] += 1
        return True

    def _next(self, member: _Member, limit: int) -> list[Delivery]:
        if member.generation != self._generation:
            mine = self._members.index(member)
            lanes = range(mine, len(self.lanes), len(self._members))
            member.positions = {lane: self._committed[lane] for lane in lanes}
            member.generation = self._generation
        found: list[Delivery] = []
        lanes_now = sorted(member.positions)
        self.network.chance.shuffle(lanes_now)
        for lane in lanes_now:
            while member.positions[lane] < len(self.lanes[lane]) and len(found) < limit:
                offset = member.positions[lane]
                member.positions[lane] += 1
                event = self.lanes[lane][offset]
                raw = _RAW if event is None else None
                found.append(Delivery(event, _Token(lane, offset, self._generation), raw=raw, lane=str(lane)))
        return found

    def _rebalance(self) -> None:
        self._generation += 1
        # What was done out of order is forgotten with the membership, as offsets are all that is kept.
        self._done = [set() for _ in self.lanes]
        self._tell()

    def _tell(self) -> None:
        self._news.set()


class Bus:
    """The events port of one process."""

    def __init__(self, wire: Wire, broker: Broker) -> None:
        self._wire = wire
        self._broker = broker

    async def publish(self, events: Sequence[Event]) -> None:
        """Publish over the wire."""
        await self._wire.call("bus", "publish", lambda: self._broker.append(events))

    @asynccontextmanager
    async def subscribe(self, group: str) -> AsyncIterator[_Subscription]:
        """Join the group; a process that dies inside does not say goodbye."""
        await self._wire.step("bus", "subscribe")
        member = _Member(self._wire)
        self._broker.join(member)
        try:
            yield _Subscription(self._wire, self._broker, member, group)
        finally:
            if self._wire.alive:
                self._broker.leave(member)

    async def lag(self, group: str) -> Mapping[str, int]:
        """Tell the lag."""

        async def effect() -> Mapping[str, int]:
            return self._broker.lag()

        return await self._wire.call("bus", "lag", effect)

    async def check(self) -> None:
        """Answer over the wire."""
        await self._wire.step("bus", "check")


class _Subscription:
    def __init__(self, wire: Wire, broker: Broker, member: _Member, group: str) -> None:
        self._wire = wire
        self._broker = broker
        self._member = member
        self._group = group

    async def receive(self, *, limit: int, timeout: float) -> list[Delivery]:
        """Deliver; positions are the client's own, so that no answer gets lost."""
        await self._wire.step("bus", "receive")
        found = await self._broker.fetch(self._member, limit, timeout)
        await self._wire.step("bus", "received", fails=False)
        return found

    async def commit(self, deliveries: Sequence[Delivery]) -> None:
        """Commit over the wire; marks of an earlier generation are refused or ignored, as chance will."""

        async def effect() -> None:
            known = [self._broker.finish(delivery.token) for delivery in deliveries]
            if not all(known):
                self._broker.network.note(f"{self._wire.process} committed too late")
                if self._broker.network.happens(0.5):
                    raise BackendError("simulated/bus: the group has a new generation")

        await self._wire.call("bus", "commit", effect)

    async def reject(self, delivery: Delivery, *, error: str) -> None:
        """Make a dead letter over the wire."""

        async def effect() -> None:
            self._broker.dead.append(DeadLetter(self._group, delivery, error))
            if delivery.event is not None:
                self._broker.given_up.add(delivery.event.data.sequence)
            self._broker.finish(delivery.token, rejected=True)

        await self._wire.call("bus", "reject", effect)


async def expire_later(broker: Broker, wire: Wire, still: Callable[[], bool]) -> None:
    """Take a silent process out of the group after the session's time, if it is `still` silent."""
    await asyncio.sleep(_SESSION)
    if still():
        broker.expire(wire)
