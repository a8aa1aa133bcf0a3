"""The one filter language: a small tagged tree over a memory's fields and payload paths, and its reference evaluator.

A backend compiles the whole tree with the meaning of `matches`, or declares that it cannot. Semantics:

* A missing field (an own field that is None, a payload path that leads nowhere) passes only `exists: false`, `ne`, `nin`.
* `eq`, `ne`, `in`, `nin`, `contains` compare by deep JSON equality: 1 equals 1.0, true is not 1.
* `lt`, `lte`, `gt`, `gte` order numbers, texts by code point, and instants on the time fields. Other pairs give false.
* `contains` needs a list, `prefix` a text; on `namespace` a prefix is whole segments ("a" takes "a" and "a/b", "" all).
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Literal

from msgspec import Struct

from sfm_core.errors import InvalidInput, LimitExceeded, Problem, shown
from sfm_core.model.memory import Memory
from sfm_core.model.times import parse_time, time_text

__all__ = [
    "FIELD_TYPES",
    "OPS",
    "And",
    "FieldTest",
    "FieldType",
    "Filter",
    "Not",
    "Op",
    "Or",
    "all_of",
    "field_name",
    "fields_of",
    "json_equal",
    "matches",
    "parse_filter",
    "to_json",
]

Op = Literal["eq", "ne", "in", "nin", "lt", "lte", "gt", "gte", "exists", "contains", "prefix"]
FieldType = Literal["text", "number", "bool", "time", "list", "object"]

OPS: Final[tuple[Op, ...]] = ("eq", "ne", "in", "nin", "lt", "lte", "gt", "gte", "exists", "contains", "prefix")

FIELD_TYPES: Final[Mapping[str, FieldType]] = MappingProxyType(
    {
        "id": "text",
        "namespace": "text",
        "kind": "text",
        "content": "text",
        "payload": "object",
        "coordinate": "list",
        "author": "text",
        "thread": "text",
        "position": "number",
        "importance": "number",
        "tags": "list",
        "source": "text",
        "pinned": "bool",
        "occurred_at": "time",
        "valid_from": "time",
        "valid_to": "time",
        "expires_at": "time",
        "derived_from": "list",
        "created_at": "time",
        "updated_at": "time",
        "version": "number",
    }
)
"""The memory's own fields and what a filter sees in each when it is not None."""

