"""The one thread that writes: it takes whatever waits into one transaction, so that many callers share one fsync."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from asyncio import AbstractEventLoop, Future
from collections.abc import Iterable, Sequence
from enum import Enum
from math import inf
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from sfm_core.errors import BackendUnavailable
from sfm_core.ports.storage import Result
from sfm_core.ports.writes import Erase, Idempotency, ImportMemory, Put, Replace, Replayed, Write
from sfm_sqlite.connect import meaning
from sfm_sqlite.ledger import WHERE, Ledger
from sfm_sqlite.notes import Notes
from sfm_sqlite.units import Outcome, Unit, carry_out

__all__ = ["Writer"]

_MOST_WRITES = 2000
_SCRUB = "PRAGMA wal_checkpoint(TRUNCATE)"
_OFTEN = 64
_FEW = 8
_SHORT = 65_536
_QUICK = 0.0005
_TURN = 0.001
_WEIGHT = 0.2
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.02


class _Order(Enum):
    WRITE = "write"
    TIDY = "tidy"
    STOP = "stop"


class Writer:
    """Group commit on one connection, which one thread at a time uses.

    The transactions run in a thread; while one is on its way, all calls that come in the meantime go into the next. Only
    where transactions proved shorter than a change of threads (memory disks, disks with a safe cache) do short ones run on
    the event loop's own: that of a lone task at once, those of several tasks together once the loop has turned. A task that
    writes without end lets the others run every millisecond.

    The write-ahead log is moved into the main file by hand: when it is large, after an erasure (so that no log keeps what
    was erased) and on close. So a lone acknowledged write costs exactly one fsync.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path, notes: Notes, *, checkpoint_bytes: int, patience: float
    ) -> None:
        self._connection = connection
        self._ledger = Ledger(connection)
        self._log = Path(f"{path}-wal")
        self._notes = notes
        self._checkpoint_bytes = checkpoint_bytes
        self._checkpoint_at = checkpoint_bytes
        self._patience = patience
        self._written = 0
        self._scrub_due = False
        self._seconds = inf
        self._turn: list[Unit] = []
        self._loop: AbstractEventLoop | None = None
        self._writing: asyncio.Task[Any] | None = None
        self._since = 0.0
        self._using = threading.Lock()
        self._queue: SimpleQueue[Unit | _Order] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sfm-sqlite-writer", daemon=True)
        self._closed = False
        connection.execute("PRAGMA busy_timeout = 0")
        self._thread.start()

    def check(self) -> None:
        """Prove that the thread lives.

        Raises:
            BackendUnavailable: it does not.
        """
        if self._closed or not self._thread.is_alive():
            raise BackendUnavailable(f"{WHERE}: the writer has stopped")

    async def apply(
        self, writes: Sequence[Write], *, atomic: bool, idempotency: Idempotency | None
    ) -> list[Result] | Replayed:
        """Queue one unit and wait until it is durable. Cancelled, it is still carried out whole or not at all."""
        if self._closed:
            raise BackendUnavailable(f"{WHERE}: the storage is closed")
        loop = asyncio.get_running_loop()
        future: Future[list[Result] | Replayed] = loop.create_future()
        unit = Unit(writes, atomic, idempotency, loop, future)
        if self._seconds > _QUICK or len(writes) > _FEW or self._loop not in (None, loop):
            self._queue.put(unit)
            return await future
        self._loop = loop
        self._turn.append(unit)
        if len(self._turn) == 1:
            try:
                if not self._is_alone(loop):
                    await asyncio.sleep(0)
            finally:
                self._end_turn()
        return await future

    def _is_alone(self, loop: AbstractEventLoop) -> bool:
        """Tell whether no other task has written in this turn of the event loop, and the turn is young."""
        task, now = asyncio.current_task(loop), time.perf_counter()
        if self._writing is None:
            self._writing, self._since = task, now
            loop.call_soon(self._begin_turn)
        return self._writing is task and now - self._since < _TURN

    def _begin_turn(self) -> None:
        self._writing = None

    def close(self) -> None:
        """Carry out what is queued, store the notes, empty the write-ahead log and close the connection."""
        self._closed = True
        self._end_turn(inline=False)
        self._queue.put(_Order.STOP)
        self._thread.join()

    def _end_turn(self, *, inline: bool = True) -> None:
        """Commit what this turn of the event loop brought, here and now if that is quick; else hand it to the thread."""
        units, self._turn = self._turn, []
        writes = [write for unit in units for write in unit.writes]
        # The log of an erasure that a reader holds is waited for after each write: not here.
        quick = inline and not self._scrub_due and self._queue.empty()
        quick = quick and len(writes) <= _FEW and all(map(_is_short, writes))
        if units and quick and self._using.acquire(blocking=False):
            try:
                quick = self._commit(units, inline=True)
            finally:
                self._using.release()
            if quick:
                if self._written >= _OFTEN:
                    self._queue.put(_Order.TIDY)
                return
        for unit in units:
            self._queue.put(unit)

    def _run(self) -> None:
        order = _Order.WRITE
        while order is not _Order.STOP:
            group, order = self._next()
            with self._using:
                if group:
                    self._commit(group)
                self._tidy()
        with self._using:
            self._finish()

    def _next(self) -> tuple[list[Unit], _Order]:
        """Wait for something to do; return what may go into one transaction, and what else is asked."""
        group: list[Unit] = []
        writes = 0
        item = self._queue.get()
        while isinstance(item, Unit):
            group.append(item)
            writes += len(item.writes)
            if writes >= _MOST_WRITES:
                return group, _Order.WRITE
            try:
                item = self._queue.get_nowait()
            except Empty:
                return group, _Order.WRITE
        return group, item

    def _finish(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # what is noted may get lost, and the log is read at the next opening
            self._begin(self._patience)
            self._attempt([])
            self._connection.execute(_SCRUB)
        self._connection.close()

    def _commit(self, group: Sequence[Unit], *, inline: bool = False) -> bool:
        """Carry out `group`; return False, with nothing done, when another process writes and the event loop would wait."""
        started = time.perf_counter()
        try:
            self._begin(0.0 if inline else self._patience)
        except sqlite3.Error as error:
            if inline and _is_busy(error):
                return False
            _deliver(group, [meaning(error, WHERE)] * len(group), inline=inline)
            return True
        try:
            outcomes = self._attempt(group)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to a caller; the thread must live on
            if len(group) > 1:
                for unit in group:
                    if not self._commit([unit], inline=inline):
                        self._queue.put(unit)
                return True
            outcomes = [meaning(error, WHERE) if isinstance(error, sqlite3.Error) else error]
        else:
            self._written += sum(len(unit.writes) for unit in group)
            if len(group) <= _FEW:
                self._note_duration(time.perf_counter() - started)
        if self._scrub_due:
            self._scrub()
        _deliver(group, outcomes, inline=inline)
        return True

    def _note_duration(self, seconds: float) -> None:
        known = self._seconds if self._seconds < inf else seconds
        self._seconds = known + _WEIGHT * (seconds - known)

    def _begin(self, patience: float) -> None:
        try:
            self._lock(patience)
            self._notes.write(self._connection)
        except BaseException:
            self._roll_back()
            raise

    def _lock(self, patience: float) -> None:
        """Take the write lock; SQLite's own waiting cannot be told to end at once."""
        until = time.monotonic() + patience
        pause = _FIRST_PAUSE
        while True:
            try:
                self._ledger.begin()
                return
            except sqlite3.Error as error:
                if not _is_busy(error) or time.monotonic() + pause > until:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _attempt(self, group: Sequence[Unit]) -> list[Outcome]:
        """Carry out `group` in the open transaction. A unit that is alone and refused takes the transaction back."""
        ledger, alone = self._ledger, len(group) == 1
        try:
            outcomes = [carry_out(ledger, unit, alone=alone) for unit in group]
            if alone and isinstance(outcomes[0], Exception):
                self._roll_back()
                return outcomes
            ledger.lexicon.store_words()
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

    def _scrub(self) -> None:
        """Empty the write-ahead log after an erasure. Readers elsewhere may hold it: then after the next write."""
        with contextlib.suppress(sqlite3.Error):  # the commit stands
            self._connection.execute(f"PRAGMA busy_timeout = {int(self._patience * 1000)}")
            self._scrub_due = bool(self._connection.execute(_SCRUB).fetchone()[0])
            self._connection.execute("PRAGMA busy_timeout = 0")

    def _tidy(self) -> None:
        """Empty the write-ahead log when it has grown. Readers elsewhere may hold it: then later."""
        if self._written < _OFTEN:
            return
        self._written = 0
        with contextlib.suppress(sqlite3.Error, OSError):  # a later write tries again
            size = self._log.stat().st_size
            if size >= self._checkpoint_at:
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
                busy = self._connection.execute(_SCRUB).fetchone()[0]
                self._checkpoint_at = size + self._checkpoint_bytes if busy else self._checkpoint_bytes


def _is_short(write: Write) -> bool:
    """Tell whether a write is soon done: an erasure searches the namespace, a long text is long to store."""
    if isinstance(write, Put | Replace):
        return len(write.memory.content or "") <= _SHORT
    return not isinstance(write, Erase | ImportMemory)


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _deliver(group: Sequence[Unit], outcomes: Iterable[Outcome], *, inline: bool) -> None:
    if inline:
        _settle(zip((unit.future for unit in group), outcomes, strict=True))
        return
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
