"""The one thread that writes: it takes whatever waits into one transaction, so that many callers share one fsync."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from asyncio import AbstractEventLoop, Future
from collections.abc import Iterable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from sfm_core.errors import BackendUnavailable
from sfm_core.ports.storage import Result
from sfm_core.ports.writes import Idempotency, Replayed, Write
from sfm_sqlite.connect import meaning
from sfm_sqlite.ledger import WHERE, Ledger
from sfm_sqlite.notes import Notes
from sfm_sqlite.units import Outcome, Unit, carry_out

__all__ = ["Writer"]

_MOST_WRITES = 2000
_SCRUB = "PRAGMA wal_checkpoint(TRUNCATE)"


class Writer:
    """Group commit on one connection, which this thread alone uses.

    The write-ahead log is moved into the main file by hand: when it is large, after an erasure (so that no log keeps what
    was erased) and on close. So a lone acknowledged write costs exactly one fsync.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, notes: Notes, *, checkpoint_bytes: int) -> None:
        self._connection = connection
        self._ledger = Ledger(connection)
        self._log = Path(f"{path}-wal")
        self._notes = notes
        self._checkpoint_bytes = checkpoint_bytes
        self._checkpoint_at = checkpoint_bytes
        self._written = 0
        self._scrub_due = False
        self._queue: SimpleQueue[Unit | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sfm-sqlite-writer", daemon=True)
        self._closed = False
        self._thread.start()

    def check(self) -> None:
        """Prove that the thread lives.

        Raises:
            BackendUnavailable: it does not.
        """
        if self._closed or not self._thread.is_alive():
            raise BackendUnavailable(f"{WHERE}: the writer has stopped")

    def unknown_words(self, namespace: str, words: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the words that are not known to be stored."""
        return self._ledger.lexicon.unknown(namespace, words)

    async def apply(
        self, writes: Sequence[Write], *, atomic: bool, idempotency: Idempotency | None
    ) -> list[Result] | Replayed:
        """Queue one unit and wait until it is durable. Cancelled, it is still carried out whole or not at all."""
        if self._closed:
            raise BackendUnavailable(f"{WHERE}: the storage is closed")
        loop = asyncio.get_running_loop()
        future: Future[list[Result] | Replayed] = loop.create_future()
        self._queue.put(Unit(writes, atomic, idempotency, loop, future))
        return await future

    def close(self) -> None:
        """Carry out what is queued, store the notes, empty the write-ahead log and close the connection."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        open = True
        while open:
            group: list[Unit] = []
            unit = self._queue.get()
            writes = 0
            while unit is not None:
                group.append(unit)
                writes += len(unit.writes)
                if writes >= _MOST_WRITES:
                    break
                try:
                    unit = self._queue.get_nowait()
                except Empty:
                    break
            open = unit is not None
            if group:
                self._commit(group)
        self._finish()

    def _finish(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # what is noted may get lost, and the log is read at the next opening
            self._begin()
            self._attempt([])
            self._connection.execute(_SCRUB)
        self._connection.close()

    def _commit(self, group: Sequence[Unit]) -> None:
        try:
            self._begin()
        except sqlite3.Error as error:
            _deliver(group, [meaning(error, WHERE)] * len(group))
            return
        try:
            outcomes = self._attempt(group)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to a caller; the thread must live on
            if len(group) == 1:
                _deliver(group, [meaning(error, WHERE) if isinstance(error, sqlite3.Error) else error])
            else:
                for unit in group:
                    self._commit([unit])
            return
        self._tidy(sum(len(unit.writes) for unit in group))
        _deliver(group, outcomes)

    def _begin(self) -> None:
        noted = self._notes.take()
        try:
            self._ledger.begin()
            self._notes.write(self._ledger, noted)
        except BaseException:
            self._roll_back()
            raise

    def _attempt(self, group: Sequence[Unit]) -> list[Outcome]:
        """Carry out `group` in the open transaction. A unit that is alone and refused takes the transaction back."""
        ledger, alone = self._ledger, len(group) == 1
        try:
            outcomes = [carry_out(ledger, unit, alone=alone) for unit in group]
            if alone and isinstance(outcomes[0], Exception):
                self._roll_back()
                return outcomes
            if ledger.erased:
                from sfm_sqlite.erasure import clean_vocabulary

                clean_vocabulary(ledger)
                self._scrub_due = True
            ledger.commit()
        except BaseException:
            self._roll_back()
            raise
        self._notes.stored()
        return outcomes

    def _roll_back(self) -> None:
        self._notes.give_back()
        with contextlib.suppress(sqlite3.Error):  # the next BEGIN tells what is wrong
            self._ledger.roll_back()

    def _tidy(self, writes: int) -> None:
        """Empty the write-ahead log after an erasure or when it has grown. Readers elsewhere may hold it: then later."""
        self._written += writes
        if not self._scrub_due and self._written < 64:
            return
        self._written = 0
        with contextlib.suppress(sqlite3.Error, OSError):  # the commit stands; the next one tries again
            size = self._log.stat().st_size
            if self._scrub_due:
                self._scrub_due = bool(self._connection.execute(_SCRUB).fetchone()[0])
            elif size >= self._checkpoint_at:
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
                self._shrink(size)

    def _shrink(self, size: int) -> None:
        (patience,) = self._connection.execute("PRAGMA busy_timeout").fetchone()
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            busy = self._connection.execute(_SCRUB).fetchone()[0]
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {patience}")
        self._checkpoint_at = size + self._checkpoint_bytes if busy else self._checkpoint_bytes


def _deliver(group: Iterable[Unit], outcomes: Iterable[Outcome]) -> None:
    loops: dict[AbstractEventLoop, list[tuple[Future[Any], Outcome]]] = {}
    for unit, outcome in zip(group, outcomes, strict=True):
        loops.setdefault(unit.loop, []).append((unit.future, outcome))
    for loop, settled in loops.items():
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: Iterable[tuple[Future[Any], Outcome]]) -> None:
    for future, outcome in settled:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
