"""The relay: hands the change log to the event bus, in order, at least once."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

from sfm_core.errors import LeaseLost, SfmError
from sfm_core.model.event import event_of
from sfm_core.model.namespace import ALL
from sfm_core.ports.abilities import Lease
from sfm_core.ports.events import Events
from sfm_core.ports.storage import Storage
from sfm_core.services.backoff import Backoff, told
from sfm_core.services.leadership import Leadership

__all__ = ["RELAY", "Relay"]

_log = logging.getLogger("sfm.relay")
RELAY = "relay"
"""Name of the relay's lease and of its cursor: everything up to the cursor is on the bus."""

_PAGE = 1000
_SHORTEST_LOOK, _LONGEST_LOOK = 0.02, 0.2
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


class Relay:
    """Publishes what comes after its cursor, page by page: first the bus holds a page, then the cursor passes it.

    Nothing is lost whatever dies when; what was published and not yet noted is published again. With `leadership` one
    of many relays works at a time, and the cursor is saved under the lease, so that one that was overtaken is refused.

    Args:
        storage: has the log and the cursor.
        events: the bus.
        source: names this installation in the events.
        durable: whether the bus keeps what it was given. One that forgets gets what comes after the start, without cursor.
        leadership: of the lease `RELAY`; None when no other process relays, or the storage has no leases.

    Attributes:
        published: how many events the bus took.
        failures: how many pages failed and were tried again.
        position: everything up to this sequence is on the bus, as far as this relay knows.
        lag: how many changes of the log were waiting when this relay last looked.
        failing: why it gets nowhere, None while it does.
    """

    def __init__(
        self,
        storage: Storage,
        events: Events,
        *,
        source: str,
        durable: bool = True,
        leadership: Leadership | None = None,
        page: int = _PAGE,
    ) -> None:
        self._storage = storage
        self._events = events
        self._source = source
        self._durable = durable
        self._leadership = leadership
        self._page = page
        self._started = False
        self._lease: Lease | None = None
        self.published = 0
        self.failures = 0
        self.position = 0
        self.lag = 0
        self.failing: str | None = None

    @property
    def is_leader(self) -> bool:
        """Whether this relay is the one that works."""
        return self._leadership is None or self._leadership.lease is not None

    async def run(self) -> None:
        """Relay for ever. A storage or bus that is down is waited for."""
        look, backoff = Backoff(_SHORTEST_LOOK, _LONGEST_LOOK), Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        async with AsyncExitStack() as stack:
            if self._leadership is not None:
                await stack.enter_async_context(self._leadership.held())
            while True:
                try:
                    done = await self.step()
                except SfmError as error:
                    self._note_failure(error)
                    await asyncio.sleep(backoff.pause())
                    continue
                if self.failing is not None:
                    _log.info("relay goes on")
                self.failing = None
                backoff.reset()
                if done:
                    look.reset()
                else:
                    await self._wait(look.pause())

    async def step(self) -> int:
        """Relay what is there, at most one page; return how many changes that was.

        Raises:
            BackendError: storage or bus failed; nothing is lost.
        """
        lease = None if self._leadership is None else self._leadership.lease
        if self._leadership is not None and lease is None:
            self.lag = 0
            return 0
        if not self._started or lease != self._lease:
            await self._begin(lease)
        changes = await self._storage.changes(ALL, after=self.position, limit=self._page)
        self.lag = len(changes)
        if not changes:
            return 0
        if len(changes) == self._page:
            self.lag = await self._storage.last_sequence() - self.position
        if self._leadership is not None and self._leadership.lease != lease:
            return 0
        await self._events.publish([event_of(change, self._source) for change in changes])
        self.published += len(changes)
        await self._passed(changes[-1].sequence, lease)
        return len(changes)

    async def _begin(self, lease: Lease | None) -> None:
        self._started = False
        self.position = await (self._storage.cursor(RELAY) if self._durable else self._storage.last_sequence())
        self._lease = lease
        self._started = True

    async def _passed(self, sequence: int, lease: Lease | None) -> None:
        if self._durable:
            try:
                await self._storage.save_cursor(RELAY, sequence, fence=lease)
            except LeaseLost:
                # Another relay works already, from the cursor before this page: the bus gets it twice.
                if self._leadership is not None and lease is not None:
                    self._leadership.lost(lease)
                self._started = False
                _log.warning("relay was overtaken by another")
                return
        self.lag = max(0, self.lag - (sequence - self.position))
        self.position = sequence

    async def _wait(self, seconds: float) -> None:
        if self._leadership is None or self._leadership.lease is not None:
            await asyncio.sleep(seconds)
        else:
            await self._leadership.wait(1.0)

    def _note_failure(self, error: SfmError) -> None:
        self.failures += 1
        if self.failing is None:
            _log.warning("relay is waiting: %s", told(error))
        self.failing = told(error)
