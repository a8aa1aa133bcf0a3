"""What ranking reads of memories: candidates with their thread neighbours, and authors by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sfm_core.model.filter import Filter
from sfm_core.model.namespace import Scope
from sfm_core.ports.storage import Candidate
from sfm_postgres.adapt import plain_id, unescape
from sfm_postgres.database import Database
from sfm_postgres.filters import compile_filter
from sfm_postgres.keys import author_key
from sfm_postgres.lists import COLUMNS
from sfm_postgres.rows import live, within

__all__ = ["authors", "candidates"]

_FACTS = """m.id, m.version, m.namespace, m.author, m.thread, m.position, m.occurred_at, m.importance, m.created_at,
    m.length, m.asks, m.has_time, m.has_duration"""
_ALONE = f"SELECT {_FACTS} FROM {{s}}.memories m WHERE m.id = ANY(%s::uuid[]) AND {live('m')}"  # noqa: S608 - constants
_SIDE = f"""(SELECT array(SELECT n.id FROM {{s}}.memories n WHERE n.namespace = m.namespace AND n.thread = m.thread
    AND n.position IS NOT NULL AND (n.position, n.id) <beyond> (m.position, m.id) AND {live("n")}
    ORDER BY n.position <way>, n.id <way> LIMIT 2))"""  # noqa: S608
_BEFORE = _SIDE.replace("<beyond>", "<").replace("<way>", "DESC")
_AFTER = _SIDE.replace("<beyond>", ">").replace("<way>", "ASC")
_AROUND = f"""WITH asked AS MATERIALIZED (SELECT {_FACTS}, {_BEFORE} AS before, {_AFTER} AS after
        FROM {{s}}.memories m WHERE m.id = ANY(%s::uuid[]) AND {live("m")}),
    near AS (SELECT n.id FROM asked a, unnest(a.before || a.after) AS n (id) EXCEPT SELECT id FROM asked)
    SELECT a.* FROM asked a UNION ALL
    SELECT {_FACTS}, NULL, NULL FROM {{s}}.memories m WHERE m.id IN (SELECT id FROM near) AND <condition>"""  # noqa: S608

# Steps from one spelling to the next in the index, however many memories there are of each.
_AUTHORS = """WITH RECURSIVE spelling (key, namespace, author) AS (
        SELECT k.key, f.namespace, f.author FROM unnest(%s::bigint[]) AS k (key) CROSS JOIN LATERAL (
            SELECT m.namespace, m.author FROM {s}.memories m
            WHERE m.author_key = k.key AND NOT m.deleted AND <within>
            ORDER BY m.namespace, m.author LIMIT 1) f
        UNION ALL
        SELECT s.key, f.namespace, f.author FROM spelling s CROSS JOIN LATERAL (
            SELECT m.namespace, m.author FROM {s}.memories m
            WHERE m.author_key = s.key AND NOT m.deleted AND <within>
                AND (m.namespace, m.author) > (s.namespace, s.author)
            ORDER BY m.namespace, m.author LIMIT 1) f)
    SELECT DISTINCT key, author FROM spelling ORDER BY author"""


async def candidates(
    database: Database, ids: Sequence[str], *, now: datetime, around: bool, filter: Filter | None
) -> dict[str, Candidate]:
    """Read `FullText.candidates`."""
    asked = [id for id in dict.fromkeys(ids) if plain_id(id)]
    if not asked:
        return {}
    if not around:
        return {row[0]: _candidate(row) for row in await database.rows(_ALONE, [asked, now])}
    condition, values = compile_filter(filter, COLUMNS)
    rows = await database.rows(_AROUND.replace("<condition>", condition), [now, now, asked, now, *values])
    return {row[0]: _candidate(row, row[13] or (), row[14] or ()) for row in rows}


async def authors(database: Database, scope: Scope, keys: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Read `FullText.authors`."""
    names = {number: key for key in keys if (number := author_key(key)) is not None}
    if not names:
        return {}
    test, values = within(scope)
    rows = await database.rows(_AUTHORS.replace("<within>", test), [list(names), *values, *values])
    found: dict[str, list[str]] = {}
    for number, author in rows:
        if author is not None:
            found.setdefault(names[number], []).append(unescape(author))
    return found


def _candidate(row: Sequence[Any], before: Sequence[str] = (), after: Sequence[str] = ()) -> Candidate:
    (
        id,
        version,
        namespace,
        author,
        thread,
        position,
        occurred_at,
        importance,
        created_at,
        length,
        asks,
        has_time,
        lasts,
    ) = row[:13]
    return Candidate(
        id,
        version,
        namespace,
        unescape(author) if author is not None else None,
        unescape(thread) if thread is not None else None,
        position,
        occurred_at,
        importance,
        created_at,
        length,
        asks,
        has_time,
        lasts,
        tuple(before),
        tuple(after),
    )
