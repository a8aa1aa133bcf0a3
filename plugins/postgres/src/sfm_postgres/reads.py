"""Reads of memories by id, of their history, by coordinate, and of the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sfm_core.model.event import Change
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope
from sfm_core.ports.storage import NamespaceStats, Stored
from sfm_postgres.adapt import plain_id
from sfm_postgres.database import Database
from sfm_postgres.keys import place_key
from sfm_postgres.rows import SEQUENCE, STORED, columns, live, memory_of, within

__all__ = [
    "at_coordinate",
    "changes",
    "erased",
    "get_past",
    "get_present",
    "history",
    "in_box",
    "last_sequence",
    "locate",
    "namespaces",
    "scan_page",
    "stored_of",
]

_GET = f"SELECT {columns('m')} FROM {{s}}.memories m WHERE m.id = %s AND {live('m')}"  # noqa: S608 - constants, as below
_GET_MANY = f"SELECT {columns('m')} FROM {{s}}.memories m WHERE m.id = ANY(%s::uuid[]) AND {live('m')}"  # noqa: S608
_PAST = f"""SELECT {columns("m")} FROM unnest(%s::uuid[]) AS asked (id) CROSS JOIN LATERAL (
        SELECT * FROM (
            (SELECT {columns("c")}, c.deleted FROM {{s}}.memories c WHERE c.id = asked.id AND c.updated_at <= %s)
            UNION ALL
            (SELECT {columns("p")}, p.deleted FROM {{s}}.past p WHERE p.id = asked.id AND p.updated_at <= %s)) v
        ORDER BY version DESC LIMIT 1) m
    WHERE {live("m")}"""  # noqa: S608
_LOCATE = f"SELECT {STORED} FROM {{s}}.memories m WHERE m.id = ANY(%s::uuid[])"  # noqa: S608
_ERASED = "SELECT id FROM {s}.erased WHERE id = ANY(%s::uuid[])"
_HISTORY = f"""SELECT {columns("m")}, m.deleted, {SEQUENCE} FROM (
        SELECT {columns("c")}, c.deleted FROM {{s}}.memories c WHERE c.id = %s AND c.version < %s
        UNION ALL (SELECT {columns("p")}, p.deleted FROM {{s}}.past p WHERE p.id = %s AND p.version < %s
            ORDER BY p.version DESC LIMIT %s)) m
    ORDER BY m.version DESC LIMIT %s"""  # noqa: S608
_AT = f"SELECT {columns('m')} FROM {{s}}.memories m WHERE m.place = %s AND m.namespace = %s AND {live('m')}"  # noqa: S608
_BOX = f"""SELECT {columns("m")} FROM {{s}}.memories m WHERE m.namespace = %s AND m.coordinate IS NOT NULL AND {live("m")}
    AND m.coordinate >= %s::float8[] AND m.coordinate <= %s::float8[] AND array_length(m.coordinate, 1) = %s"""  # noqa: S608
_CHANGES = (
    "SELECT sequence, type, memory_id, version, namespace, time, target FROM {s}.changes WHERE sequence > %s AND "
)
_LAST = "SELECT coalesce(max(sequence), 0) FROM {s}.changes"
_STATS = f"""WITH kept AS (SELECT m.namespace, count(*) AS versions, count(*) FILTER (WHERE m.deleted) AS deleted,
            count(*) FILTER (WHERE {live("m")}) AS live FROM {{s}}.memories m WHERE <within m> GROUP BY m.namespace),
        older AS (SELECT m.namespace, count(*) AS versions FROM {{s}}.past m WHERE <within m> GROUP BY m.namespace),
        tied AS (SELECT l.namespace, count(*) AS links FROM {{s}}.links l JOIN {{s}}.memories a ON a.id = l.source
            JOIN {{s}}.memories b ON b.id = l.target WHERE {live("a")} AND {live("b")} AND <within l> GROUP BY l.namespace)
    SELECT k.namespace, k.live, k.deleted, k.versions + coalesce(o.versions, 0), coalesce(t.links, 0) FROM kept k
        LEFT JOIN older o ON o.namespace = k.namespace LEFT JOIN tied t ON t.namespace = k.namespace
    ORDER BY k.namespace"""  # noqa: S608
_SCAN = f"SELECT {STORED} FROM {{s}}.memories m WHERE <within> AND m.id > %s ORDER BY m.id LIMIT %s"  # noqa: S608
_ANY_VERSION = 2**63 - 1
_FIRST_ID = "00000000-0000-0000-0000-000000000000"


async def get_present(database: Database, ids: Sequence[str], now: datetime) -> list[Memory | None]:
    """Read live memories by id."""
    asked = _plain(ids)
    if len(asked) == 1:
        rows = await database.rows(_GET, [asked[0], now])
    else:
        rows = await database.rows(_GET_MANY, [asked, now]) if asked else []
    return _in_order(ids, rows)


async def get_past(database: Database, ids: Sequence[str], as_of: datetime) -> list[Memory | None]:
    """Read the versions that were stored at an instant."""
    asked = _plain(ids)
    return _in_order(ids, await database.rows(_PAST, [asked, as_of, as_of, as_of]) if asked else [])


async def locate(database: Database, ids: Sequence[str]) -> list[Stored | None]:
    """Read the newest versions, tombstones included."""
    asked = _plain(ids)
    rows = await database.rows(_LOCATE, [asked]) if asked else []
    found = {row[0]: stored_of(row) for row in rows}
    return [found.get(id) for id in ids]


async def erased(database: Database, ids: Sequence[str]) -> set[str]:
    """Read `Storage.erased`."""
    asked = _plain(ids)
    return {id for (id,) in await database.rows(_ERASED, [asked])} if asked else set()


async def history(database: Database, id: str, *, limit: int, before: int | None) -> list[Stored]:
    """Read the versions of a memory, newest first."""
    if not plain_id(id):
        return []
    below = _ANY_VERSION if before is None else before
    return [stored_of(row) for row in await database.rows(_HISTORY, [id, below, id, below, limit, limit])]


async def at_coordinate(
    database: Database, namespace: str, coordinate: tuple[float, ...], now: datetime
) -> Memory | None:
    """Read the live memory at a coordinate."""
    rows = await database.rows(_AT, [place_key(namespace, coordinate), namespace, now])
    return memory_of(rows[0]) if rows else None


async def in_box(
    database: Database, namespace: str, low: tuple[float, ...], high: tuple[float, ...], *, limit: int, now: datetime
) -> list[Memory]:
    """Read the live memories inside a box, by coordinate."""
    sides = "".join(f" AND m.coordinate[{axis}] BETWEEN %s AND %s" for axis in range(1, len(low) + 1))
    bounds = [bound for side in zip(low, high, strict=True) for bound in side]
    values = [namespace, now, list(low), list(high), len(low), *bounds, limit]
    rows = await database.rows(f"{_BOX}{sides} ORDER BY m.coordinate, m.id LIMIT %s", values)
    return [memory_of(row) for row in rows]


async def changes(database: Database, scope: Scope, *, after: int, limit: int) -> list[Change]:
    """Read the change log."""
    test, values = within(scope, "namespace")
    rows = await database.rows(f"{_CHANGES}{test} ORDER BY sequence LIMIT %s", [after, *values, limit])
    return [
        Change(
            sequence=sequence,
            type=type,
            memory_id=id,
            version=version,
            namespace=namespace,
            time=time,
            target=target,
        )
        for sequence, type, id, version, namespace, time, target in rows
    ]


async def last_sequence(database: Database) -> int:
    """Read `Storage.last_sequence`."""
    [(sequence,)] = await database.rows(_LAST)
    return int(sequence)


async def namespaces(database: Database, scope: Scope, now: datetime) -> list[NamespaceStats]:
    """Read the namespaces that hold anything, with their counts."""
    inner, values = within(scope)
    sql = _STATS.replace("<within m>", inner).replace("<within l>", within(scope, "l.namespace")[0])
    rows = await database.rows(sql, [now, *values, *values, now, now, *values])
    return [
        NamespaceStats(namespace=name, memories=alive, deleted=deleted, versions=versions, links=links)
        for name, alive, deleted, versions, links in rows
    ]


async def scan_page(
    database: Database, scope: Scope, *, after: str | None, limit: int
) -> tuple[list[Stored], str | None]:
    """Read newest versions by id; return them and the last id."""
    test, values = within(scope)
    rows = await database.rows(_SCAN.replace("<within>", test), [*values, after or _FIRST_ID, limit])
    return [stored_of(row) for row in rows], rows[-1][0] if rows else None


def stored_of(row: Sequence[Any]) -> Stored:
    """Return the version of a row of `STORED`."""
    return Stored(memory=memory_of(row), deleted=row[21], sequence=row[22] or 0)


def _plain(ids: Sequence[str]) -> list[str]:
    return [id for id in dict.fromkeys(ids) if plain_id(id)]


def _in_order(ids: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[Memory | None]:
    found = {row[0]: memory_of(row) for row in rows}
    return [found.get(id) for id in ids]
