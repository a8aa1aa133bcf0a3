"""Reads and small writes beside the records: operations, cursors, leases, kept answers."""

from __future__ import annotations

from sfm_core.errors import LeaseLost
from sfm_core.ports.storage import Lease
from sfm_core.ports.writes import Idempotency, Operation, Replayed
from sfm_postgres.adapt import escape, plain_id, unescape
from sfm_postgres.answers import replay
from sfm_postgres.database import Database
from sfm_postgres.view import WHERE

__all__ = ["acquire_lease", "answered", "cursor", "members", "operation", "release_lease", "save_cursor"]

_OPERATION = """SELECT o.kind, o.namespace, o.principal, o.created_at, o.undo_until, o.undone_at,
        (SELECT coalesce(max(sequence), 0) FROM {s}.changes WHERE operation = o.id),
        (SELECT count(DISTINCT memory_id) FROM {s}.changes WHERE operation = o.id)
    FROM {s}.operations o WHERE o.id = %s"""
_MEMBERS = """SELECT memory_id, max(version) FROM {s}.changes WHERE operation = %s AND memory_id > %s::uuid
    GROUP BY memory_id ORDER BY memory_id LIMIT %s"""
_BEFORE_ALL = "00000000-0000-0000-0000-000000000000"
_ANSWER = "SELECT request, answer, base, expires_at FROM {s}.answers WHERE scope = %s AND key = %s"
_CURSOR = "SELECT coalesce(max(sequence), 0) FROM {s}.cursors WHERE name = %s"
_SAVE = """INSERT INTO {s}.cursors AS c (name, sequence) SELECT %s, %s::bigint <fence>
    ON CONFLICT (name) DO UPDATE
    SET sequence = CASE WHEN excluded.sequence = 0 THEN 0 ELSE greatest(c.sequence, excluded.sequence) END
    RETURNING 1"""
_FENCE = """FROM (SELECT 1 FROM {s}.leases WHERE name = %s AND holder = %s AND token = %s
    AND expires_at > clock_timestamp() FOR SHARE) lease"""
_UNFENCED = _SAVE.replace("<fence>", "")
_FENCED = _SAVE.replace("<fence>", _FENCE)
_ACQUIRE = """INSERT INTO {s}.leases AS l (name, holder, token, expires_at)
    VALUES (%s, %s, 1, clock_timestamp() + make_interval(secs => %s)) ON CONFLICT (name) DO UPDATE
    SET token = l.token + (l.expires_at <= clock_timestamp())::integer, holder = excluded.holder,
        expires_at = clock_timestamp() + make_interval(secs => %s)
    WHERE l.holder = excluded.holder OR l.expires_at <= clock_timestamp() RETURNING token"""
_RELEASE = "UPDATE {s}.leases SET expires_at = '-infinity' WHERE name = %s AND holder = %s AND token = %s"


async def operation(database: Database, id: str) -> Operation | None:
    """Read an operation, with the figures of its writes so far."""
    rows = await database.rows(_OPERATION, [escape(id)])
    if not rows:
        return None
    kind, namespace, principal, created_at, undo_until, undone_at, sequence, count = rows[0]
    return Operation(
        id=id,
        kind=kind,
        namespace=namespace,
        principal=unescape(principal),
        created_at=created_at,
        undo_until=undo_until,
        undone_at=undone_at,
        sequence=sequence,
        count=count,
    )


async def members(database: Database, id: str, *, limit: int, after: str | None) -> list[tuple[str, int]]:
    """Read the memories an operation touched, by id."""
    place = (plain_id(after) if after is not None else None) or _BEFORE_ALL
    return [(member, version) for member, version in await database.rows(_MEMBERS, [escape(id), place, limit])]


async def answered(database: Database, asked: Idempotency) -> Replayed | None:
    """Read what is kept with an idempotency key."""
    rows = await database.rows(_ANSWER, [escape(asked.scope), escape(asked.key)])
    return replay((rows[0][0], rows[0][1], rows[0][2], rows[0][3]) if rows else None, asked)


async def cursor(database: Database, name: str) -> int:
    """Read how far a consumer has come."""
    [(sequence,)] = await database.rows(_CURSOR, [escape(name)])
    return int(sequence)


async def save_cursor(database: Database, name: str, sequence: int, fence: Lease | None) -> None:
    """Note how far a consumer has come.

    Raises:
        LeaseLost: the fence is not the current lease, or it has run out.
    """
    if fence is None:
        await database.rows(_UNFENCED, [escape(name), sequence])
        return
    values = [escape(name), sequence, escape(fence.name), escape(fence.holder), fence.token]
    if not await database.rows(_FENCED, values):
        raise LeaseLost(f"{WHERE}: lease {fence.name} with token {fence.token} is not the current one")


async def acquire_lease(database: Database, name: str, holder: str, seconds: float) -> Lease | None:
    """Take or renew a lease."""
    rows = await database.rows(_ACQUIRE, [escape(name), escape(holder), float(seconds), float(seconds)])
    return Lease(name, holder, rows[0][0]) if rows else None


async def release_lease(database: Database, lease: Lease) -> None:
    """Free a lease when it is the current one."""
    await database.rows(_RELEASE, [escape(lease.name), escape(lease.holder), lease.token])
