"""API keys: reads, and writes in transactions of their own."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sfm_core.errors import Conflict
from sfm_core.ports.storage import ApiKey
from sfm_sqlite.aside import Aside
from sfm_sqlite.codec import decode_json, encode_json, micros, micros_or_none, moment
from sfm_sqlite.ledger import WHERE

__all__ = ["add", "one", "page", "revoke"]

_COLUMNS = "id, name, digest, namespaces, verbs, created_at, expires_at, revoked_at"
_ADD = f"INSERT INTO api_keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"  # noqa: S608
_ONE = f"SELECT {_COLUMNS} FROM api_keys WHERE id = ?"  # noqa: S608 - constants only, as all here
_FIRST = f"SELECT {_COLUMNS} FROM api_keys ORDER BY id LIMIT ?"  # noqa: S608
_NEXT = f"SELECT {_COLUMNS} FROM api_keys WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608
_REVOKE = "UPDATE api_keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"


def add(aside: Aside, key: ApiKey) -> None:
    """Carry out `ApiKeys.add_api_key`."""
    lists = encode_json(key.namespaces), encode_json(key.verbs)
    times = micros(key.created_at), micros_or_none(key.expires_at), micros_or_none(key.revoked_at)
    added = aside.transaction(
        lambda connection: connection.execute(_ADD, (key.id, key.name, key.digest, *lists, *times))
    )
    if not added.rowcount:
        raise Conflict(f"{WHERE}: the id {key.id} of an API key is taken")


def one(connection: sqlite3.Connection, id: str) -> ApiKey | None:
    """Carry out `ApiKeys.api_key`."""
    row = connection.execute(_ONE, (id,)).fetchone()
    return None if row is None else _key(row)


def page(connection: sqlite3.Connection, *, after: str | None, limit: int) -> list[ApiKey]:
    """Carry out `ApiKeys.api_keys`."""
    rows = connection.execute(_FIRST, (limit,)) if after is None else connection.execute(_NEXT, (after, limit))
    return [_key(row) for row in rows]


def revoke(aside: Aside, id: str, at: datetime) -> ApiKey | None:
    """Carry out `ApiKeys.revoke_api_key`."""

    def mark(connection: sqlite3.Connection) -> ApiKey | None:
        connection.execute(_REVOKE, (micros(at), id))
        return one(connection, id)

    return aside.transaction(mark)


def _key(row: Sequence[Any]) -> ApiKey:
    id, name, digest, namespaces, verbs, created_at, expires_at, revoked_at = row
    return ApiKey(
        id=id,
        name=name,
        digest=digest,
        namespaces=tuple(decode_json(namespaces)),
        verbs=tuple(decode_json(verbs)),
        created_at=moment(created_at),
        expires_at=None if expires_at is None else moment(expires_at),
        revoked_at=None if revoked_at is None else moment(revoked_at),
    )