_VALUE_DEPTH = 64
_SEPARATOR = re.compile(r"(?<!\\)\.")
_ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = MappingProxyType(
    {"lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge}
)
_SHAPE = 'one of {"and": [...]}, {"or": [...]}, {"not": {...}} and {"field": ..., "op": ..., "value": ...}'
_MISSING: Final = object()


class And(Struct, frozen=True, tag_field="type", tag="and"):
    """Passes when all of `filters` pass; with none of them, always."""

    filters: tuple[Filter, ...]


class Or(Struct, frozen=True, tag_field="type", tag="or"):
    """Passes when one of `filters` passes; with none of them, never."""

    filters: tuple[Filter, ...]


class Not(Struct, frozen=True, tag_field="type", tag="not"):
    """Passes when `filter` does not."""

    filter: Filter


class FieldTest(Struct, frozen=True, tag_field="type", tag="test"):
    """One test of one field.

    Attributes:
        field: an own field of the memory (a key of `FIELD_TYPES`).
        path: the keys below it; empty save for `payload`.
        op: the operator.
        value: a JSON value. Lists are tuples; `in` and `nin` always hold a tuple; `exists` a bool. On a time field texts
            are aware UTC datetimes already (values that are no texts stay as they are and equal nothing there).
    """

    field: str
    path: tuple[str, ...]
    op: Op
    value: Any


Filter = And | Or | Not | FieldTest


def parse_filter(value: object, *, depth: int = 32, tests: int = 256, field: str = "filter") -> Filter:
    """Read a filter from decoded JSON (or check one that is a `Filter` already).

    Args:
        value: the JSON object.
        depth: how many levels of and, or, not may be nested.
        tests: how many field tests it may hold.
        field: what error messages call it.

    Raises:
        InvalidInput: an unknown field, operator or key, or a value that the operator does not take; the problem's field
            is the dotted path of the culprit.
        LimitExceeded: more levels or tests than allowed.
    """
    if isinstance(value, And | Or | Not | FieldTest):
        value = to_json(value)
    return _Parser(depth, tests).parse(value, field, 0)


def matches(filter: Filter | None, memory: Memory) -> bool:
    """Tell whether `memory` passes `filter` (None passes all): the reference that every backend is compared with."""
    if filter is None:
        return True
    if isinstance(filter, FieldTest):
        return _test(filter, _look_up(filter, memory))
    if isinstance(filter, And):
        return all(matches(part, memory) for part in filter.filters)
    if isinstance(filter, Or):
        return any(matches(part, memory) for part in filter.filters)
    return not matches(filter.filter, memory)


def to_json(filter: Filter) -> dict[str, Any]:
    """Return the JSON form of `filter`; `parse_filter` of it gives an equal filter."""
    if isinstance(filter, FieldTest):
        return {"field": field_name(filter), "op": filter.op, "value": _plain(filter.value)}
    if isinstance(filter, Not):
        return {"not": to_json(filter.filter)}
    return {"and" if isinstance(filter, And) else "or": [to_json(part) for part in filter.filters]}


def all_of(*filters: Filter | None) -> Filter | None:
    """Return a filter that passes what passes every one of `filters`; None stands for no restriction."""
    parts = [part for part in filters if part is not None]
    if len(parts) <= 1:
        return parts[0] if parts else None
    return And(tuple(parts))


def fields_of(filter: Filter | None) -> frozenset[str]:
    """Return the own fields that `filter` tests."""
    if filter is None:
        return frozenset()
    if isinstance(filter, FieldTest):
        return frozenset({filter.field})
    parts = (filter.filter,) if isinstance(filter, Not) else filter.filters
    return frozenset().union(*map(fields_of, parts))


def field_name(test: FieldTest) -> str:
    r"""Return the field of `test` as callers write it: keys joined by dots, a dot inside a key as `\.`."""
    return ".".join((test.field, *(key.replace(".", "\\.") for key in test.path)))


def json_equal(a: object, b: object) -> bool:
    """Tell whether two JSON values are equal: 1 equals 1.0, true is not 1, tuples are lists, key order is nothing."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, Mapping):
        return (
            isinstance(b, Mapping)
            and len(a) == len(b)
            and all(key in b and json_equal(value, b[key]) for key, value in a.items())
        )
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(json_equal, a, b))
    return a == b


def _look_up(test: FieldTest, memory: Memory) -> object:
    value = getattr(memory, test.field)
    if not test.path:
        return _MISSING if value is None else value
    for key in test.path:
        if not isinstance(value, Mapping) or key not in value:
            return _MISSING
        value = value[key]
    return value


def _test(test: FieldTest, found: object) -> bool:
    op, value = test.op, test.value
    if op == "exists":
        return (found is not _MISSING) is value
    if op == "ne":
        return found is _MISSING or not json_equal(found, value)
    if op == "nin":
        return found is _MISSING or not any(json_equal(found, item) for item in value)
    if found is _MISSING:
        return False
    if op == "eq":
        return json_equal(found, value)
    if op == "in":
        return any(json_equal(found, item) for item in value)
    if op == "contains":
        return isinstance(found, list | tuple) and any(json_equal(item, value) for item in found)
    if op == "prefix":
        return _begins(test, found, value)
    return _orderable(found, value) and _ORDER[op](found, value)


def _begins(test: FieldTest, found: object, value: object) -> bool:
    if not isinstance(found, str) or not isinstance(value, str):
        return False
    if test.field == "namespace":
        return not value or found == value or found.startswith(value + "/")
    return found.startswith(value)


def _orderable(a: object, b: object) -> bool:
    if isinstance(a, bool) or isinstance(b, bool):
        return False
    return any(isinstance(a, kind) and isinstance(b, kind) for kind in (int | float, str, datetime))


def _plain(value: object) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return time_text(value) if isinstance(value, datetime) else value


class _Parser:
    """Reads one filter and counts its tests."""

    def __init__(self, depth: int, tests: int) -> None:
        self._depth, self._tests, self._seen = depth, tests, 0

    def parse(self, value: object, at: str, level: int) -> Filter:
        if not isinstance(value, Mapping):
            raise InvalidInput.of(at, value, _SHAPE)
        if not value.keys() & {"and", "or", "not"}:
            return self._parse_test(value, at)
        if len(value) != 1:
            raise InvalidInput([Problem(at, _keys(value), "and, or, not alone in its object")])
        if level >= self._depth:
            raise LimitExceeded([Problem(at, "deeper nesting", f"at most {self._depth} levels")])
        ((name, inner),) = value.items()
        if name == "not":
            return Not(self.parse(inner, f"{at}.not", level + 1))
        if not isinstance(inner, list | tuple):
            raise InvalidInput.of(f"{at}.{name}", inner, "a list of filters")
        parts = tuple(self.parse(part, f"{at}.{name}.{i}", level + 1) for i, part in enumerate(inner))
        return And(parts) if name == "and" else Or(parts)

    def _parse_test(self, value: Mapping[Any, object], at: str) -> FieldTest:
        for key in value:
            if key not in ("field", "op", "value"):
                raise InvalidInput.of(f"{at}.{key}" if isinstance(key, str) else at, key, _SHAPE)
        for key in ("field", "op", "value"):
            if key not in value:
                raise InvalidInput([Problem(f"{at}.{key}", "nothing", _SHAPE)])
        self._seen += 1
        if self._seen > self._tests:
            raise LimitExceeded([Problem(at, "more tests", f"at most {self._tests} field tests")])
        field, path = _field(value["field"], f"{at}.field")
        op = value["op"]
        if not isinstance(op, str) or op not in OPS:
            raise InvalidInput.of(f"{at}.op", op, f"one of {', '.join(OPS)}")
        return FieldTest(field, path, op, _value(op, FIELD_TYPES[field] == "time", value["value"], f"{at}.value"))


def _keys(value: Mapping[Any, object]) -> str:
    return "the keys " + ", ".join(sorted(shown(key) for key in value)[:8])


def _field(name: object, at: str) -> tuple[str, tuple[str, ...]]:
    if isinstance(name, str):
        own, dot, rest = name.partition(".")
        if own in FIELD_TYPES and (not dot or own == "payload"):
            path = _SEPARATOR.split(rest) if dot else []
            if not any("\ud800" <= char <= "\udfff" for char in rest):
                return own, tuple(key.replace("\\.", ".") for key in path)
    raise InvalidInput.of(at, name, f"payload.<path> or one of {', '.join(FIELD_TYPES)}")


def _value(op: Op, time: bool, value: object, at: str) -> Any:
    if op == "exists":
        if not isinstance(value, bool):
            raise InvalidInput.of(at, value, "true or false")
        return value
    if op in ("in", "nin"):
        if not isinstance(value, list | tuple):
            raise InvalidInput.of(at, value, "a list of values")
        return tuple(_operand(op, time, item, f"{at}.{i}") for i, item in enumerate(value))
    return _operand(op, time, value, at)


def _operand(op: Op, time: bool, value: object, at: str) -> Any:
    if time and (op in _ORDER or (op not in ("contains", "prefix") and isinstance(value, str | datetime))):
        return parse_time(value, at)
    return _json(value, at, 0)


def _json(value: object, at: str, level: int) -> Any:
    """Return a copy of a JSON value that its giver cannot change any more."""
    if level > _VALUE_DEPTH:
        raise LimitExceeded([Problem(at, "deeper nesting", f"a value of at most {_VALUE_DEPTH} levels")])
    if isinstance(value, str):
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise InvalidInput.of(at, value, "text without lone surrogates")
        return value
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, list | tuple):
        return tuple(_json(item, at, level + 1) for item in value)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {_json(key, at, level): _json(item, at, level + 1) for key, item in value.items()}
    raise InvalidInput.of(at, value, "a JSON value; numbers must be finite")
