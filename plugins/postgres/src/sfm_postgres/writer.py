"""Carrying out `Storage.apply`: calls that wait together share a transaction, each of them whole or not at all."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import Coroutine, Sequence
from itertools import count
from typing import Any

from msgspec import Struct
from psycopg.errors import UniqueViolation

from sfm_core.errors import BackendUnavailable, SfmError
from sfm_core.ports.answers import answer_of
from sfm_core.ports.storage import Result
from sfm_core.ports.writes import Applied, Idempotency, ImportMemory, Put, Replace, Replayed, Write
from sfm_postgres.answers import replay, settled
from sfm_postgres.database import Database
from sfm_postgres.decide import decide
from sfm_postgres.errors import Blocked
from sfm_postgres.flush import Flusher
from sfm_postgres.load import Loader
from sfm_postgres.lone import put_alone
from sfm_postgres.needs import needs_of
from sfm_postgres.pool import Connection
from sfm_postgres.view import WHERE, View
from sfm_postgres.vocabulary import Known, Word

__all__ = ["Writer"]

_LANES = 2
"""Transactions at a time: commits come one after the other anyway, so one prepares while another commits."""

_MOST_WRITES = 200
"""Writes that share a transaction; a call with more has one of its own, so that no small one waits for a large one."""

_Outcome = list[Result] | Replayed | Exception


class _Unit(Struct, frozen=True, eq=False):
    """One call of `apply`."""

    writes: Sequence[Write]
    atomic: bool
    idempotency: Idempotency | None
    future: Future[Any]


class Writer:
    """Writes for one storage on one event loop."""

    def __init__(self, database: Database, known: Known) -> None:
        self._database = database
        self._known = known
        self._loader = Loader(database, known)
        self._flusher = Flusher(database)
        self._queue: deque[_Unit] = deque()
        self._lanes = 0
        self._large = asyncio.Semaphore(_LANES)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def apply(
        self, writes: Sequence[Write], *, atomic: bool, idempotency: Idempotency | None
    ) -> list[Result] | Replayed:
        """Carry out one call. Cancelled, it is still carried out whole or not at all."""
        if self._is_closed:
            raise BackendUnavailable(f"{WHERE}: the storage is closed")
        loop = asyncio.get_running_loop()
        unit = _Unit(writes, atomic, idempotency, loop.create_future())
        if len(writes) > _MOST_WRITES:
            self._start(self._alone(unit))
        else:
            self._queue.append(unit)
            if self._lanes < _LANES:
                self._lanes += 1
                self._start(self._work())
        result: list[Result] | Replayed = await unit.future
        return result

    async def close(self) -> None:
        """Carry out what waits, and take nothing more."""
        self._is_closed = True
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _alone(self, unit: _Unit) -> None:
        async with self._large:
            await self._settle([unit])

    async def _work(self) -> None:
        try:
            await self._work_off()
        finally:
            self._lanes -= 1

    async def _work_off(self) -> None:
        while self._queue:
            group = [self._queue.popleft()]
            writes = len(group[0].writes)
            while (
                self._queue and writes + len(self._queue[0].writes) <= _MOST_WRITES and _is_apart(self._queue[0], group)
            ):
                unit = self._queue.popleft()
                group.append(unit)
                writes += len(unit.writes)
            await self._settle(group)

    async def _settle(self, group: Sequence[_Unit]) -> None:
        try:
            tries = count()
            outcomes = await self._database.attempt(
                lambda c: self._run(c, group, again=next(tries) > 0), collisions=(UniqueViolation,)
            )
        except Blocked as error:
            if len(group) > 1:  # one stood in another's way: the rest need not wait with it
                await asyncio.gather(*(self._settle([unit]) for unit in group))
                return
            outcomes = [error]
        except BackendUnavailable as error:
            outcomes = [error] * len(group)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to a caller; the others must not suffer
            if len(group) > 1:
                for unit in group:
                    await self._settle([unit])
                return
            outcomes = [error]
        for unit, outcome in zip(group, outcomes, strict=True):
            if unit.future.done():
                continue
            if isinstance(outcome, Exception):
                unit.future.set_exception(outcome)
            else:
                unit.future.set_result(outcome)

    async def _run(self, connection: Connection, group: Sequence[_Unit], *, again: bool) -> list[_Outcome]:
        write = _only_put(group)
        if write is not None and not again:
            applied = await self._put_alone(connection, write)
            if applied is not None:
                return [[applied]]
        writes = [write for unit in group for write in unit.writes]
        claims = [unit.idempotency for unit in group if unit.idempotency is not None]
        view = await self._loader.load(connection, needs_of(writes, claims))
        outcomes = [_decide(view, unit) for unit in group]
        words = self._new_words(view, group, outcomes, all=again)
        answers = [
            (unit.idempotency, answer_of(unit.idempotency, outcome))
            for unit, outcome in zip(group, outcomes, strict=True)
            if unit.idempotency is not None and isinstance(outcome, list)
        ]
        if not (view.changes or view.operations or answers):
            await self._database.commit(connection)
            return outcomes
        base = await self._flusher.flush(connection, view, words, answers, again=again)
        for namespace, new in words.items():
            self._known.stored(namespace, new, view.removals[namespace])
        return [settled(outcome, base) if isinstance(outcome, list) else outcome for outcome in outcomes]

    async def _put_alone(self, connection: Connection, write: Put) -> Applied | None:
        stripes, log = self._loader.stripes, self._flusher.lock
        return await put_alone(self._database, connection, self._known, write, stripes=stripes, log=log)

    def _new_words(
        self, view: View, group: Sequence[_Unit], outcomes: Sequence[_Outcome], *, all: bool
    ) -> dict[str, set[Word]]:
        """Return by namespace the words of what is stored, `all` or those that are not known to be stored."""
        found: dict[str, set[Word]] = {}
        for unit, outcome in zip(group, outcomes, strict=True):
            if not isinstance(outcome, list):
                continue
            for write, result in zip(unit.writes, outcome, strict=True):
                if not isinstance(write, Put | Replace | ImportMemory) or not isinstance(result, Applied):
                    continue
                if result.outcome != "duplicate" and view.find(result.memory.id) is not None:
                    namespace = result.memory.namespace
                    words = write.analysis.words
                    found.setdefault(namespace, set()).update(words if all else self._known.unknown(namespace, words))
        return {namespace: words for namespace, words in found.items() if words}


def _only_put(group: Sequence[_Unit]) -> Put | None:
    """Return the one new memory that a group consists of, None when there is more to do."""
    if len(group) != 1 or len(group[0].writes) != 1 or group[0].idempotency is not None:
        return None
    write = group[0].writes[0]
    return write if isinstance(write, Put) else None


def _is_apart(unit: _Unit, group: Sequence[_Unit]) -> bool:
    """Tell whether no other unit of `group` claims the same idempotency key: its answer would not be known yet."""
    mine = unit.idempotency
    return mine is None or all(
        (mine.scope, mine.key) != (other.idempotency.scope, other.idempotency.key)
        for other in group
        if other.idempotency is not None
    )


def _decide(view: View, unit: _Unit) -> _Outcome:
    """Carry out `unit` on `view`: whole or, when it is refused, not at all."""
    mark = view.mark()
    try:
        if unit.idempotency is not None:
            asked = (unit.idempotency.scope, unit.idempotency.key)
            replayed = replay(view.answers.get(asked), unit.idempotency)
            if replayed is not None:
                return replayed
        results = [_one(view, write, unit.atomic) for write in unit.writes]
    except SfmError as error:
        view.take_back(mark)
        return error
    return results


def _one(view: View, write: Write, atomic: bool) -> Result:
    mark = view.mark()
    try:
        return decide(view, write)
    except SfmError as error:
        if atomic:
            raise
        view.take_back(mark)
        return error
