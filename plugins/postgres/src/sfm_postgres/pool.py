"""A pool of connections that fails at once when the server refuses, and leaves nobody waiting for one that is silent.

`psycopg_pool` opens connections in background tasks and lets callers wait until its timeout while the server is down; here
the caller who needs a connection opens it and learns at once why it cannot.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.abc import PQGen
from psycopg.waiting import wait_async

from sfm_core.errors import BackendUnavailable, ConfigError
from sfm_postgres.adapt import adapt
from sfm_postgres.errors import meaning, refused_connection
from sfm_postgres.packing import can_send

__all__ = ["Connection", "Pool"]

_CANCEL_SECONDS = 2.0
_LIFETIME = 3600.0
_IDLE = 600.0


class Connection(AsyncConnection[tuple[Any, ...]]):
    """A connection that is void once a wait on it was given up: a deadline or a cancellation never waits for the server.

    Attributes:
        opened: when, by the monotonic clock.
        used: when it was given back last; 0 for one that was never used.
        patience: seconds after which a wait is given up.
        committing: whether a commit was sent whose end is not known: what was written may stand.
        void: whether nothing can be said on it any more.
    """

    opened: float
    used: float = 0.0
    patience: float = 60.0
    committing: bool = False
    void: bool = False

    async def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server, as the base does, but give up at once when cancelled, and after `patience`.

        Raises:
            TimeoutError: the server was silent for too long.
        """
        if self.void:
            raise psycopg.OperationalError("the connection was given up")
        try:
            async with asyncio.timeout(timeout or self.patience):
                return await wait_async(gen, self.pgconn.socket, interval=interval)
        except (asyncio.CancelledError, KeyboardInterrupt, TimeoutError):
            self.void = True
            raise


class Pool:
    """At most `size` connections, opened when they are needed, the one used last first."""

    def __init__(
        self,
        parameters: Mapping[str, Any],
        *,
        size: int,
        timeout: float,
        connect_timeout: float,
        patience: float,
        prepare: bool,
        where: str,
    ) -> None:
        self._parameters = parameters
        self._size = size
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._patience = patience
        self._prepare = prepare
        self._where = where
        self._idle: deque[Connection] = deque()
        self._free = asyncio.Semaphore(size)
        self._closing: set[asyncio.Task[None]] = set()
        self._is_open = True
        self._is_proven = False

    async def take(self, *, fresh: bool = False) -> Connection:
        """Lend a connection; `give_back` must follow.

        Args:
            fresh: open a new one, and close all that are idle: the server was restarted.

        Raises:
            BackendUnavailable: all are in use and none became free in time, it cannot be opened, or the pool is closed.
            ConfigError: none could ever be opened, because the server refuses them as they are set.
        """
        await self._take_place()
        try:
            return await self._take(fresh=fresh)
        except BaseException:
            self._free.release()
            raise

    def give_back(self, connection: Connection) -> None:
        """Take a connection back; one that is void, broken or inside a transaction is closed."""
        self._free.release()
        if not self._is_open or connection.void or not _is_ready(connection):
            self._discard(connection)
            return
        connection.used = time.monotonic()
        self._idle.append(connection)

    async def close(self) -> None:
        """Close all connections that nobody uses; those in use are closed when they come back."""
        self._is_open = False
        self._drop_idle()
        if self._closing:
            await asyncio.wait(self._closing, timeout=2 * _CANCEL_SECONDS)

    async def _take_place(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout(self._timeout):
                await self._free.acquire()
        except TimeoutError:
            raise BackendUnavailable(f"{self._where}: all {self._size} connections are in use") from None

    async def _take(self, *, fresh: bool) -> Connection:
        if not self._is_open:
            raise BackendUnavailable(f"{self._where}: the connections are closed")
        if fresh:
            self._drop_idle()
        now = time.monotonic()
        while self._idle:
            connection = self._idle.pop()
            if now - connection.opened < _LIFETIME and now - connection.used < _IDLE and not connection.closed:
                return connection
            self._discard(connection)
        return await self._open()

    async def _open(self) -> Connection:
        try:
            async with asyncio.timeout(self._connect_timeout):
                connection = await Connection.connect(
                    **self._parameters, autocommit=True, prepare_threshold=5 if self._prepare else None
                )
        except psycopg.Error as error:
            refused = refused_connection(error, self._where)
            if self._is_proven and isinstance(refused, ConfigError):
                refused = BackendUnavailable(str(refused))
            raise refused from None
        except (OSError, TimeoutError) as error:
            raise meaning(error, self._where) from None
        adapt(connection)
        can_send(connection)
        connection.patience = self._patience
        connection.opened = time.monotonic()
        self._is_proven = True
        return connection

    def _drop_idle(self) -> None:
        while self._idle:
            self._discard(self._idle.pop())

    def _discard(self, connection: Connection) -> None:
        task = asyncio.get_running_loop().create_task(_end(connection))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _is_ready(connection: Connection) -> bool:
    return connection.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE


async def _end(connection: Connection) -> None:
    """Stop what the server still does for a connection, bounded, and close it."""
    if not connection.closed and connection.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
        with contextlib.suppress(psycopg.Error, OSError):  # the server is gone or silent: closing is all that is left
            await connection.cancel_safe(timeout=_CANCEL_SECONDS)
    connection.pgconn.finish()
