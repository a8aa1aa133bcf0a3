"""Leases, and cursors that are fenced by them: small transactions on a connection of their own, judged by SQLite's clock."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sfm_core.errors import LeaseLost
from sfm_core.ports.storage import Lease
from sfm_sqlite.connect import connect, meaning
from sfm_sqlite.ledger import WHERE
from sfm_sqlite.notes import CURSOR

__all__ = ["Leases"]

T = TypeVar("T")

_NOW = "((julianday('now') - 2440587.5) * 86400.0)"
_HELD = f"SELECT holder, token, until > {_NOW} FROM leases WHERE name = ?"  # noqa: S608 - constants only, as below
_KEEP = f"""INSERT INTO leases (name, holder, token, until) VALUES (?, ?, ?, {_NOW} + ?)
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, token = excluded.token, until = excluded.until"""  # noqa: S608
_RUNS = f"SELECT 1 FROM leases WHERE name = ? AND holder = ? AND token = ? AND until > {_NOW}"  # noqa: S608
_FREE = "UPDATE leases SET until = 0 WHERE name = ? AND holder = ? AND token = ?"
_CHECKPOINT_EVERY = 256


class Leases:
    """For any thread, one call at a time. The connection is opened with the first call."""

    def __init__(self, path: Path, *, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._calls = 0

    def acquire(self, name: str, holder: str, seconds: float) -> Lease | None:
        """Carry out `Leases.acquire_lease`."""

        def take(connection: sqlite3.Connection) -> Lease | None:
            held = connection.execute(_HELD, (name,)).fetchone()
            last, token, runs = held if held is not None else ("", 0, False)
            if runs and last != holder:
                return None
            token += not runs
            connection.execute(_KEEP, (name, holder, token, seconds))
            return Lease(name, holder, token)

        return self._transaction(take)

    def release(self, lease: Lease) -> None:
        """Carry out `Leases.release_lease`."""
        self._transaction(lambda connection: connection.execute(_FREE, (lease.name, lease.holder, lease.token)))

    def save_cursor(self, name: str, sequence: int, fence: Lease) -> None:
        """Carry out a fenced `Storage.save_cursor`."""

        def save(connection: sqlite3.Connection) -> None:
            if connection.execute(_RUNS, (fence.name, fence.holder, fence.token)).fetchone() is None:
                raise LeaseLost(f"{WHERE}: lease {fence.name} with token {fence.token} is not the current one")
            connection.execute(CURSOR, {"name": name, "sequence": sequence, "reset": sequence == 0})

        self._transaction(save)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
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

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path, timeout=self._timeout, synchronous="FULL", cache_kib=64)
        return self._connection

    def _tidy(self, connection: sqlite3.Connection) -> None:
        # Renewals alone would let the write-ahead log grow: the storage's writer empties it only after its own writes.
        self._calls += 1
        if self._calls % _CHECKPOINT_EVERY == 0:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
