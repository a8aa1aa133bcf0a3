"""Lists: pages of memories in an order, present or past, and the ids that pass a filter."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Any

from msgspec import MsgspecError

from sfm_core.errors import InvalidInput
from sfm_core.model.filter import Filter
from sfm_core.model.namespace import Scope
from sfm_core.model.times import parse_time, time_text
from sfm_core.ports.storage import Listing, Order
from sfm_postgres.adapt import decode_json, encode_json, plain_id
from sfm_postgres.database import Database
from sfm_postgres.filters import Sql, columns_of, compile_filter
from sfm_postgres.rows import columns, live, memory_of, within

__all__ = ["COLUMNS", "in_period", "list_page", "matching"]

COLUMNS = columns_of("m", payload="m.data")
"""Where a filter finds the fields of row `m`."""

_CASTS = {"created_at": "timestamptz", "occurred_at": "timestamptz", "importance": "float8", "position": "bigint"}


async def list_page(
    database: Database,
    scope: Scope,
    *,
    filter: Filter | None,
    order: Order,
    limit: int,
    after: str | None,
    now: datetime,
    as_of: datetime | None,
    deleted: bool,
) -> Listing:
    """Read one page of `Storage.list`."""
    place = _read_place(order, after) if after is not None else None
    sql, values = _page("{s}.memories", scope, filter, order, place, as_of or now, deleted=deleted)
    if as_of is not None:
        older, more = _page("{s}.past", scope, filter, order, place, as_of, deleted=deleted)
        # The page of each table holds the page of both.
        sql = f"""({sql} AND m.updated_at <= %s ORDER BY {_sorting(order)} LIMIT %s) UNION ALL
            ({older} AND m.updated_at <= %s AND m.until > %s
                AND NOT EXISTS (SELECT 1 FROM {{s}}.memories c WHERE c.id = m.id AND c.updated_at <= %s)
                ORDER BY {_sorting(order)} LIMIT %s)"""  # noqa: S608
        values = [*values, as_of, limit + 1, *more, as_of, as_of, as_of, limit + 1]
        sql = f"SELECT * FROM ({sql}) m"  # noqa: S608
    rows = await database.rows(f"{sql} ORDER BY {_sorting(order)} LIMIT %s", [*values, limit + 1])
    page = rows[:limit]
    memories = tuple(memory_of(row) for row in page)
    following = None
    if len(rows) > len(page) > 0:
        following = _place(order, getattr(memories[-1], order.value.removeprefix("-")), memories[-1].id)
    return Listing(memories, following)


async def matching(database: Database, scope: Scope, *, filter: Filter | None, limit: int, now: datetime) -> list[str]:
    """Read `Matching.matching`."""
    test, values = within(scope)
    condition, more = compile_filter(filter, COLUMNS)
    sql = f"SELECT m.id FROM {{s}}.memories m WHERE {test} AND {live('m')} AND {condition} LIMIT %s"  # noqa: S608
    return [id for (id,) in await database.rows(sql, [*values, now, *more, limit])]


async def in_period(
    database: Database,
    scope: Scope,
    first: datetime,
    last: datetime,
    *,
    filter: Filter | None,
    limit: int,
    now: datetime,
) -> list[str]:
    """Read `FullText.in_period`."""
    test, values = within(scope)
    condition, more = compile_filter(filter, COLUMNS)
    sql = f"""SELECT m.id FROM {{s}}.memories m WHERE {test} AND m.occurred_at >= %s AND m.occurred_at < %s
        AND {live("m")} AND {condition} ORDER BY m.occurred_at DESC, m.id LIMIT %s"""  # noqa: S608
    return [id for (id,) in await database.rows(sql, [*values, first, last, now, *more, limit])]


def _page(
    table: str,
    scope: Scope,
    filter: Filter | None,
    order: Order,
    place: tuple[Any, str] | None,
    now: datetime,
    *,
    deleted: bool,
) -> Sql:
    test, values = within(scope)
    condition, more = compile_filter(filter, COLUMNS)
    alive = f"(m.deleted OR ({live('m')}))" if deleted else live("m")
    sql = f"SELECT {columns('m')} FROM {table} m WHERE {test} AND {alive} AND {condition}"  # noqa: S608
    further, place_values = _further(order, place)
    return sql + further, [*values, now, *more, *place_values]


def _sorting(order: Order) -> str:
    name = order.value.removeprefix("-")
    direction = "DESC" if order.value.startswith("-") else "ASC"
    nulls = " NULLS LAST" if name == "position" else ""
    return f"m.{name} {direction}{nulls}, m.id"


def _further(order: Order, place: tuple[Any, str] | None) -> Sql:
    if place is None:
        return "", []
    value, id = place
    name = order.value.removeprefix("-")
    if value is None:
        return f" AND m.{name} IS NULL AND m.id > %s::uuid", [id]
    further = "<" if order.value.startswith("-") else ">"
    mark = f"%s::{_CASTS[name]}"
    last = f" OR m.{name} IS NULL" if name == "position" else ""
    # The first comparison alone lets an index skip the pages before.
    reach = f"(m.{name} {further}= {mark}{last})"
    beyond = f"(m.{name} {further} {mark} OR (m.{name} = {mark} AND m.id > %s::uuid){last})"
    return f" AND {reach} AND {beyond}", [value, value, value, id]


def _place(order: Order, value: Any, id: str) -> str:
    told = time_text(value) if isinstance(value, datetime) else value
    return urlsafe_b64encode(encode_json([order.value, told, id])).decode()


def _read_place(order: Order, position: str) -> tuple[Any, str]:
    try:
        parts = decode_json(urlsafe_b64decode(position.encode("ascii")))
    except (ValueError, MsgspecError):
        parts = None
    if isinstance(parts, list) and len(parts) == 3 and parts[0] == order.value and isinstance(parts[2], str):
        value, id = _read_value(order.value.removeprefix("-"), parts[1]), plain_id(parts[2])
        if id is not None and (value is not None or (parts[1] is None and order.value.endswith("position"))):
            return value, id
    raise InvalidInput.of("cursor", position, "the `next` of a former page of the same list")


def _read_value(name: str, value: Any) -> Any:
    """Return the value of a sort key, None when it is no such value."""
    if name.endswith("_at"):
        try:
            return parse_time(value, "cursor") if isinstance(value, str) else None
        except InvalidInput:
            return None
    fits = isinstance(value, int if name == "position" else (int, float)) and not isinstance(value, bool)
    return value if fits and abs(value) < 2**63 else None
