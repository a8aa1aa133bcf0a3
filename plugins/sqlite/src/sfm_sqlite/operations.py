"""Operations and idempotency keys: writes and reads."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from sfm_core.errors import IdempotencyMismatch
from sfm_core.ports.answers import answer_of
from sfm_core.ports.storage import Result
from sfm_core.ports.writes import Idempotency, Operation, Replayed, StartOperation
from sfm_sqlite.codec import blob_or_none, id_of, micros, micros_or_none, moment
from sfm_sqlite.ledger import WHERE, Ledger

__all__ = ["keep_answer", "kept_answer", "members", "operation", "replay", "start_operation"]

_START = """INSERT INTO operations (id, kind, namespace, principal, created_at, undo_until, undone_at)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, namespace = excluded.namespace, principal = excluded.principal,
        created_at = excluded.created_at, undo_until = excluded.undo_until, undone_at = excluded.undone_at"""
_READ = """SELECT id, kind, namespace, principal, created_at, undo_until, undone_at,
    (SELECT coalesce(max(sequence), 0) FROM members WHERE operation = operations.id),
    (SELECT count(*) FROM members WHERE operation = operations.id) FROM operations WHERE id = ?"""
_ANSWER = "SELECT request, answer FROM answers WHERE scope = ? AND key = ? AND expires_at > ?"
_KEEP = "INSERT OR REPLACE INTO answers (scope, key, request, answer, expires_at) VALUES (?, ?, ?, ?, ?)"


def start_operation(ledger: Ledger, write: StartOperation) -> Operation:
    """Carry out `StartOperation`."""
    given = write.operation
    times = (micros(given.created_at), micros_or_none(given.undo_until), micros_or_none(given.undone_at))
    ledger.connection.execute(_START, (given.id, given.kind, given.namespace, given.principal, *times))
    stored = operation(ledger.connection, given.id)
    assert stored is not None
    return stored


def operation(connection: sqlite3.Connection, id: str) -> Operation | None:
    """Read `Storage.operation`."""
    row = connection.execute(_READ, (id,)).fetchone()
    if row is None:
        return None
    return Operation(
        id=row[0],
        kind=row[1],
        namespace=row[2],
        principal=row[3],
        created_at=moment(row[4]),
        undo_until=moment(row[5]) if row[5] is not None else None,
        undone_at=moment(row[6]) if row[6] is not None else None,
        sequence=row[7],
        count=row[8],
    )


def members(connection: sqlite3.Connection, id: str, *, limit: int, after: str | None) -> list[tuple[str, int]]:
    """Read `Storage.operation_members`."""
    start = blob_or_none(after) if after is not None else b""
    sql = "SELECT id, version FROM members WHERE operation = ? AND id > ? ORDER BY id LIMIT ?"
    return [(id_of(blob), version) for blob, version in connection.execute(sql, (id, start or b"", limit))]


def replay(ledger: Ledger, asked: Idempotency) -> Replayed | None:
    """Return the kept answer of an idempotency key.

    Raises:
        IdempotencyMismatch: it was kept for another request.
    """
    return kept_answer(ledger.connection, asked)


def kept_answer(connection: sqlite3.Connection, asked: Idempotency) -> Replayed | None:
    """Read `Storage.answered`."""
    row = connection.execute(_ANSWER, (asked.scope, asked.key, micros(asked.now))).fetchone()
    if row is None:
        return None
    if row[0] != asked.request:
        raise IdempotencyMismatch(f"{WHERE}: the idempotency key was used for another request")
    return Replayed(row[1])


def keep_answer(ledger: Ledger, asked: Idempotency, results: Sequence[Result]) -> None:
    """Keep the thin answer with its key, and drop the ones whose time is over."""
    ledger.connection.execute("DELETE FROM answers WHERE expires_at <= ?", (micros(asked.now),))
    ledger.connection.execute(
        _KEEP, (asked.scope, asked.key, asked.request, answer_of(asked, results), micros(asked.expires_at))
    )
