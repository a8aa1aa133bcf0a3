"""Filters and texts against the reference, on odd values."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfm_core.model.filter import OPS, Filter, matches, parse_filter
from sfm_core.model.memory import Memory
from sfm_core.testing.build import at, memory
from sfm_postgres.adapt import escape, escape_json, unescape, unescape_json
from sfm_postgres.config import PostgresConfig
from sfm_postgres.database import Database, open_database
from sfm_postgres.filters import canonical_json, columns_of, compile_filter

TEXTS = st.text(st.sampled_from("ab\x00\x01\x02\x7fA_%'\"\\é😀\uffff{},"), max_size=4)
NUMBERS = st.sampled_from(
    [
        0,
        1,
        -1,
        1.0,
        0.1,
        -0.0,
        2**53,
        2**53 + 1,
        float(2**53),
        1e23,
        10**23,
        1e308,
        5e-324,
        10**500,
        -(10**500),
        2**63,
        0.5,
    ]
)
STORABLE = st.sampled_from(
    [0, 1, -1, 1.0, 0.1, -0.0, 2**53, 2**53 + 1, float(2**53), 1e23, 1e308, 5e-324, 2**63 - 1, 0.5]
)


def values(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return JSON values."""
    plain = st.none() | st.booleans() | numbers | TEXTS
    return st.recursive(
        plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=2), max_leaves=5
    )


KEYS = st.sampled_from(["a", "b", "", "0", "a.b", "\x00", "é'\"", "%s", "{s}"])
FIELDS = st.lists(KEYS, min_size=1, max_size=2).map(
    lambda keys: ".".join(["payload", *(k.replace(".", "\\.") for k in keys)])
) | st.sampled_from(["payload", "author", "importance", "position", "tags", "coordinate", "pinned", "namespace", "id"])


@st.composite
def filters(draw: st.DrawFn) -> Filter:
    """Return a filter of one to three tests."""

    def one() -> dict[str, Any]:
        op = draw(st.sampled_from(OPS))
        value: Any = draw(values(NUMBERS))
        if op == "exists":
            value = draw(st.booleans())
        elif op in ("in", "nin"):
            value = draw(st.lists(values(NUMBERS), max_size=3))
        test = {"field": draw(FIELDS), "op": op, "value": value}
        return {"not": test} if draw(st.booleans()) else test

    tests = [one() for _ in range(draw(st.integers(1, 3)))]
    return parse_filter({draw(st.sampled_from(["and", "or"])): tests})


@st.composite
def memories(draw: st.DrawFn) -> Memory:
    """Return a memory with an odd payload."""
    return memory(
        draw(TEXTS),
        payload=draw(st.dictionaries(KEYS, values(STORABLE), max_size=3)),
        author=draw(st.none() | TEXTS),
        position=draw(st.none() | st.integers(0, 3)),
        importance=draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])),
        tags=tuple(draw(st.lists(TEXTS, max_size=2))),
        coordinate=draw(st.none() | st.just((1.0, 2.0)) | st.just((0.1,))),
        pinned=draw(st.booleans()),
        expires_at=draw(st.none() | st.just(at(5))),
    )


_ROW = """SELECT ({0}) IS TRUE FROM (SELECT %s::uuid AS id, %s::text AS namespace, %s::text AS content, %s::jsonb AS payload,
    %s::float8[] AS coordinate, %s::text AS author, %s::bigint AS position, %s::float8 AS importance, %s::text[] AS tags,
    %s::boolean AS pinned) m"""


async def passes(database: Database, filter: Filter, one: Memory) -> bool:
    """Ask the server."""
    sql, wanted = compile_filter(filter, columns_of("m"))
    row = [
        one.id,
        one.namespace,
        escape(one.content or ""),
        canonical_json(one.payload) if one.payload else None,
        list(one.coordinate) if one.coordinate is not None else None,
        escape(one.author) if one.author is not None else None,
        one.position,
        one.importance,
        [escape(tag) for tag in one.tags],
        one.pinned,
    ]
    [(found,)] = await database.rows(_ROW.replace("{0}", sql), [*wanted, *row])
    return bool(found)


@pytest.fixture
async def database(config: PostgresConfig) -> AsyncIterator[Database]:
    """An open database."""
    async with open_database(config, "postgres/storage") as database:
        yield database


@settings(
    max_examples=150,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.differing_executors],
)
@given(filter=filters(), one=memories())
async def test_a_filter_means_on_the_server_what_it_means_in_python(
    database: Database, filter: Filter, one: Memory
) -> None:
    """Missing fields, mixed types, odd keys, numbers at the edges of doubles, and all of it negated."""
    assert await passes(database, filter, one) == matches(filter, one)


@given(one=TEXTS, other=TEXTS)
def test_escaping_keeps_order_equality_and_prefixes(one: str, other: str) -> None:
    """NUL goes, everything else about texts stays."""
    assert unescape(escape(one)) == one
    assert "\x00" not in escape(one)
    assert (escape(one) < escape(other)) == (one < other)
    assert escape(one).startswith(escape(other)) == one.startswith(other)


@given(value=values(STORABLE))
def test_escaped_json_comes_back(value: Any) -> None:
    """Keys and texts, however deep."""
    assert unescape_json(escape_json(value)) == value
