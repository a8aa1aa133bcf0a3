"""Reads of links."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import MsgspecError

from sfm_core.errors import InvalidInput
from sfm_core.model.link import Direction, Link
from sfm_core.model.namespace import Scope
from sfm_postgres.adapt import decode_json, encode_json, escape, plain_id, unescape
from sfm_postgres.database import Database
from sfm_postgres.rows import live, within

__all__ = ["LINK", "link_of", "links_in", "links_of"]

LINK = "l.source, l.target, l.relation, l.weight, l.metadata, l.namespace, l.created_at, l.updated_at"
"""The columns of a link, for `link_of`."""

_LIVE = f"""FROM {{s}}.links l JOIN {{s}}.memories a ON a.id = l.source JOIN {{s}}.memories b ON b.id = l.target
    WHERE {live("a")} AND {live("b")}"""
_ORDER = "ORDER BY weight, source, target, relation"


def link_of(row: Sequence[Any]) -> Link:
    """Return the link of a row that begins with `LINK`."""
    return Link(
        source=row[0],
        target=row[1],
        relation=unescape(row[2]),
        weight=row[3],
        metadata=row[4],
        namespace=row[5],
        created_at=row[6],
        updated_at=row[7],
    )


async def links_of(
    database: Database, ids: Sequence[str], *, relation: str | None, direction: Direction, now: datetime
) -> list[Link]:
    """Read `Storage.links`."""
    asked = [id for id in dict.fromkeys(ids) if plain_id(id)]
    if not asked:
        return []
    parts, values = [], []
    for name, wanted in (("source", direction != "in"), ("target", direction != "out")):
        if wanted:
            test = " AND l.relation = %s" if relation is not None else ""
            parts.append(f"SELECT {LINK} {_LIVE} AND l.{name} = ANY(%s::uuid[]){test}")
            values += [now, now, asked, *([escape(relation)] if relation is not None else [])]
    sql = " UNION ALL ".join(parts)
    rows = await database.rows(f"SELECT * FROM ({sql}) found {_ORDER}", values)  # noqa: S608
    return list({row[:3]: link_of(row) for row in rows}.values())


async def links_in(database: Database, scope: Scope, *, after: str | None, limit: int) -> tuple[list[Link], str | None]:
    """Read `Storage.links_in`, by namespace, source, target, relation."""
    test, values = within(scope, "l.namespace")
    further = ""
    if after is not None:
        further = " AND (l.namespace, l.source, l.target, l.relation) > (%s, %s::uuid, %s::uuid, %s)"
        values = [*values, *_read_place(after)]
    sql = f"""SELECT {LINK} FROM {{s}}.links l WHERE {test}{further}
        ORDER BY l.namespace, l.source, l.target, l.relation LIMIT %s"""  # noqa: S608
    rows = await database.rows(sql, [*values, limit + 1])
    page = rows[:limit]
    if not len(rows) > len(page) > 0:
        return [link_of(row) for row in page], None
    last = page[-1]
    return [link_of(row) for row in page], encode_json([last[5], last[0], last[1], last[2]]).decode()


def _read_place(after: str) -> list[str]:
    try:
        parts = decode_json(after)
    except MsgspecError:
        parts = None
    texts = parts if isinstance(parts, list) and all(isinstance(part, str) for part in parts) else []
    if len(texts) == 4 and plain_id(texts[1]) and plain_id(texts[2]):
        return texts
    raise InvalidInput.of("cursor", after, "the `next` of a former page of links")
