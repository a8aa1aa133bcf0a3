"""Lists: pages of memories in an order, present or past, and the ids that pass a filter."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final

from msgspec import MsgspecError

from sfm_core.errors import InvalidInput
from sfm_core.model.filter import Filter
from sfm_core.model.namespace import Scope
from sfm_core.ports.storage import Listing, Order
from sfm_sqlite.codec import blob_or_none, decode_json, encode_json, id_of
from sfm_sqlite.filters import compile_filter
from sfm_sqlite.readers import Reader
from sfm_sqlite.rows import CURRENT, FROM_CURRENT, FROM_PAST, PAST, memory_of, within

__all__ = ["in_period", "list_page", "matching"]

Sql = tuple[str, list[Any]]
Place = tuple[Any, bytes] | None

_NUMBERS: Final[dict[str, Any]] = {
    "created_at": int,
    "occurred_at": int,
    "position": int,
    "importance": (int, float),
}
_LIVE = "r.deleted = 0 AND (r.expires_at IS NULL OR r.expires_at > ?)"


def list_page(
    reader: Reader,
    scope: Scope,
    *,
    filter: Filter | None,
    order: Order,
    limit: int,
    after: str | None,
    now: int,
    as_of: int | None,
    deleted: bool,
) -> Listing:
    """Read one page of `Storage.list`."""
    place = _read_place(order, after) if after is not None else None
    if as_of is None:
        sql, values = _present_page(scope, filter, order, place, limit + 1, now, deleted=deleted)
    else:
        sql, values = _past_page(scope, filter, order, place, limit + 1, as_of, deleted=deleted)
    rows = reader.connection.execute(sql, values).fetchall()
    page = rows[:limit]
    following = _place(order, page[-1][21], page[-1][0]) if len(rows) > len(page) > 0 else None
    return Listing(tuple(memory_of(row, reader.names) for row in page), following)


def matching(reader: Reader, scope: Scope, *, filter: Filter | None, limit: int, now: int) -> list[str]:
    """Read `Matching.matching`."""
    test, values = within(scope)
    condition, more = compile_filter(filter)
    source = "records r" if filter is None else FROM_CURRENT
    sql = f"SELECT r.id FROM {source} WHERE {test} AND {_LIVE} AND {condition} LIMIT ?"  # noqa: S608
    return [id_of(id) for (id,) in reader.connection.execute(sql, (*values, now, *more, limit))]


def in_period(
    reader: Reader, scope: Scope, first: int, last: int, *, filter: Filter | None, limit: int, now: int
) -> list[str]:
    """Read `FullText.in_period`."""
    test, values = within(scope)
    condition, more = compile_filter(filter)
    sql = f"""SELECT r.id FROM {FROM_CURRENT} WHERE {test} AND {_LIVE} AND r.occurred_at >= ? AND r.occurred_at < ?
        AND {condition} ORDER BY r.occurred_at DESC, r.id LIMIT ?"""  # noqa: S608
    rows = reader.connection.execute(sql, (*values, now, first, last, *more, limit))
    return [id_of(id) for (id,) in rows]


def _present_page(
    scope: Scope, filter: Filter | None, order: Order, place: Place, limit: int, now: int, *, deleted: bool
) -> Sql:
    # Keys are sorted before bodies are read, so that a page costs the texts of a page.
    source = "records r" if filter is None else FROM_CURRENT
    inner, values = _present(f"r.num, r.id AS id, {_key(order)} AS s", source, scope, filter, now, deleted=deleted)
    inner, values = _after((inner, values), _key(order), order, place)
    sql = f"""SELECT {CURRENT}, x.s FROM ({inner} ORDER BY {_sorting(order)} LIMIT ?) x
        CROSS JOIN records r ON r.num = x.num CROSS JOIN bodies b ON b.num = r.body
        ORDER BY {_sorting(order, "x.")}"""  # noqa: S608
    return sql, [*values, limit]


def _past_page(
    scope: Scope, filter: Filter | None, order: Order, place: Place, limit: int, as_of: int, *, deleted: bool
) -> Sql:
    columns = f"{CURRENT}, {_key(order)} AS s"
    sql, values = _present(columns, FROM_CURRENT, scope, filter, as_of, deleted=deleted)
    newest = _after((f"{sql} AND r.updated_at <= ?", [*values, as_of]), _key(order), order, place)
    older = _after(_past(scope, filter, order, as_of, deleted=deleted), _key(order, past=True), order, place)
    # A compound cannot be sorted by an expression, which nulls last is.
    sql = f"SELECT * FROM ({newest[0]} UNION ALL {older[0]}) ORDER BY {_sorting(order)} LIMIT ?"  # noqa: S608
    return sql, [*newest[1], *older[1], limit]


def _sorting(order: Order, table: str = "") -> str:
    direction = "DESC" if order.value.startswith("-") else "ASC"
    nulls = f"{table}s ISNULL, " if order.value.endswith("position") else ""
    return f"{nulls}{table}s {direction}, {table}id"


def _present(columns: str, source: str, scope: Scope, filter: Filter | None, now: int, *, deleted: bool) -> Sql:
    test, values = within(scope)
    condition, more = compile_filter(filter)
    live = f"(r.deleted = 1 OR ({_LIVE}))" if deleted else _LIVE
    sql = f"SELECT {columns} FROM {source} WHERE {test} AND {live} AND {condition}"  # noqa: S608
    return sql, [*values, now, *more]


def _past(scope: Scope, filter: Filter | None, order: Order, as_of: int, *, deleted: bool) -> Sql:
    test, values = within(scope)
    condition, more = compile_filter(filter, past=True)
    live = "p.deleted = 0 AND (b.expires_at IS NULL OR b.expires_at > ?)"
    live = f"(p.deleted = 1 OR ({live}))" if deleted else live
    sql = f"""SELECT {PAST}, {_key(order, past=True)} AS s FROM {FROM_PAST} WHERE {test} AND {live} AND {condition}
        AND r.updated_at > ? AND p.updated_at <= ? AND p.until > ?"""  # noqa: S608
    return sql, [*values, as_of, *more, as_of, as_of, as_of]


def _key(order: Order, *, past: bool = False) -> str:
    name = order.value.removeprefix("-")
    return f"b.{name}" if past else f"r.{name}"


def _after(part: Sql, key: str, order: Order, place: Place) -> Sql:
    if place is None:
        return part
    sql, values = part
    value, id = place
    if value is None:
        return f"{sql} AND ({key} IS NULL AND r.id > ?)", [*values, id]
    further = "<" if order.value.startswith("-") else ">"
    last = f" OR {key} IS NULL" if order.value.endswith("position") else ""
    # The first comparison alone lets the index skip the pages before.
    reach = f"({key} {further}= ?{last})"
    sql = f"{sql} AND {reach} AND ({key} {further} ? OR ({key} = ? AND r.id > ?){last})"
    return sql, [*values, value, value, value, id]


def _place(order: Order, value: Any, id: bytes) -> str:
    return urlsafe_b64encode(encode_json([order.value, value, id_of(id)]).encode()).decode()


def _read_place(order: Order, position: str) -> tuple[Any, bytes]:
    try:
        parts = decode_json(urlsafe_b64decode(position.encode("ascii")))
    except (ValueError, MsgspecError):
        parts = None
    name = order.value.removeprefix("-")
    if isinstance(parts, list) and len(parts) == 3 and parts[0] == order.value and isinstance(parts[2], str):
        blob, value = blob_or_none(parts[2]), parts[1]
        fits = isinstance(value, _NUMBERS[name]) and not isinstance(value, bool) and abs(value) < 2**63
        if blob is not None and (fits or (value is None and name == "position")):
            return value, blob
    raise InvalidInput.of("cursor", position, "the `next` of a former page of the same list")
