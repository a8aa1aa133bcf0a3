"""What the service does on its own: tombstones for expired memories, the change log to the event bus, counts to the board."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sfm_app.observability.logs import described, get_logger
from sfm_app.observability.metrics import Metrics
from sfm_core.model.event import event_of
from sfm_core.model.namespace import ALL
from sfm_core.ports.events import Events
from sfm_core.ports.storage import Storage
from sfm_core.services.forget import Forget

__all__ = ["Relay", "Sweeper", "running"]

Task = Callable[[], Awaitable[None]]
_CURSOR = "relay"
_PAGE = 1000
_FIRST_PAUSE = 1.0
_SLOWEST = 60.0


class Sweeper:
    """Makes expired memories tombstones; they are hidden from the instant of their expiry in any case.

    Args:
        forget: the service that removes.
        metrics: told how many.
        seconds: between two sweeps.
    """

    def __init__(self, forget: Forget, metrics: Metrics, *, seconds: float = 60.0) -> None:
        self._forget = forget
        self._metrics = metrics
        self._seconds = seconds

    async def run(self) -> None:
        """Sweep for ever. Workers start at different moments, so that they rarely do it at once."""
        while True:
            await asyncio.sleep(self._seconds * random.uniform(0.5, 1.0))
            if swept := await self._forget.sweep():
                self._metrics.count("sfm_swept_memories_total", swept)


class Relay:
    """Hands the change log to the event bus, in order, at least once.

    A durable bus goes on where the stored cursor stands; one that forgets at its end starts at the log's end.

    Args:
        storage: has the log and the cursor.
        events: the bus.
        metrics: told how many.
        source: names this installation in the events.
        durable: whether the bus keeps what it was given.
        seconds: between two looks at the log.
    """

    def __init__(
        self, storage: Storage, events: Events, metrics: Metrics, *, source: str, durable: bool, seconds: float = 0.5
    ) -> None:
        self._storage = storage
        self._events = events
        self._metrics = metrics
        self._source = source
        self._durable = durable
        self._seconds = seconds
        self._position: int | None = None

    async def run(self) -> None:
        """Relay for ever."""
        while True:
            if not await self.step():
                await asyncio.sleep(self._seconds)

    async def step(self) -> int:
        """Relay what is there, at most one page; return how many changes that was."""
        if self._position is None:
            self._position = await (self._storage.cursor(_CURSOR) if self._durable else self._storage.last_sequence())
        changes = await self._storage.changes(ALL, after=self._position, limit=_PAGE)
        if not changes:
            return 0
        await self._events.publish([event_of(change, self._source) for change in changes])
        self._position = changes[-1].sequence
        if self._durable:
            await self._storage.save_cursor(_CURSOR, self._position)
        self._metrics.count("sfm_relayed_events_total", len(changes))
        return len(changes)


async def _forever(name: str, task: Task, metrics: Metrics) -> None:
    """Run `task`; when it fails, say so and begin again, later each time."""
    pause = _FIRST_PAUSE
    while True:
        try:
            await task()
        except Exception as error:  # noqa: BLE001
            metrics.count("sfm_background_failures_total", task=name)
            get_logger().warning("background task failed", task=name, again_in=pause, **described(error))
        await asyncio.sleep(pause)
        pause = min(pause * 2, _SLOWEST)


@asynccontextmanager
async def running(tasks: dict[str, Task], metrics: Metrics) -> AsyncIterator[None]:
    """Keep `tasks` going while the block runs; a failing one is started again and never stops the service."""
    started = [asyncio.create_task(_forever(name, task, metrics), name=name) for name, task in tasks.items()]
    try:
        yield
    finally:
        for task in started:
            task.cancel()
        await asyncio.gather(*started, return_exceptions=True)
