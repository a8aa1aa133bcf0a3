"""Filters as SQL with exactly the meaning of `sfm_core.model.filter.matches`.

A test that does not pass is FALSE or NULL; `NOT` is `IS NOT TRUE`, so that NULL means the same everywhere and conditions
stay fit for indexes. Texts (in columns, in JSON and in values) are escaped by `sfm_postgres.adapt.escape`, which keeps order
and prefixes; JSON numbers are stored in the form of `canonical_json`, so that SQL's `numeric` compares them as Python does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from sfm_core.model.filter import FIELD_TYPES, And, FieldTest, Filter, Not, Or
from sfm_postgres.adapt import escape, escape_json, plain_id

__all__ = ["Columns", "Sql", "canonical_json", "columns_of", "compile_filter"]

Sql = tuple[str, list[Any]]
Columns = Mapping[str, str]

_NEVER: Sql = ("FALSE", [])
_COMPARE = {"eq": "=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_EXACT = 2**53
_INT64 = 2**63
_HUGE = 10**400


def columns_of(table: str, **others: str) -> Columns:
    """Return where each field is found: a column of its own name in `table` (an alias), save `others`.

    Their types must be: texts `text COLLATE "C"`, instants `timestamptz`, `id` `uuid`, `importance` `float8`, `position` and
    `version` integers, `pinned` `boolean`, `tags` and `derived_from` `text[]` (never NULL), `coordinate` `float8[]`,
    `payload` `jsonb` (NULL when it is empty).
    """
    return {field: f"{table}.{field}" for field in FIELD_TYPES} | others


def compile_filter(filter: Filter | None, columns: Columns) -> Sql:
    """Return the SQL condition of `filter`, and its values for `%s`; None passes all."""
    if filter is None:
        return "TRUE", []
    if isinstance(filter, FieldTest):
        return _test(filter, columns)
    if isinstance(filter, Not):
        return _negated(compile_filter(filter.filter, columns))
    parts = [compile_filter(part, columns) for part in filter.filters]
    if not parts:
        return ("TRUE" if isinstance(filter, And) else "FALSE"), []
    joiner = " AND " if isinstance(filter, And) else " OR "
    return f"({joiner.join(sql for sql, _ in parts)})", [value for _, values in parts for value in values]


def canonical_json(value: Any) -> str:
    """Return JSON whose numbers compare as `numeric` as the values do in Python: whole floats are written out exactly."""
    return json.dumps(_canonical(escape_json(value)), ensure_ascii=False, separators=(",", ":"))


def _canonical(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and abs(value) >= _EXACT:
        value = int(value)
    if isinstance(value, int):
        return max(-_HUGE, min(value, _HUGE))  # nothing stored is so large: it compares alike and `numeric` can hold it
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return value


def _negated(part: Sql) -> Sql:
    sql, values = part
    return f"(({sql}) IS NOT TRUE)", values


def _test(test: FieldTest, columns: Columns) -> Sql:
    if test.op in ("ne", "nin"):
        return _negated(_test(replace(test, op="eq" if test.op == "ne" else "in"), columns))
    column = columns[test.field]
    if test.path:
        return _payload(test, column)
    if test.op == "exists":
        always = test.field in ("payload", "tags", "derived_from")
        return (f"({column} IS NOT NULL)" if not always else "TRUE", []) if test.value else _absent(column, always)
    if test.op == "in":
        return _among(test, columns)
    return _OWN[FIELD_TYPES[test.field]](test, column)


def _absent(column: str, always: bool) -> Sql:
    return _NEVER if always else (f"({column} IS NULL)", [])


def _among(test: FieldTest, columns: Columns) -> Sql:
    column = columns[test.field]
    if test.field == "id":
        ids = [id for id in test.value if isinstance(id, str) and plain_id(id)]
        return f"({column} = ANY(%s::uuid[]))", [ids]
    if FIELD_TYPES[test.field] == "text":
        return f"({column} = ANY(%s::text[]))", [[escape(text) for text in test.value if isinstance(text, str)]]
    return compile_filter(Or(tuple(replace(test, op="eq", value=value) for value in test.value)), columns)


def _text(test: FieldTest, column: str) -> Sql:
    value = test.value
    if not isinstance(value, str) or test.op == "contains":
        return _NEVER
    if test.field == "namespace" and test.op == "prefix":
        return _subtree(value, column)
    if test.field == "id":
        if test.op == "eq":
            return (f"({column} = %s::uuid)", [value]) if plain_id(value) else _NEVER
        column = f"{column}::text"
    if test.op == "prefix":
        return f"starts_with({column}, %s)", [escape(value)]
    return f'({column} COLLATE "C" {_COMPARE[test.op]} %s)', [escape(value)]


def _subtree(value: str, column: str) -> Sql:
    if not value:
        return "TRUE", []
    # "0" follows "/" in the order of code points, so this is every name that begins with "<namespace>/".
    name = escape(value)
    return f"({column} = %s OR ({column} >= %s AND {column} < %s))", [name, name + "/", name + "0"]


def _number(test: FieldTest, column: str) -> Sql:
    value = test.value
    if isinstance(value, bool) or not isinstance(value, int | float) or test.op not in _COMPARE:
        return _NEVER
    if test.field == "importance":
        return f"({column} {_COMPARE[test.op]} %s::float8)", [str(_float(value))]
    if isinstance(value, int) and -_INT64 <= value < _INT64:
        return f"({column} {_COMPARE[test.op]} %s::bigint)", [value]
    return f"({column}::numeric {_COMPARE[test.op]} %s::numeric)", [canonical_json(value)]


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _bool(test: FieldTest, column: str) -> Sql:
    if test.op == "eq" and isinstance(test.value, bool):
        return f"({column} = %s::boolean)", [test.value]
    return _NEVER


def _time(test: FieldTest, column: str) -> Sql:
    if test.op not in _COMPARE or not isinstance(test.value, datetime):
        return _NEVER
    return f"({column} {_COMPARE[test.op]} %s::timestamptz)", [test.value]


def _list(test: FieldTest, column: str) -> Sql:
    given = test.value if test.op == "eq" else (test.value,)
    if test.op not in ("eq", "contains") or not isinstance(given, tuple | list):
        return _NEVER
    if test.field == "coordinate":
        if not all(_is_double(item) for item in given):
            return _NEVER
        items: list[Any] = [float(item) for item in given]
    elif all(isinstance(item, str) for item in given):
        items = [escape(item) for item in given]
    else:
        return _NEVER
    kind = "float8[]" if test.field == "coordinate" else "text[]"
    return f"({column} {'=' if test.op == 'eq' else '@>'} %s::{kind})", [items]


def _is_double(value: Any) -> bool:
    """Tell whether a number is exactly some double: no other equals a number of a coordinate."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(_float(value)) != float("inf") and float(value) == value


