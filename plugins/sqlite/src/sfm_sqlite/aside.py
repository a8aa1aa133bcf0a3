"""Small transactions beside the writer's, on a connection of their own: leases, API keys."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sfm_sqlite.connect import connect, meaning
from sfm_sqlite.ledger import WHERE

__all__ = ["Aside"]

T = TypeVar("T")

_CHECKPOINT_EVERY = 256


class Aside:
    """For any thread, one transaction at a time. The connection is opened with the first one."""

    def __init__(self, path: Path, *, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._calls = 0

    def transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Carry out `work` in one transaction; durable when it returns, taken back when it raises.

        Raises:
            BackendUnavailable, CorruptData, BackendError: what SQLite's errors mean.
        """
        with self._lock:
            try:
                connection = self._opened()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    result = work(connection)
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
                self._tidy(connection)
            except sqlite3.Error as error:
                raise meaning(error, WHERE) from error
        return result

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path, timeout=self._timeout, synchronous="FULL", cache_kib=64)
        return self._connection

    def _tidy(self, connection: sqlite3.Connection) -> None:
        # Renewals alone would let the write-ahead log grow: the storage's writer empties it only after its own writes.
        self._calls += 1
        if self._calls % _CHECKPOINT_EVERY == 0:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
