"""From decoded JSON to a `RecallQuery`: unknown fields and wrong types are refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from sfm_core.errors import InvalidInput, LimitExceeded, Problem
from sfm_core.model.filter import parse_filter
from sfm_core.model.memory import Kind
from sfm_core.model.query import Prefer, RecallQuery
from sfm_core.services.checks import (
    check_bool,
    check_count,
    check_number,
    check_one_of,
    check_text,
    check_time,
    check_vector,
)
from sfm_core.services.limits import Limits

__all__ = ["read_queries", "read_query"]

_FIELDS = RecallQuery.__struct_fields__
_KINDS: tuple[str, ...] = get_args(Kind)
_PREFER: tuple[str, ...] = get_args(Prefer)


def read_query(
    item: Mapping[str, object], limits: Limits, *, prefix: str = "", required: str | None = None
) -> RecallQuery:
    """Return the query that `item` describes; a field given as null counts as not given, save `required`.

    Raises:
        InvalidInput: naming every refused field, after `prefix`.
    """
    if not isinstance(item, Mapping):
        raise InvalidInput.of(prefix.rstrip(".") or "body", item, "a JSON object")
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for field, value in item.items():
        if field not in _FIELDS:
            problems.append(Problem(f"{prefix}{field}", "an unknown field", f"one of {', '.join(_FIELDS)}"))
        elif value is not None or field == required:
            try:
                values[field] = _value(field, value, limits, prefix + field)
            except InvalidInput as error:
                problems += error.problems
    given = [field for field in ("query", "vector") if item.get(field) is not None or field == required]
    if len(given) != 1:
        problems.append(Problem(f"{prefix}query", " and ".join(given) or "neither", "exactly one of query and vector"))
    if problems:
        raise InvalidInput(problems)
    return RecallQuery(**values)


def _value(field: str, value: object, limits: Limits, name: str) -> object:
    match field:
        case "query":
            return check_text(value, name, longest=limits.query_bytes, unit="bytes")
        case "vector":
            return check_vector(value, name)
        case "k":
            return check_count(value, name, low=1, high=limits.k)
        case "filter":
            return parse_filter(value, depth=limits.filter_depth, tests=limits.filter_tests, field=name)
        case "kinds":
            return _kinds(value, name)
        case "as_of":
            return check_time(value, name)
        case "deadline_ms":
            return check_number(value, name, above=0)
        case "explain":
            return check_bool(value, name)
        case "prefer":
            return check_one_of(value, name, _PREFER)
        case "expand_links":
            return check_count(value, name, low=0, high=3)
        case "min_score":
            return check_number(value, name, low=0, high=1)
        case "min_sequence":
            return check_count(value, name, low=0)
        case _:
            return check_text(value, name, longest=limits.text_length + len("/**"))


def _kinds(value: object, name: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise InvalidInput.of(name, value, f"a list of {', '.join(_KINDS)}")
    return tuple(check_one_of(kind, f"{name}.{i}", _KINDS) for i, kind in enumerate(value))


def read_queries(items: object, limits: Limits) -> list[RecallQuery]:
    """Return the queries of a batch of at most `Limits.recall_batch`.

    Raises:
        InvalidInput: fields are prefixed by `queries.<n>.`.
    """
    if not isinstance(items, list | tuple):
        raise InvalidInput.of("queries", items, "a list of queries")
    if len(items) > limits.recall_batch:
        raise LimitExceeded([Problem("queries", f"{len(items)} items", f"at most {limits.recall_batch}")])
    return [read_query(item, limits, prefix=f"queries.{n}.") for n, item in enumerate(items)]
