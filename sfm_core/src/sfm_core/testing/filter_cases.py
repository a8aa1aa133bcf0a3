"""The one table of filter cases: every backend with any ability to filter runs all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from msgspec import Struct

from sfm_core.model.filter import Filter, fields_of, parse_filter
from sfm_core.model.memory import Memory
from sfm_core.testing.build import at, memory

__all__ = ["FILTER_CASES", "FILTER_MEMORIES", "FilterCase", "wrong_answers"]


def _id(name: str) -> str:
    return str(uuid5(NAMESPACE_OID, name))


def _memory(name: str, **fields: Any) -> Memory:
    return memory(f"memory {name}", **{"id": _id(name), "namespace": "a", **fields})


FILTER_MEMORIES = {
    one.content.removeprefix("memory "): one
    for one in [
        _memory("plain"),
        _memory(
            "full",
            namespace="a/b",
            kind="semantic",
            payload={"city": "Rome", "n": 1, "deep": {"er": {"x": "y"}}, "list": [1, "1", True, None, {"k": [2]}]},
            coordinate=(1.0, 2.0),
            author="Ada",
            thread="t",
            position=3,
            importance=0.75,
            tags=("red", "x%"),
            source="app",
            pinned=True,
            valid_from=at(10),
            valid_to=at(20),
            expires_at=at(1_000_000),
            derived_from=(_id("plain"),),
            version=1,
        ),
        _memory("float", namespace="ab", payload={"city": "Romeo", "n": 1.0, "list": []}, author="ada", tags=("Red",)),
        _memory("text", namespace="a-b", payload={"city": "Rom_", "n": "1", "list": "red"}, position=0),
        _memory("true", namespace="A", payload={"city": None, "n": True, "a.b": {"c": 1}}, pinned=True),
        _memory("half", namespace="a/b/c", payload={"city": {"name": "Rome"}, "n": 0.5, "": 1, "a": {"b": 2}}),
        _memory("large", namespace="a/bc", payload={"city": ["Rome"], "n": 2**53 + 1, "é'\"": "é"}, author="Żoë"),
        _memory("negative", namespace="b", payload={"n": -3, "city": "rome", "deep": {"er": None}}, importance=0.0),
        _memory("null", namespace="a%", payload={"n": None, "deep": "er", "city": "\U0001f600"}, time=at(60)),
    ]
    if one.content is not None
}
_NAMES = {one.id: name for name, one in FILTER_MEMORIES.items()}
_ALL = frozenset(FILTER_MEMORIES)


class FilterCase(Struct, frozen=True):
    """A filter as callers write it, and the names of the memories of `FILTER_MEMORIES` that pass."""

    name: str
    json: Any
    expected: frozenset[str]

    @property
    def filter(self) -> Filter:
        """The parsed filter."""
        return parse_filter(self.json)

    def named(self, ids: Iterable[str]) -> frozenset[str]:
        """Return the names of ids."""
        return frozenset(_NAMES[id] for id in ids)


def _test(field: str, op: str, value: Any) -> dict[str, Any]:
    return {"field": field, "op": op, "value": value}


def _case(field: str, op: str, value: Any, *expected: str) -> FilterCase:
    return FilterCase(f"{field} {op} {value!r}"[:60], _test(field, op, value), frozenset(expected))


def _but(field: str, op: str, value: Any, *unexpected: str) -> FilterCase:
    return FilterCase(f"{field} {op} {value!r}"[:60], _test(field, op, value), _ALL - set(unexpected))


_CITY, _N = "payload.city", "payload.n"
_ROME = _test(_CITY, "eq", "Rome")
_ONE = _test(_N, "eq", 1)

_EQUALITY = [
    _case(_CITY, "eq", "Rome", "full"),
    _but(_CITY, "ne", "Rome", "full"),
    _case(_CITY, "eq", None, "true"),
    _but(_CITY, "ne", None, "true"),
    _case(_CITY, "eq", ["Rome"], "large"),
    _case(_CITY, "eq", {"name": "Rome"}, "half"),
    _case(_CITY, "eq", {"name": "Rome", "more": 1}),
    _case(_CITY, "eq", "\U0001f600", "null"),
    _case(_CITY, "eq", ""),
    _case(_N, "eq", 1, "full", "float"),
    _case(_N, "eq", 1.0, "full", "float"),
    _case(_N, "eq", True, "true"),
    _case(_N, "eq", "1", "text"),
    _case(_N, "eq", 0),
    _case(_N, "eq", False),
    _case(_N, "eq", None, "null"),
    _case(_N, "eq", 2**53 + 1, "large"),
    _case(_N, "eq", 2**53),
    _but(_N, "ne", 1, "full", "float"),
    _but(_N, "ne", True, "true"),
    _but("payload.nowhere", "ne", 1),
    _case("payload.nowhere", "eq", None),
    _case("payload.list", "eq", [1, "1", True, None, {"k": [2]}], "full"),
    _case("payload.list", "eq", [1.0, "1", True, None, {"k": [2.0]}], "full"),
    _case("payload.list", "eq", [True, "1", 1, None, {"k": [2]}]),
    _case("payload.list", "eq", [], "float"),
    _case("payload", "eq", {}, "plain"),
    _case("payload", "eq", {"list": [], "n": 1, "city": "Romeo"}, "float"),
]

_MEMBERSHIP = [
    _case(_CITY, "in", ["Rome", "rome", "Paris"], "full", "negative"),
    _case(_CITY, "in", []),
    FilterCase("nin of nothing passes all", _test(_CITY, "nin", []), _ALL),
    _but(_CITY, "nin", ["Rome", None], "full", "true"),
    _case(_N, "in", [1, "1"], "full", "float", "text"),
    _case(_N, "in", [True, 0.5], "true", "half"),
    _but(_N, "nin", [1, True], "full", "float", "true"),
    _case(_CITY, "in", [["Rome"], {"name": "Rome"}], "large", "half"),
    _case("author", "in", ["Ada", "Żoë"], "full", "large"),
    _but("author", "nin", ["Ada"], "full"),
    _case("kind", "in", ["semantic", "procedural"], "full"),
    _case("id", "in", [_id("plain"), _id("null"), "no id"], "plain", "null"),
]

_ORDERING = [
    _case(_N, "gt", 0.5, "full", "float", "large"),
    _case(_N, "gte", 0.5, "full", "float", "half", "large"),
    _case(_N, "lt", 1, "half", "negative"),
    _case(_N, "lte", 1.0, "full", "float", "half", "negative"),
    _case(_N, "gt", 2**53, "large"),
    _case(_N, "gte", "0", "text"),
    _case(_N, "lt", "2", "text"),
    _case(_N, "gt", True),
    _case(_N, "lte", None),
    _case(_N, "lt", [9]),
    _case(_CITY, "gt", "Rome", "float", "negative", "null"),
    _case(_CITY, "gte", "Rome", "full", "float", "negative", "null"),
    _case(_CITY, "lt", "Rome", "text"),
    _case(_CITY, "gt", "\uffff", "null"),
    _case("importance", "gte", 0.75, "full"),
    _case("importance", "lt", 0.5, "negative"),
    _case("position", "gte", 0, "full", "text"),
    _case("position", "lt", 3, "text"),
    _case("position", "lt", 0.5, "text"),
    _case("position", "lte", 2.5, "text"),
    _case("position", "gt", 2.5, "full"),
    _case("position", "gte", 3.5),
    _case("position", "gt", -0.5, "full", "text"),
    _but("version", "lte", 1),
    _case("author", "gt", "Ada", "float", "large"),
    _case("pinned", "gt", False),
]

_EXISTENCE = [
    _case("author", "exists", True, "full", "float", "large"),
    _but("author", "exists", False, "full", "float", "large"),
    _but("payload", "exists", True),
    _case("payload.deep.er", "exists", True, "full", "negative"),
    _case("payload.deep.er.x", "exists", True, "full"),
    _but("payload.deep.er.x", "exists", False, "full"),
    _but(_N, "exists", True, "plain"),
    _case("coordinate", "exists", True, "full"),
    _but("content", "exists", True),
    _but("tags", "exists", True),
    _case("author", "eq", None),
    _but("author", "ne", None),
    _but("author", "ne", "Ada", "full"),
]

_TEXTS_AND_LISTS = [
    _case("tags", "contains", "red", "full"),
    _case("tags", "contains", "x%", "full"),
    _case("tags", "contains", "x"),
    _case("tags", "contains", 1),
    _case("payload.list", "contains", 1, "full"),
    _case("payload.list", "contains", True, "full"),
    _case("payload.list", "contains", None, "full"),
    _case("payload.list", "contains", {"k": [2]}, "full"),
    _case("payload.list", "contains", "red"),
    _case("payload.list", "contains", 2),
    _case(_CITY, "contains", "Rome", "large"),
    _case("content", "contains", "memory"),
    _case("derived_from", "contains", _id("plain"), "full"),
    _case("coordinate", "contains", 2, "full"),
    _case("coordinate", "eq", [1, 2], "full"),
    _but("coordinate", "ne", [1, 2], "full"),
    _case(_CITY, "prefix", "Rom", "full", "float", "text"),
    _case(_CITY, "prefix", "Rom_", "text"),
    _case(_CITY, "prefix", "", "full", "float", "text", "negative", "null"),
    _case("tags", "prefix", "re"),
    _case(_N, "prefix", "1", "text"),
    _case(_N, "prefix", 1),
    _case("content", "prefix", "memory pl", "plain"),
    _case("author", "prefix", "A", "full"),
    _case("author", "prefix", "Ż", "large"),
    _case("namespace", "prefix", "a", "plain", "full", "half", "large"),
    _case("namespace", "prefix", "a/b", "full", "half"),
    _case("namespace", "prefix", "a/"),
    _but("namespace", "prefix", ""),
    _case("namespace", "prefix", "a%", "null"),
    _case("namespace", "eq", "a", "plain"),
    _case("namespace", "in", ["A", "a-b"], "true", "text"),
]

_OWN_FIELDS = [
    _case("kind", "eq", "semantic", "full"),
    _but("kind", "ne", "semantic", "full"),
    _case("content", "eq", "memory half", "half"),
    _case("thread", "eq", "t", "full"),
    _case("source", "eq", "app", "full"),
    _case("pinned", "eq", True, "full", "true"),
    _case("pinned", "eq", 1),
    _but("pinned", "ne", True, "full", "true"),
    _case("importance", "eq", 0, "negative"),
    _case("position", "eq", 3.0, "full"),
    _case("position", "eq", 3.5),
    _case("tags", "eq", ["red", "x%"], "full"),
    _but("version", "eq", 1),
    _case("created_at", "eq", "2026-03-01T12:01:00Z", "null"),
    _case("created_at", "gt", "2026-03-01T12:00:59.999999Z", "null"),
    _but("occurred_at", "lt", "2026-03-01T13:01:00+01:00", "null"),
    _case("occurred_at", "gte", "2026-03-01T12:01", "null"),
    _case("valid_from", "lte", "2026-03-01T12:00:10", "full"),
    _case("valid_from", "lt", "2026-03-01T12:00:10"),
    _case("valid_to", "exists", True, "full"),
    _case("expires_at", "gt", "2026-03-01", "full"),
    _case("updated_at", "in", ["2026-03-01T12:01:00Z"], "null"),
    _but("updated_at", "ne", "2026-03-01T12:01:00Z", "null"),
]

_PATHS = [
    _case("payload.deep.er.x", "eq", "y", "full"),
    _case("payload.deep", "eq", {"er": {"x": "y"}}, "full"),
    _case("payload.deep.er", "eq", None, "negative"),
    _case(r"payload.a\.b.c", "eq", 1, "true"),
    _case("payload.a.b", "eq", 2, "half"),
    _case("payload.", "eq", 1, "half"),
    _case("payload.é'\"", "eq", "é", "large"),
    _case("payload.list.0", "eq", 1),
    _case("payload.list.0", "exists", True),
]

_TREES = [
    FilterCase("an empty and passes all", {"and": []}, _ALL),
    FilterCase("an empty or passes nothing", {"or": []}, frozenset()),
    FilterCase("not of an empty or passes all", {"not": {"or": []}}, _ALL),
    FilterCase("and", {"and": [_ROME, _ONE]}, frozenset({"full"})),
    FilterCase("or", {"or": [_ROME, _ONE]}, frozenset({"full", "float"})),
    FilterCase("not", {"not": _ROME}, _ALL - {"full"}),
    FilterCase("not of a missing field", {"not": _test("author", "eq", "Ada")}, _ALL - {"full"}),
    FilterCase("not of mixed types", {"not": _test(_N, "lt", 1)}, _ALL - {"half", "negative"}),
    FilterCase("not not", {"not": {"not": _ROME}}, frozenset({"full"})),
    FilterCase(
        "a tree",
        {"or": [{"and": [_test(_N, "exists", True), {"not": _ONE}, _test("pinned", "eq", False)]}, _ROME]},
        frozenset({"full", "text", "half", "large", "negative", "null"}),
    ),
    FilterCase("deep", {"not": {"and": [{"or": [{"not": {"and": [_ROME]}}]}]}}, frozenset({"full"})),
]

FILTER_CASES: tuple[FilterCase, ...] = (
    *_EQUALITY,
    *_MEMBERSHIP,
    *_ORDERING,
    *_EXISTENCE,
    *_TEXTS_AND_LISTS,
    *_OWN_FIELDS,
    *_PATHS,
    *_TREES,
)
"""Memories are judged at `NOW`; none of them is expired or deleted."""


async def wrong_answers(
    ask: Callable[[Filter], Awaitable[Iterable[str]]], *, without: frozenset[str] = frozenset()
) -> dict[str, str]:
    """Run the table: return the cases for which `ask` names other ids than it should, and what it named.

    Args:
        ask: returns the ids of the memories that pass.
        without: cases that test one of these fields are left out.
    """
    wrong: dict[str, str] = {}
    for case in FILTER_CASES:
        if without & fields_of(case.filter):
            continue
        found = case.named(await ask(case.filter))
        if found != case.expected:
            wrong[case.name] = f"expected {sorted(case.expected)}, got {sorted(found)}"
    return wrong
