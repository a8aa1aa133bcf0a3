"""What a process does on its own: tombstones for expired memories, counts to the board, relay and consumer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from sfm_app.observability.logs import described, get_logger
from sfm_app.observability.metrics import Metrics
from sfm_core.services.forget import Forget

__all__ = ["Sweeper", "Task", "running"]

Task = Callable[[], Awaitable[None]]
Stop = Callable[[], None]
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


async def _forever(name: str, task: Task, metrics: Metrics, ended: asyncio.Event) -> None:
    """Run `task`; when it fails, say so and begin again, later each time."""
    clock, pause = asyncio.get_running_loop().time, _FIRST_PAUSE
    while not ended.is_set():
        began = clock()
        try:
            await task()
        except Exception as error:  # noqa: BLE001
            metrics.count("sfm_background_failures_total", task=name)
            get_logger().warning("background task failed", task=name, again_in=pause, **described(error))
        if clock() - began > _SLOWEST:
            pause = _FIRST_PAUSE
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await ended.wait()
        pause = min(pause * 2, _SLOWEST)


@asynccontextmanager
async def running(
    tasks: Mapping[str, Task], metrics: Metrics, *, stop: Mapping[str, Stop] | None = None, patience: float = 0.0
) -> AsyncIterator[None]:
    """Keep `tasks` going while the block runs; a failing one is started again and never stops the service.

    Args:
        tasks: by name.
        metrics: told of failures.
        stop: by name of a task, what makes it finish by itself; the others are cancelled after it.
        patience: seconds that those get before they are cancelled too.
    """
    ended = asyncio.Event()
    started = {
        name: asyncio.create_task(_forever(name, task, metrics, ended), name=name) for name, task in tasks.items()
    }
    try:
        yield
    finally:
        ended.set()
        finishing = []
        for name, finish in (stop or {}).items():
            finish()
            finishing.append(started[name])
        if finishing:
            await asyncio.wait(finishing, timeout=patience)
        for task in started.values():
            task.cancel()
        await asyncio.gather(*started.values(), return_exceptions=True)
