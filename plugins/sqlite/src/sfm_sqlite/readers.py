"""Connections that only read: one for short reads on the event loop's thread, others in threads for long ones."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from sfm_core.errors import BackendUnavailable
from sfm_sqlite.connect import connect, meaning
from sfm_sqlite.filters import register_functions
from sfm_sqlite.ledger import WHERE
from sfm_sqlite.rows import Names

__all__ = ["Reader", "Readers"]

T = TypeVar("T")
_THREADS = 2
_CACHE_KIB = 1024


class Reader(Struct, frozen=True, eq=False):
    """A connection and the names of namespaces it has read."""

    connection: sqlite3.Connection
    names: Names


class Readers:
    """Runs reads; SQLite's errors come out typed."""

    def __init__(self, path: Path, *, timeout: float) -> None:
        self._path, self._timeout = path, timeout
        self._own = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sfm-sqlite-reader")
        self._short = self._reader()
        self._closed = False

    def now(self, read: Callable[[Reader], T]) -> T:
        """Run a short read here; only the event loop's thread may call this."""
        if self._closed:
            raise BackendUnavailable(f"{WHERE}: the storage is closed")
        try:
            return read(self._short)
        except sqlite3.Error as error:
            raise meaning(error, WHERE) from error

    async def later(self, read: Callable[[Reader], T]) -> T:
        """Run a long read in a thread."""
        if self._closed:
            raise BackendUnavailable(f"{WHERE}: the storage is closed")
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(self._in_thread, read))

    def close(self) -> None:
        """Wait for running reads and close all connections."""
        self._closed = True
        self._threads.shutdown(wait=True, cancel_futures=True)
        for connection in self._open:
            connection.close()

    def _in_thread(self, read: Callable[[Reader], T]) -> T:
        try:
            reader = getattr(self._own, "reader", None)
            if reader is None:
                reader = self._own.reader = self._reader()
            return read(reader)
        except sqlite3.Error as error:
            raise meaning(error, WHERE) from error

    def _reader(self) -> Reader:
        connection = connect(
            self._path, timeout=self._timeout, synchronous="NORMAL", cache_kib=_CACHE_KIB, read_only=True
        )
        register_functions(connection)
        self._open.append(connection)
        return Reader(connection, Names(connection))
