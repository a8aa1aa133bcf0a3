"""The consumer: a member of a group that carries the events of the bus into the projections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from msgspec import Struct

from sfm_core.errors import BackendError, BackendUnavailable, ConfigError, PluginError, SfmError
from sfm_core.model.event import change_of
from sfm_core.ports.events import Delivery, Events, Subscription
from sfm_core.services.backoff import Backoff, told
from sfm_core.services.progress import Progress
from sfm_core.services.projector import Projector

__all__ = ["Consumer"]

_log = logging.getLogger("sfm.consumer")
_T = TypeVar("_T")

_AWAY = (BackendUnavailable, ConfigError, PluginError)
"""What no event is to blame for: it is waited out."""

_PATIENCE = 0.5
_IDLE = 1.0
_SHORTEST_LOOK, _LONGEST_LOOK = 0.02, 0.5
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_UNREADABLE = "the event cannot be read"


class _Failure(Struct, frozen=True):
    """An event that was tried alone and failed, and why."""

    delivery: Delivery
    error: str


class Consumer:
    """Receives batches, has the projector bring the projections up to the records, and commits what is done.

    * Committed after the projections are flushed, never before: what a crash interrupts comes again, which changes
      nothing, since the projector goes by the newest version in storage.
    * While storage, index, cache or embedding are down (or cannot be used as configured) it waits with the batch in hand:
      no attempt is counted, nothing is committed.
    * A batch that fails otherwise is split until the events at fault stand alone. The others are committed; those are
      tried `attempts` times in all, then rejected to the dead letters, and the rest goes on. Events that cannot be read
      are rejected at once.

    Args:
        events: the bus.
        projector: the one that inline indexing uses as well.
        progress: where it is noted how far the group has come.
        group: the consumer group.
        source: names this installation in its events; the sequences of others say nothing about its log.
        batch: most events at a time.
        attempts: how often an event that fails alone is tried.

    Attributes:
        batches, events: how many were done, rejected events included.
        failures: how many attempts failed, pauses not counted.
        dead_letters: how many events were rejected.
        paused: what it is waiting for, None while it works.
    """

    def __init__(
        self,
        events: Events,
        projector: Projector,
        progress: Progress,
        *,
        group: str,
        source: str,
        batch: int = 500,
        attempts: int = 5,
    ) -> None:
        self._bus = events
        self._projector = projector
        self.progress = progress
        self._group = group
        self._source = source
        self._batch = batch
        self._attempts = attempts
        self._stopping = asyncio.Event()
        self._rejoin = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._look = Backoff(_SHORTEST_LOOK, _LONGEST_LOOK)
        self._due = 0.0
        self._seen = 0
        self.batches = 0
        self.events = 0
        self.failures = 0
        self.dead_letters = 0
        self.paused: str | None = None

    def stop(self) -> None:
        """Have `run` finish the batch in hand, commit it and return."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`. A bus that is down is waited for."""
        while not self._stopping.is_set():
            try:
                async with self._bus.subscribe(self._group) as member:
                    await self._work(member)
            except SfmError as error:
                if self._stopping.is_set():
                    _log.warning("stopped with work in hand, which comes again: %s", told(error))
                    return
                self._note_pause(error)
                await self._rest(self._rejoin.pause())

    async def _work(self, member: Subscription) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            patience = min(_PATIENCE, max(self._due - loop.time(), _SHORTEST_LOOK))
            deliveries = await member.receive(limit=self._batch, timeout=patience)
            self._note_work()
            self._rejoin.reset()
            if deliveries:
                await self._handle(member, deliveries)
                self._look.reset()
                self._due = min(self._due, loop.time() + _SHORTEST_LOOK)
            if loop.time() >= self._due or self._stopping.is_set():
                await self._report()

    async def _handle(self, member: Subscription, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            if delivery.event is None:
                await self._reject(member, _Failure(delivery, _UNREADABLE))
        readable = [delivery for delivery in deliveries if delivery.event is not None]
        failed = await self._carried(readable) if readable else []
        poison = {id(failure.delivery) for failure in failed}
        if good := [delivery for delivery in readable if id(delivery) not in poison]:
            await self._patiently(lambda: member.commit(good))
        for failure in await self._tried_again(member, failed):
            await self._reject(member, failure)
        self.batches += 1
        self.events += len(deliveries)
        await self._patiently(lambda: self.progress.done(self._lanes(readable)))

    def _lanes(self, deliveries: Sequence[Delivery]) -> dict[str, int]:
        lanes: dict[str, int] = {}
        for delivery in deliveries:
            if delivery.event is not None and delivery.event.source == self._source:
                lanes[delivery.lane] = max(lanes.get(delivery.lane, 0), delivery.event.data.sequence)
        self._seen = max([self._seen, *lanes.values()])
        return lanes

    async def _carried(self, deliveries: Sequence[Delivery]) -> list[_Failure]:
        """Project what `deliveries` tell of, split again and again where that fails; return those that fail alone."""
        error = await self._error_of(deliveries)
        if error is None:
            return []
        if len(deliveries) == 1:
            return [_Failure(deliveries[0], error)]
        middle = len(deliveries) // 2
        return [*await self._carried(deliveries[:middle]), *await self._carried(deliveries[middle:])]

    async def _tried_again(self, member: Subscription, failed: list[_Failure]) -> list[_Failure]:
        """Try each of `failed` again, later each time, and commit those that succeed; return those that never do."""
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        for _ in range(1, self._attempts):
            if not failed:
                break
            await self._rest(backoff.pause())
            left: list[_Failure] = []
            for failure in failed:
                error = await self._error_of([failure.delivery])
                if error is None:
                    await self._patiently(lambda done=failure.delivery: member.commit([done]))  # type: ignore[misc]
                else:
                    left.append(_Failure(failure.delivery, error))
            failed = left
        return failed

    async def _error_of(self, deliveries: Sequence[Delivery]) -> str | None:
        """Project and flush; return why that failed, None when it did not.

        Raises:
            BackendUnavailable: something is down, and `stop` was called meanwhile.
        """
        changes = [change_of(delivery.event) for delivery in deliveries if delivery.event is not None]

        async def project() -> None:
            await self._projector.project(changes, strict=True)
            await self._projector.flush()

        try:
            await self._patiently(project)
        except _AWAY:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is: the others must go on, and it is told
            self.failures += 1
            _log.warning("a batch of %d events failed: %s", len(deliveries), told(error))
            return told(error)
        return None

    async def _reject(self, member: Subscription, failure: _Failure) -> None:
        if self._stopping.is_set() and failure.error is not _UNREADABLE:
            raise BackendUnavailable("consumer: stopped before an event that fails was tried often enough")
        event = failure.delivery.event
        _log.error("event %s is given up: %s", "?" if event is None else event.id, failure.error)
        await self._patiently(lambda: member.reject(failure.delivery, error=failure.error))
        self.dead_letters += 1

    async def _patiently(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Return what `work` returns; while what it needs is away, wait and try again."""
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                result = await work()
            except _AWAY as error:
                if self._stopping.is_set():
                    raise
                self._note_pause(error)
                await self._rest(backoff.pause())
            else:
                self._note_work()
                return result

    async def _report(self) -> None:
        """Bring the cursor that others read up to date: often while it lags behind what was done here, else now and then."""
        with suppress(BackendError):
            await self.progress.refresh()
        pause = self._look.pause() if self.progress.position < self._seen else _IDLE
        self._due = asyncio.get_running_loop().time() + pause

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _note_work(self) -> None:
        if self.paused is not None:
            _log.info("consumer goes on")
        self.paused = None

    def _note_pause(self, error: SfmError) -> None:
        if self.paused is None:
            _log.warning("consumer is waiting: %s", told(error))
        self.paused = told(error)
