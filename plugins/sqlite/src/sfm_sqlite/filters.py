"""Filters as SQL over `records r` and `bodies b` (or `past p`), with exactly the meaning of `sfm_core.model.filter.matches`.

What SQL can say with the same meaning is said in SQL. Every other test (deep equality, real numbers inside payloads, odd
keys) calls `sfm_test`, an SQL function that runs the reference evaluator on the one field. Each test gives 0 or 1, never
NULL.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from msgspec.structs import replace

from sfm_core.model.filter import FIELD_TYPES, And, FieldTest, Filter, Or, matches, parse_filter, to_json
from sfm_core.model.memory import Memory
from sfm_sqlite.codec import blob_or_none, decode_json, encode_json, id_of, key_of, micros, moment

__all__ = ["compile_filter", "register_functions"]

Sql = tuple[str, list[Any]]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS = "CASE b.kind WHEN 0 THEN 'episodic' WHEN 1 THEN 'semantic' ELSE 'procedural' END"
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_ \-]+")
_COMPARE = {"eq": "=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_INT64 = 2**63
_MOST_IN_SQL = 64


def _columns(version: str) -> dict[str, str]:
    columns = {field: f"b.{field}" for field in FIELD_TYPES}
    columns |= {
        "id": "r.id",
        "namespace": "(SELECT name FROM namespaces WHERE num = r.ns)",
        "kind": _KINDS,
        "updated_at": f"{version}.updated_at",
        "version": f"{version}.version",
    }
    return columns


_PAST = _columns("p")
_CURRENT = _columns("r") | {
    field: f"r.{field}" for field in ("position", "importance", "occurred_at", "expires_at", "created_at")
}
_KEYED = ("author", "thread")
"""Texts that a newest version also has as a 64-bit key in its record: most rows fail by it without a look at the body."""


def compile_filter(filter: Filter | None, *, past: bool = False) -> Sql:
    """Return the SQL test of `filter` and its values; `past` compiles for older versions (`past p` joined to `r`)."""
    if filter is None:
        return "1", []
    return _compile(filter, _PAST if past else _CURRENT)


def register_functions(connection: sqlite3.Connection) -> None:
    """Give `connection` the SQL function that compiled filters call."""
    connection.create_function("sfm_test", 2, _test, deterministic=True)


def _compile(filter: Filter, columns: Mapping[str, str]) -> Sql:
    if isinstance(filter, FieldTest):
        return _compile_test(filter, columns)
    if isinstance(filter, And | Or):
        parts = [_compile(part, columns) for part in filter.filters]
        if not parts:
            return ("1" if isinstance(filter, And) else "0"), []
        joiner = " AND " if isinstance(filter, And) else " OR "
        return f"({joiner.join(sql for sql, _ in parts)})", [value for _, values in parts for value in values]
    sql, values = _compile(filter.filter, columns)
    return f"(NOT {sql})", values


def _compile_test(test: FieldTest, columns: Mapping[str, str]) -> Sql:
    column = columns[test.field]
    if test.op in ("ne", "nin"):
        sql, values = _compile_test(replace(test, op="eq" if test.op == "ne" else "in"), columns)
        return f"(NOT {sql})", values
    if test.op == "exists":
        return _exists(test, column)
    if test.op == "in":
        if len(test.value) > _MOST_IN_SQL:
            return _by_reference(test, column)
        return _compile(Or(tuple(replace(test, op="eq", value=value) for value in test.value)), columns)
    compiled = _payload(test, column) if test.path else _OWN[FIELD_TYPES[test.field]](test, columns)
    return compiled or _by_reference(test, column)


def _exists(test: FieldTest, column: str) -> Sql:
    wanted = "NOTNULL" if test.value else "ISNULL"
    if not test.path:
        always = test.field in ("payload", "tags", "derived_from")  # stored as NULL when empty, but never missing
        return ("1" if test.value else "0", []) if always else (f"({column} {wanted})", [])
    path = _json_path(test.path)
    return (f"(json_type({column}, ?) {wanted})", [path]) if path is not None else _by_reference(test, column)


def _text(test: FieldTest, columns: Mapping[str, str]) -> Sql | None:
    column = columns[test.field]
    if not isinstance(test.value, str):
        return "0", []
    if test.field == "id":
        return ("(r.id = ?)", [blob_or_none(test.value) or b""]) if test.op == "eq" else None
    if test.op == "prefix":
        return _prefix(test, column)
    if test.op == "contains":
        return "0", []
    if test.op == "eq" and test.field in _KEYED and columns is _CURRENT:
        key = f"coalesce(r.{test.field} = ?, 0)"
        return f"({key} AND coalesce({column} = ?, 0))", [key_of(test.value), test.value]
    return f"(coalesce({column} {_COMPARE[test.op]} ?, 0))", [test.value]


def _prefix(test: FieldTest, column: str) -> Sql | None:
    value = test.value
    if test.field == "namespace":
        if not value:
            return "1", []
        return f"({column} = ? OR ({column} >= ? AND {column} < ?))", [value, value + "/", value + "0"]
    if "\0" in value:  # SQLite's text functions stop at NUL
        return None
    return f"(coalesce(substr(CAST({column} AS BLOB), 1, ?) = ?, 0))", [len(value.encode()), value.encode()]


def _number(test: FieldTest, columns: Mapping[str, str]) -> Sql | None:
    column = columns[test.field]
    value = test.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "0", []
    if test.op not in _COMPARE:
        return "0", []
    if not -_INT64 <= value < _INT64:
        return None
    return f"(coalesce({column} {_COMPARE[test.op]} ?, 0))", [value]


def _bool(test: FieldTest, columns: Mapping[str, str]) -> Sql:
    column = columns[test.field]
    if test.op == "eq" and isinstance(test.value, bool):
        return f"({column} = ?)", [int(test.value)]
    return "0", []


def _time(test: FieldTest, columns: Mapping[str, str]) -> Sql:
    column = columns[test.field]
    if test.op not in _COMPARE or not isinstance(test.value, datetime):
        return "0", []
    return f"(coalesce({column} {_COMPARE[test.op]} ?, 0))", [micros(test.value)]


def _list(test: FieldTest, columns: Mapping[str, str]) -> Sql | None:
    column = columns[test.field]
    if test.op == "contains" and isinstance(test.value, str) and test.field == "tags" and "\0" not in test.value:
        found = f"EXISTS (SELECT 1 FROM json_each({column}) WHERE value = ? AND type = 'text')"  # noqa: S608
        return f"(instr({column}, '\\u0000') > 0 AND sfm_test(?, {column}) OR {found})", [_described(test), test.value]
    return None


def _object(test: FieldTest, columns: Mapping[str, str]) -> Sql | None:
    return None


_OWN: Mapping[str, Callable[[FieldTest, Mapping[str, str]], Sql | None]] = {
    "text": _text,
    "number": _number,
    "bool": _bool,
    "time": _time,
    "list": _list,
    "object": _object,
}


def _payload(test: FieldTest, column: str) -> Sql | None:
    """Compile a test of a payload path that compares with a text, an integer, a boolean or null."""
    path, value = _json_path(test.path), test.value
    if path is None or test.op not in _COMPARE:
        return None
    if value is None or isinstance(value, bool):
        if test.op != "eq":
            return "0", []
        return f"(coalesce(json_type({column}, ?) = ?, 0))", [path, {None: "null", True: "true", False: "false"}[value]]
    found = f"json_extract({column}, ?) {_COMPARE[test.op]} ?"
    if isinstance(value, str):
        guard = f"(json_type({column}, ?) = 'text' AND instr({column}, '\\u0000') = 0)"
        kinds: tuple[str, ...] = ("text",)
    elif isinstance(value, int | float) and -_INT64 <= value < _INT64:
        guard = f"(json_type({column}, ?) = 'integer' AND typeof(json_extract({column}, ?)) = 'integer')"
        kinds = ("integer", "real")
    else:
        return None
    # Reals are left to the reference: SQLite does not always read their decimal text as the nearest double.
    other = " OR ".join(f"json_type({column}, ?) = '{kind}'" for kind in kinds)
    sql = f"(CASE WHEN coalesce({guard}, 0) THEN {found} WHEN {other} THEN sfm_test(?, {column}) ELSE 0 END)"
    guards = [path] * guard.count("?")
    return sql, [*guards, path, value, *([path] * len(kinds)), _described(test)]


def _json_path(keys: Sequence[str]) -> str | None:
    if not all(_PLAIN_KEY.fullmatch(key) for key in keys):
        return None
    return "$" + "".join(f'."{key}"' for key in keys)


def _by_reference(test: FieldTest, column: str) -> Sql:
    return f"sfm_test(?, {column})", [_described(test)]


def _described(test: FieldTest) -> str:
    return encode_json(to_json(test))


@lru_cache(maxsize=1024)
def _read(described: str) -> FieldTest:
    test = parse_filter(decode_json(described), depth=1, tests=1)
    assert isinstance(test, FieldTest)
    return test


def _test(described: str, stored: Any) -> bool:
    """Run the reference evaluator for one test on the stored form of its field."""
    test = _read(described)
    times = {"occurred_at": _EPOCH, "created_at": _EPOCH, "updated_at": _EPOCH}
    return matches(test, Memory(**{"id": "", **times, test.field: _value(test.field, stored)}))


def _value(field: str, stored: Any) -> Any:
    kind = FIELD_TYPES[field]
    if field == "id":
        return id_of(stored)
    if kind == "bool":
        return stored == 1
    if stored is None:
        return {"payload": {}, "tags": (), "derived_from": ()}.get(field)
    if kind in ("list", "object"):
        return decode_json(stored)
    return moment(stored) if kind == "time" else stored
