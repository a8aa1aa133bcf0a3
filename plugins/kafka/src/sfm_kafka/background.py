"""Background what may take long to close, without waiting for it: a frozen broker must not hold up the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

__all__ = ["Background"]

_log = logging.getLogger("sfm.kafka")


class Background:
    """Runs work in the background and, at the end, gives it a last bounded time."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin some work; errors are logged."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def within(self, seconds: float, work: Coroutine[Any, Any, None]) -> None:
        """Begin some work and wait for it at most that long; it goes on after that."""
        await asyncio.wait({self.begin(work)}, timeout=seconds)

    async def finish(self, seconds: float) -> None:
        """Wait for everything at most that long, then break it off."""
        if not self._running:
            return
        _, left = await asyncio.wait(self._running, timeout=seconds)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.info("kafka/events: %s in the background", type(error).__name__)
