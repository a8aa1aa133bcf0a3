"""The last part of a transaction: everything that was decided is stored, then logged under the lock of the change log.

The lock is taken last and held until the commit, so that sequences rise in commit order and a reader never meets a gap that
is filled later, while a transaction that is slow before that point keeps nobody waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from psycopg import AsyncCursor

from sfm_core.ports.writes import Idempotency, Operation
from sfm_postgres.adapt import array as text_array
from sfm_postgres.adapt import escape, plain_id
from sfm_postgres.database import Database
from sfm_postgres.migrations import lock_key
from sfm_postgres.packing import (
    BIGINT,
    END,
    START,
    TEXT,
    TIME,
    UUID,
    Packed,
    array,
    bigint,
    packed,
    text,
    time,
    tuple_of,
    uuid,
)
from sfm_postgres.pool import Connection
from sfm_postgres.rows import ALL_COLUMNS, json_text, row_of
from sfm_postgres.view import Changed, Held, Past, View
from sfm_postgres.vocabulary import ADD, CLEAN, COUNT, UNHELD, Word, added

__all__ = ["Flusher"]

_MANY = 12
"""From so many rows on COPY is cheaper than one statement for each."""

_CHUNK = 64
"""Rows that are sent at once: the server stores them while the next ones are made."""

_NAMES = ", ".join(ALL_COLUMNS)
_MARKS = ", ".join(["%s"] * len(ALL_COLUMNS))
_INSERT = f"INSERT INTO {{s}}.memories ({_NAMES}) VALUES ({_MARKS})"  # noqa: S608 - constants only, as below
_COPY = f"COPY {{s}}.memories ({_NAMES}) FROM STDIN (FORMAT binary)"
_UPDATE = f"UPDATE {{s}}.memories SET ({_NAMES}) = ROW({_MARKS}) WHERE id = %s"  # noqa: S608
_TURN = """UPDATE {s}.memories AS m SET version = t.version, updated_at = t.updated_at, deleted = t.deleted,
        operation = t.operation, place = t.place
    FROM unnest(%s::uuid[], %s::bigint[], %s::timestamptz[], %s::boolean[], %s::text[], %s::uuid[])
        AS t (id, version, updated_at, deleted, operation, place)
    WHERE m.id = t.id"""
_VACATE = "UPDATE {s}.memories SET place = NULL WHERE id = ANY(%s::uuid[])"
_PAST_OTHERS = ", ".join(name for name in ALL_COLUMNS if name not in ("version", "updated_at", "deleted", "place"))
_KEEP = f"""INSERT INTO {{s}}.past ({_PAST_OTHERS}, version, updated_at, deleted, until)
    SELECT {", ".join("m." + name for name in _PAST_OTHERS.split(", "))}, t.version, t.updated_at, t.deleted, t.until
    FROM unnest(%s::uuid[], %s::bigint[], %s::timestamptz[], %s::boolean[], %s::timestamptz[])
        AS t (of, version, updated_at, deleted, until)
    JOIN {{s}}.memories m ON m.id = t.of"""  # noqa: S608
_INSERT_PAST = f"INSERT INTO {{s}}.past ({_NAMES}, until) VALUES ({_MARKS}, %s)"  # noqa: S608
_COPY_PAST = f"COPY {{s}}.past ({_NAMES}, until) FROM STDIN (FORMAT binary)"
_SHORTEN = "UPDATE {s}.past SET until = %s WHERE id = %s AND version < %s AND until > %s"
_ERASE = (
    "INSERT INTO {s}.erased (id) SELECT unnest(%s::uuid[])",
    "DELETE FROM {s}.memories WHERE id = ANY(%s::uuid[])",
    "DELETE FROM {s}.past WHERE id = ANY(%s::uuid[])",
    "DELETE FROM {s}.links WHERE source = ANY(%s::uuid[])",
    "DELETE FROM {s}.links WHERE target = ANY(%s::uuid[])",
)
_PUT_LINK = """INSERT INTO {s}.links (source, target, relation, weight, metadata, namespace, created_at, updated_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (source, target, relation) DO UPDATE
    SET weight = excluded.weight, metadata = excluded.metadata, namespace = excluded.namespace,
        created_at = excluded.created_at, updated_at = excluded.updated_at"""
_DROP_LINK = "DELETE FROM {s}.links WHERE source = %s AND target = %s AND relation = %s"
_START = """INSERT INTO {s}.operations (id, kind, namespace, principal, created_at, undo_until, undone_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO UPDATE SET kind = excluded.kind,
        namespace = excluded.namespace, principal = excluded.principal, created_at = excluded.created_at,
        undo_until = excluded.undo_until, undone_at = excluded.undone_at"""
_LOCK = "SELECT {s}.lock_log(%s, %s::text[], %s::bigint[])"
_BASE = "(SELECT coalesce(max(sequence), 0) FROM {s}.changes)"
_ANSWER = f"""INSERT INTO {{s}}.answers (scope, key, request, answer, base, expires_at)
    VALUES (%s, %s, %s, %s, {_BASE}, %s) ON CONFLICT (scope, key) DO UPDATE SET request = excluded.request,
        answer = excluded.answer, base = excluded.base, expires_at = excluded.expires_at"""  # noqa: S608
_SWEEP = """DELETE FROM {s}.answers WHERE (scope, key) IN (SELECT scope, key FROM {s}.answers WHERE expires_at <= %s
    ORDER BY expires_at LIMIT 3 FOR UPDATE SKIP LOCKED)"""
"""Each answer that is kept takes a few with it whose life is over."""
_LOG_ONE = f"""INSERT INTO {{s}}.changes (sequence, type, memory_id, version, namespace, time, target, operation)
    SELECT {_BASE} + 1, %s::text, %s::uuid, %s::bigint, %s::text, %s::timestamptz, %s::uuid, %s::text RETURNING sequence"""
_LOG = f"""WITH logged AS (
        INSERT INTO {{s}}.changes (sequence, type, memory_id, version, namespace, time, target, operation)
        SELECT {_BASE} + number, type, memory_id, version, namespace, time, target, operation
        FROM unnest(%s::text[], %s::uuid[], %s::bigint[], %s::text[], %s::timestamptz[], %s::uuid[], %s::text[])
            WITH ORDINALITY AS c (type, memory_id, version, namespace, time, target, operation, number)
        RETURNING sequence)
    SELECT min(sequence) FROM logged"""  # noqa: S608


class Flusher:
    """Stores what a `View` says."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.lock = lock_key("changes", database.schema)

    async def flush(
        self,
        connection: Connection,
        view: View,
        words: Mapping[str, Iterable[Word]],
        answers: Sequence[tuple[Idempotency, bytes]],
        *,
        again: bool,
    ) -> int:
        """Store and commit; return the last sequence before the first one of this transaction.

        Args:
            connection: with the open transaction.
            view: what was decided.
            words: words by namespace that are not known to be stored, or all when it is done `again`.
            answers: what is to be kept with idempotency keys.
            again: the transaction collided before, maybe with one that removed words which were known to be stored.
        """
        plan = _Plan(view)
        unheld = await self._unheld(connection, plan.erased) if plan.erased else []
        if plan.vacated:  # before anything else may take the places
            await self._run(connection.cursor(), _VACATE, [plan.vacated])
        if len(plan.new) > _MANY:
            await self._copy(connection, _COPY, map(_row, plan.new))
        if len(plan.past) > _MANY:
            await self._copy(connection, _COPY_PAST, map(_past_row, plan.past))
        async with connection.pipeline():
            cursor = connection.cursor()
            await self._store(cursor, view, plan)
            await self._store_links(cursor, view)
            for values in added(words):
                await self._run(cursor, ADD, values)
            if answers:
                await self._run(cursor, _SWEEP, [min(asked.now for asked, _ in answers)])
            relied = {} if again else view.removals
            await self._run(cursor, _LOCK, [self.lock, list(relied), list(relied.values())])
            if again:  # now nobody can remove them
                for values in added(words):
                    await self._run(cursor, ADD, values)
            for asked, answer in answers:
                kept = [escape(asked.scope), escape(asked.key), asked.request, answer, asked.expires_at]
                await self._run(cursor, _ANSWER, kept)
            if words:
                await self._run(cursor, COUNT, ())
            if unheld:
                await self._run(cursor, CLEAN, unheld)
            logged = await self._log(connection, view)
            await self._database.commit(connection)
        if logged is None:
            return 0
        row = await logged.fetchone()
        assert row is not None
        return int(row[0]) - 1

    async def _unheld(self, connection: Connection, erased: Sequence[str]) -> list[list[Any]]:
        """Return what `CLEAN` takes, nothing for no word: those that only the memories that are erased seem to hold."""
        cursor = await connection.execute(self._database.text(UNHELD), [erased] * 5, binary=True)
        return [list(column) for column in zip(*await cursor.fetchall(), strict=True)]

    async def _store(self, cursor: AsyncCursor[Any], view: View, plan: _Plan) -> None:
        if plan.kept:
            await self._run(cursor, _KEEP, _transposed(plan.kept))
        if len(plan.past) <= _MANY:
            for past in plan.past:
                await self._run(cursor, _INSERT_PAST, _values(_past_row(past)))
        for shorter in plan.shorter:
            await self._run(cursor, _SHORTEN, shorter)
        if plan.turned:
            await self._run(cursor, _TURN, _transposed(plan.turned))
        for held in plan.changed:
            values = _values(_row(held))
            await self._run(cursor, _UPDATE, [*values, values[0]])
        if len(plan.new) <= _MANY:
            for held in plan.new:
                await self._run(cursor, _INSERT, _values(_row(held)))
        if plan.erased:
            for sql in _ERASE:
                await self._run(cursor, sql, [plan.erased])
        for operation in view.operations.values():
            await self._run(cursor, _START, _operation_row(operation))

    async def _store_links(self, cursor: AsyncCursor[Any], view: View) -> None:
        for key in view.tied:
            tied = view.links.get(key)
            if tied is None:
                await self._run(cursor, _DROP_LINK, [key[0], key[1], escape(key[2])])
                continue
            link = tied[0]
            values = [link.source, link.target, escape(link.relation), link.weight, json_text(link.metadata)]
            await self._run(cursor, _PUT_LINK, [*values, link.namespace, link.created_at, link.updated_at])

    async def _log(self, connection: Connection, view: View) -> AsyncCursor[Any] | None:
        if not view.changes:
            return None
        cursor = connection.cursor(binary=True)
        rows = [_logged(changed) for changed in view.changes]
        if len(rows) == 1:
            await cursor.execute(self._database.text(_LOG_ONE), _values(rows[0]))
        else:
            columns = [array(type, column) for type, column in zip(_LOGGED, zip(*rows, strict=True), strict=True)]
            await cursor.execute(self._database.text(_LOG), _values(columns))
        return cursor

    async def _run(self, cursor: AsyncCursor[Any], sql: str, values: Sequence[Any]) -> None:
        await cursor.execute(self._database.text(sql), values)

    async def _copy(self, connection: Connection, sql: str, rows: Iterator[Sequence[bytes]]) -> None:
        async with connection.cursor() as cursor, cursor.copy(self._database.text(sql)) as copy:
            await copy.write(START)
            while chunk := b"".join(map(tuple_of, islice(rows, _CHUNK))):
                await copy.write(chunk)
            await copy.write(END)


class _Plan:
    """What a view means for each table."""

    def __init__(self, view: View) -> None:
        self.new: list[Held] = []
        self.changed: list[Held] = []
        self.turned: list[tuple[Any, ...]] = []
        self.kept: list[tuple[Any, ...]] = []
        self.past: list[Past] = []
        self.shorter: list[tuple[Any, ...]] = []
        self.vacated: list[str] = []
        for id in view.touched:
            held = view.records[id]
            if held is not None:
                self._store(held)
        for past in view.past:
            if view.records[past.memory.id] is not None:
                self._keep(past)
        self.erased = [id for id, erased in view.erased.items() if erased and id in view.touched and plain_id(id)]
        for id, place in view.stored_places.items():
            if view.records.get(id) is not None and view.places.get(place) not in (None, id):
                self.vacated.append(id)

    def _store(self, held: Held) -> None:
        memory = held.memory
        if held.content is not None:
            (self.new if held.row is None else self.changed).append(held)
        else:
            operation = escape(held.operation) if held.operation is not None else None
            turned = (memory.id, memory.version, memory.updated_at, held.deleted, operation, held.place)
            self.turned.append(turned)

    def _keep(self, past: Past) -> None:
        memory = past.memory
        if past.content is None:
            self.kept.append((memory.id, memory.version, memory.updated_at, past.deleted, past.until))
        else:
            self.past.append(past)
        if past.until < memory.updated_at:  # a clock went back: no older version may claim an instant that this one has
            self.shorter.append((past.until, memory.id, memory.version, past.until))


def _row(held: Held) -> tuple[bytes, ...]:
    assert held.content is not None
    return row_of(held.memory, held.content, deleted=held.deleted, operation=held.operation, place=held.place)


def _past_row(past: Past) -> tuple[bytes, ...]:
    assert past.content is not None
    return (*row_of(past.memory, past.content, deleted=past.deleted), time(past.until))


def _values(fields: Iterable[bytes]) -> list[Packed | None]:
    return list(map(packed, fields))


_LOGGED = (TEXT, UUID, BIGINT, TEXT, TIME, UUID, TEXT)


def _logged(changed: Changed) -> tuple[bytes, ...]:
    return (
        text(changed.type),
        uuid(changed.memory_id),
        bigint(changed.version),
        text(changed.namespace),
        time(changed.time),
        uuid(changed.target),
        text(changed.operation or None),
    )


def _transposed(rows: Sequence[Sequence[Any]]) -> list[str]:
    return [text_array(column) for column in zip(*rows, strict=True)]


def _operation_row(operation: Operation) -> list[Any]:
    return [
        escape(operation.id),
        operation.kind,
        operation.namespace,
        escape(operation.principal),
        operation.created_at,
        operation.undo_until,
        operation.undone_at,
    ]
