"""Whether the server answers: known to all calls, so that not each of them waits for a silent one by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sfm_core.errors import BackendUnavailable, SfmError

__all__ = ["Watch"]

_PAUSE = 0.25


class Watch:
    """Looks after a server that failed a call, until it answers again.

    A call that took too long proves nothing about the server: only when a plain look at it fails as well, calls are refused
    at once, until a later look succeeds.
    """

    def __init__(self, look: Callable[[], Awaitable[None]]) -> None:
        self._look = look
        self._task: asyncio.Task[None] | None = None
        self._outage: str | None = None

    def require(self) -> None:
        """Let a call pass.

        Raises:
            BackendUnavailable: the server is known not to answer.
        """
        if self._outage is not None:
            raise BackendUnavailable(self._outage)

    def suspect(self) -> None:
        """Begin to look after the server, unless that is under way."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._follow())

    def is_well(self) -> None:
        """Note that the server has answered."""
        self._outage = None

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        try:
            while True:
                if await self._answers():
                    return
                await asyncio.sleep(_PAUSE)
        finally:
            self._outage = self._task = None

    async def _answers(self) -> bool:
        try:
            await self._look()
        except BackendUnavailable as error:
            self._outage = str(error)
            return False
        except SfmError:
            return True  # it answers; what it refuses is told to whoever asks for it
        return True
