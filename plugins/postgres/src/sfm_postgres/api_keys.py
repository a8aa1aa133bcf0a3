"""API keys: who may come in."""

from __future__ import annotations

from datetime import datetime

from sfm_core.errors import Conflict
from sfm_core.ports.storage import ApiKey
from sfm_postgres.adapt import escape, unescape
from sfm_postgres.database import Database, Row
from sfm_postgres.pool import Connection
from sfm_postgres.view import WHERE

__all__ = ["add", "one", "page", "revoke"]

_COLUMNS = "id, name, digest, namespaces, verbs, created_at, expires_at, revoked_at"
_ADD = f"""INSERT INTO {{s}}.api_keys ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (id) DO NOTHING RETURNING 1"""  # noqa: S608
_ONE = f"SELECT {_COLUMNS} FROM {{s}}.api_keys WHERE id = %s"  # noqa: S608 - constants only, as all here
_PAGE = f"SELECT {_COLUMNS} FROM {{s}}.api_keys WHERE id > %s ORDER BY id LIMIT %s"  # noqa: S608
_REVOKE = f"""UPDATE {{s}}.api_keys SET revoked_at = coalesce(revoked_at, %s) WHERE id = %s
    RETURNING {_COLUMNS}"""  # noqa: S608


async def add(database: Database, key: ApiKey) -> None:
    """Carry out `ApiKeys.add_api_key`."""
    lists = [escape(pattern) for pattern in key.namespaces], list(key.verbs)
    times = key.created_at, key.expires_at, key.revoked_at
    values = [escape(key.id), escape(key.name), key.digest, *lists, *times]

    async def insert(connection: Connection) -> bool:
        added = await connection.execute(database.text(_ADD), values, binary=True)
        return await added.fetchone() is not None

    # In a transaction, which is never run again after its commit was sent: the key would collide with itself.
    if not await database.transaction(insert):
        raise Conflict(f"{WHERE}: the id {key.id} of an API key is taken")


async def one(database: Database, id: str) -> ApiKey | None:
    """Carry out `ApiKeys.api_key`."""
    rows = await database.rows(_ONE, [escape(id)])
    return _key(rows[0]) if rows else None


async def page(database: Database, *, after: str | None, limit: int) -> list[ApiKey]:
    """Carry out `ApiKeys.api_keys`."""
    return [_key(row) for row in await database.rows(_PAGE, [escape(after or ""), limit])]


async def revoke(database: Database, id: str, at: datetime) -> ApiKey | None:
    """Carry out `ApiKeys.revoke_api_key`."""
    rows = await database.rows(_REVOKE, [at, escape(id)])
    return _key(rows[0]) if rows else None


def _key(row: Row) -> ApiKey:
    id, name, digest, namespaces, verbs, created_at, expires_at, revoked_at = row
    return ApiKey(
        id=unescape(id),
        name=unescape(name),
        digest=bytes(digest),
        namespaces=tuple(map(unescape, namespaces)),
        verbs=tuple(verbs),
        created_at=created_at,
        expires_at=expires_at,
        revoked_at=revoked_at,
    )
