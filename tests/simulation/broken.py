"""Pipelines that are wrong on purpose, each in one way that the oracle must see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sfm_core.model.event import event_of
from sfm_core.model.namespace import ALL
from sfm_core.ports.abilities import Lease
from sfm_core.ports.events import Delivery, Subscription
from sfm_core.services.consumer import Consumer
from sfm_core.services.progress import Progress
from sfm_core.services.projection import Projection
from sfm_core.services.relay import RELAY, Relay
from tests.simulation.world import Breakage

__all__ = ["BROKEN"]


class _CommitsFirst(Consumer):
    async def _handle(self, member: Subscription, deliveries: Sequence[Delivery]) -> None:
        await self._patiently(lambda: member.commit(deliveries))
        await super()._handle(member, deliveries)


class _ForgetsWhatFails(Consumer):
    async def _reject(self, member: Subscription, failure: object) -> None:
        await member.commit([failure.delivery])  # type: ignore[attr-defined]


class _ClaimsFirst(Consumer):
    async def _handle(self, member: Subscription, deliveries: Sequence[Delivery]) -> None:
        await self._patiently(lambda: self.progress.done(self._lanes(deliveries)))
        await super()._handle(member, deliveries)


class _Unfenced(Relay):
    async def _passed(self, sequence: int, lease: Lease | None) -> None:
        await super()._passed(sequence, None)


class _SavesFirst(Relay):
    async def step(self) -> int:
        lease = None if self._leadership is None else self._leadership.lease
        if lease is None:
            return 0
        if not self._started or lease != self._lease:
            await self._begin(lease)
        changes = await self._storage.changes(ALL, after=self.position, limit=self._page)
        if changes:
            await self._passed(changes[-1].sequence, lease)
            await self._events.publish([event_of(change, self._source) for change in changes])
        return len(changes)


class _IgnoresLag(Progress):
    async def refresh(self) -> int:
        reached = await self._storage.cursor(RELAY)
        await self._storage.save_cursor(self._name, reached)
        self.position = reached
        return reached


class _LooksAtTheLagFirst(Progress):
    async def refresh(self) -> int:
        self.lag: Mapping[str, int] = await self._events.lag(self._group)
        reached = 0 if any(self.lag.values()) else await self._storage.cursor(RELAY)
        if reached:
            await self._storage.save_cursor(self._name, reached)
        self.position = max(self.position, reached)
        return self.position


class _NeverFlushes(Projection):
    async def flush(self) -> None:
        """Leave it to chance."""


BROKEN = {
    "commits before it projects": Breakage(consumer=_CommitsFirst),
    "drops what fails without a dead letter": Breakage(consumer=_ForgetsWhatFails),
    "notes a lane before it is done": Breakage(consumer=_ClaimsFirst),
    "saves the relay's cursor without a fence": Breakage(relay=_Unfenced),
    "saves the relay's cursor before it publishes": Breakage(relay=_SavesFirst),
    "takes the relay's cursor for progress": Breakage(progress=_IgnoresLag),
    "asks for the lag before the relay's cursor": Breakage(progress=_LooksAtTheLagFirst),
    "does not make the index durable": Breakage(projection=_NeverFlushes),
}
