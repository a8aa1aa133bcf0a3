"""A bounded number of connections, each used by one caller at a time.

Not the driver's own pools: theirs give connections back in steps that a cancelled caller may leave half done, and wake waiters
in a way that loses the wake-up of one that is cancelled meanwhile; after enough of that nobody gets a connection any more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from redis import exceptions as driver

__all__ = ["Lines"]


class Lines:
    """Lends connections; who finds none free waits for its turn.

    Args:
        make: makes a connection, not yet connected.
        most: how many there may be.
    """

    def __init__(self, make: Callable[[], Any], most: int) -> None:
        self._make = make
        self._most = most
        self._made = 0
        self._idle: list[Any] = []
        self._turns: deque[asyncio.Future[Any]] = deque()
        self._closed = False

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[Any]:
        """Lend a connection that stands; one whose use is broken off is closed, since an answer may still be on its way."""
        line = await self._taken()
        try:
            if not await _stands(line):
                await line.disconnect(nowait=True)
                await line.connect()
            yield line
        except BaseException:
            await line.disconnect(nowait=True)
            raise
        finally:
            if self._closed:
                await line.disconnect(nowait=True)
            self._give(line)

    async def drop(self) -> None:
        """Close the connections that nobody uses; they are made anew when they are needed."""
        for line in self._idle:
            await line.disconnect(nowait=True)

    async def close(self) -> None:
        """Close all; those in use when they are given back."""
        self._closed = True
        for line in self._idle:
            await line.disconnect()

    async def _taken(self) -> Any:
        if self._idle:
            return self._idle.pop()
        if self._made < self._most:
            self._made += 1
            return self._make()
        turn: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give(turn.result())
            raise

    def _give(self, line: Any) -> None:
        """Hand a connection to the first who waits. Nothing here can be interrupted."""
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(line)
                return
        self._idle.append(line)


async def _stands(line: Any) -> bool:
    """Tell whether a connection is open and silent, as it must be before a request; no I/O."""
    try:
        return line.is_connected and not await line.can_read()
    except (driver.RedisError, OSError):
        return False