def _object(test: FieldTest, column: str) -> Sql:
    if test.op == "eq" and isinstance(test.value, Mapping):
        return f"(coalesce({column}, '{{}}'::jsonb) = %s::jsonb)", [canonical_json(test.value)]
    return _NEVER


_OWN: Mapping[str, Callable[[FieldTest, str], Sql]] = {
    "text": _text,
    "number": _number,
    "bool": _bool,
    "time": _time,
    "list": _list,
    "object": _object,
}


def _payload(test: FieldTest, column: str) -> Sql:
    """Compile a test of a payload path. `->` with texts steps into objects only, never into lists."""
    keys = [escape(key) for key in test.path]
    found = f"({column}{' -> %s::text' * len(keys)})"
    value = test.value
    if test.op == "exists":
        return f"({found} {'IS NOT NULL' if value else 'IS NULL'})", keys
    if test.op == "in":
        return f"({found} = ANY(%s::jsonb[]))", [*keys, [canonical_json(item) for item in value]]
    if test.op in ("eq", "contains"):
        return _payload_equal(test, column, found, keys)
    if test.op == "prefix":
        if not isinstance(value, str):
            return _NEVER
        return _guarded(found, keys, "string", f"starts_with({found} #>> '{{}}', %s)", escape(value))
    if isinstance(value, str):
        compared = f"({found} #>> '{{}}') COLLATE \"C\" {_COMPARE[test.op]} %s"
        return _guarded(found, keys, "string", compared, escape(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _NEVER
    return _guarded(found, keys, "number", f"{found}::numeric {_COMPARE[test.op]} %s::numeric", canonical_json(value))


def _payload_equal(test: FieldTest, column: str, found: str, keys: list[str]) -> Sql:
    """Compile `eq` and `contains`: by `@>`, which an index answers; it is exact for scalars, and the least for the rest."""
    value = test.value
    nested: Any = value if test.op == "eq" else [value]
    for key in reversed(test.path):
        nested = {key: nested}
    least, values = f"{column} @> %s::jsonb", [canonical_json(nested)]
    if not isinstance(value, Mapping | list | tuple):
        return f"({least})", values
    if test.op == "eq":
        return f"({least} AND {found} = %s::jsonb)", [*values, *keys, canonical_json(value)]
    held = f"EXISTS (SELECT 1 FROM jsonb_array_elements({found}) item WHERE item = %s::jsonb)"  # noqa: S608
    sql, more = _guarded(found, keys, "array", held, canonical_json(value))
    return f"({least} AND {sql})", [*values, *more]


def _guarded(found: str, keys: list[str], kind: str, sql: str, value: Any) -> Sql:
    """Return a test that is tried on values of one type only."""
    return f"(CASE WHEN jsonb_typeof{found} = '{kind}' THEN {sql} ELSE FALSE END)", [*keys, *keys, value]
