"""The filter language as conditions on a payload: exact where an index can decide, from both sides where it cannot.

Each filter becomes two conditions: `upper` passes at least what the filter passes, `lower` at most that. Where they are the
same the engine decides alone; else what `upper` found is looked at again (`sfm_core.model.filter.matches`).
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from sfm_core.errors import CapabilityNotSupported
from sfm_core.model.filter import And, FieldTest, Filter, Not
from sfm_core.model.filter import Or as Either
from sfm_qdrant import tokens
from sfm_qdrant.conditions import ALL, NOTHING, Condition, Ids, Inside, Match, Present, Range, all_of, any_of, none_of
from sfm_qdrant.payload import FRACTIONS, KEYWORDS, NUMBERS, TIMES, micros, truth

__all__ = ["Bounds", "compile_filter"]

_EXACT = 2**53
"""Whole numbers below it are told apart by an engine that compares in double precision."""
_OFF, _LEAST = 2.0**-40, 1e-300
"""An engine keeps numbers as decimal text and reads some of them a little off when it rewrites a segment: what is nearer to a
bound than this part of it, the memory tells."""
_ALWAYS = frozenset(
    {"id", "namespace", "kind", "payload", "importance", "tags", "pinned", "occurred_at", "derived_from"}
)
_ALWAYS |= {"created_at", "updated_at", "version"}


class Bounds(Struct, frozen=True):
    """What passes at least, and what passes for sure."""

    upper: Condition
    lower: Condition

    @property
    def exact(self) -> bool:
        """Whether an engine decides alone."""
        return self.upper == self.lower


def compile_filter(filter: Filter | None) -> Bounds:
    """Return the conditions for `filter` (None passes all).

    Raises:
        CapabilityNotSupported: it tests the content, which is not in the index; the core never asks so.
    """
    if filter is None:
        return _sure(ALL)
    if isinstance(filter, And | Either):
        parts = [compile_filter(part) for part in filter.filters]
        join = all_of if isinstance(filter, And) else any_of
        return Bounds(join(part.upper for part in parts), join(part.lower for part in parts))
    if isinstance(filter, Not):
        return _inverse(compile_filter(filter.filter))
    if filter.field == "content":
        raise CapabilityNotSupported("qdrant/vectors: content is not in the index and cannot be filtered by")
    if filter.op in ("ne", "nin"):
        return _inverse(_test(FieldTest(filter.field, filter.path, "eq" if filter.op == "ne" else "in", filter.value)))
    return _test(filter)


def _sure(condition: Condition) -> Bounds:
    return Bounds(condition, condition)


def _maybe(condition: Condition) -> Bounds:
    return Bounds(condition, NOTHING)


def _inverse(bounds: Bounds) -> Bounds:
    return Bounds(none_of(bounds.lower), none_of(bounds.upper))


def _test(test: FieldTest) -> Bounds:
    if test.op == "exists":
        there = _there(test)
        return _sure(there if test.value else none_of(there))
    if test.op == "in":
        return _member(test)
    if test.op == "eq":
        return _equal(test, test.value)
    if test.op == "contains":
        return _contains(test)
    if test.op == "prefix":
        return _prefix(test)
    return _ordered(test)


def _path(test: FieldTest) -> bytes:
    return tokens.path_of((test.field, *test.path))


def _fact(fact: str) -> Condition:
    return Match("facts", (fact,))


def _there(test: FieldTest) -> Condition:
    if test.field in _ALWAYS and not test.path:
        return ALL
    if test.field in KEYWORDS or test.field in NUMBERS or test.field in TIMES:
        return Present(test.field)
    return _fact(tokens.present(_path(test)))


def _member(test: FieldTest) -> Bounds:
    parts = [_equal(test, value) for value in test.value]
    matches = [part.upper for part in parts if isinstance(part.upper, Match)]
    if len(matches) == len(parts) > 1:
        values: Any = tuple(dict.fromkeys(match.values[0] for match in matches))
        return _sure(Match(matches[0].key, values))
    if test.field == "id":
        return _sure(_ids([value for value in test.value if isinstance(value, str)]))
    return Bounds(any_of(part.upper for part in parts), any_of(part.lower for part in parts))


def _equal(test: FieldTest, value: Any) -> Bounds:
    field = test.field
    if field == "id":
        return _sure(_ids([value] if isinstance(value, str) else []))
    if field == "namespace" or field in KEYWORDS:
        return _sure(Match(field, (value,)) if isinstance(value, str) else NOTHING)
    if field == "pinned":
        return _sure(Match(field, (truth(value),)) if isinstance(value, bool) else NOTHING)
    if field in NUMBERS or field in TIMES:
        return _compared(test, "eq", value)
    return _sure(_fact(tokens.equal(_path(test), value)))


def _ids(values: list[str]) -> Condition:
    known = tuple(dict.fromkeys(value for value in values if _is_id(value)))
    return Ids(known) if known else NOTHING


def _is_id(value: str) -> bool:
    try:
        return str(UUID(value)) == value
    except ValueError:
        return False


def _contains(test: FieldTest) -> Bounds:
    if test.field == "payload" and not test.path:
        return _sure(NOTHING)
    if test.field in ("tags", "derived_from"):
        return _sure(Match(test.field, (test.value,)) if isinstance(test.value, str) else NOTHING)
    return _sure(_fact(tokens.holds(_path(test), test.value)))


def _prefix(test: FieldTest) -> Bounds:
    value = test.value
    if not isinstance(value, str):
        return _sure(NOTHING)
    if test.field == "namespace":
        return _sure(Match("within", (value,)) if value else ALL)
    texts = _texts(test)
    return Bounds(texts, NOTHING if value else texts)


def _texts(test: FieldTest) -> Condition:
    """Return what has a text in the field, or at the path, of `test`."""
    if test.field in ("id", "namespace"):
        return ALL
    if test.field in KEYWORDS:
        return _there(test)
    if test.field == "payload":
        return _fact(tokens.is_text(_path(test)))
    return NOTHING


def _ordered(test: FieldTest) -> Bounds:
    value = test.value
    if isinstance(value, str):
        return _maybe(_texts(test))
    if test.field == "payload":
        return _number_below(test)
    if test.field not in NUMBERS and test.field not in TIMES:
        return _sure(NOTHING)
    return _compared(test, test.op, value)


def _number_below(test: FieldTest) -> Bounds:
    number = _number(test.field, test.value)
    if number is None:
        return _sure(NOTHING)
    path = tokens.is_number(_path(test))
    if abs(number) >= _EXACT:
        return _maybe(_fact(path))
    upper, lower = (Inside("numbers", (Match("path", (path,)), part)) for part in _near("value", test.op, number))
    return Bounds(upper, lower)


def _compared(test: FieldTest, op: str, value: object) -> Bounds:
    """Return the bounds of a test on one of our own numbers or times."""
    number = _number(test.field, value)
    if number is None:
        return _sure(NOTHING)
    if abs(number) >= _EXACT:
        return _maybe(_there(test))
    if test.field not in FRACTIONS:
        return _sure(_whole(test.field, op, number))
    if op == "eq":
        low, high = _around(number)
        return _maybe(Range(test.field, gte=low, lte=high))
    return Bounds(*_near(test.field, op, number))


def _around(number: float) -> tuple[float, float]:
    off = abs(number) * _OFF + _LEAST
    return number - off, number + off


def _near(key: str, op: str, number: float) -> tuple[Range, Range]:
    """Return the range of what passes at most, and of what passes for sure."""
    low, high = _around(number)
    if op in ("lt", "lte"):
        return Range(key, lt=high), Range(key, lt=low)
    return Range(key, gt=low), Range(key, gt=high)


def _whole(key: str, op: str, number: float) -> Condition:
    """Return the condition on a whole number; servers before 1.19 cut fractions off a bound, so it goes without."""
    up, down = math.ceil(number), math.floor(number)
    match op:
        case "eq":
            return Range(key, gte=up, lte=up) if up == down else NOTHING
        case "lt":
            return Range(key, lt=up)
        case "lte":
            return Range(key, lte=down)
        case "gt":
            return Range(key, gt=down)
        case _:
            return Range(key, gte=up)


def _number(field: str, value: object) -> float | None:
    """Return `value` as what is stored in `field`, None when it is of another type."""
    if isinstance(value, datetime):
        return micros(value) if field in TIMES else None
    if isinstance(value, bool) or not isinstance(value, int | float) or field in TIMES:
        return None
    return value
