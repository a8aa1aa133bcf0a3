"""Filters in SQL mean what the reference evaluator means."""

from __future__ import annotations

import contextlib
import string
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sfm_core.errors import InvalidInput
from sfm_core.model.filter import FIELD_TYPES, OPS, Filter, matches, parse_filter
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import ALL, Scope
from sfm_core.ports.storage import Order
from sfm_core.testing.build import NOW, memory, new_id, put, replacing, store
from sfm_sqlite.storage import SqliteStorage

TEXTS = [
    "",
    "a",
    "A",
    "ab",
    "naïve",
    "\u00e9",
    "\U0001f600",
    "a\0b",
    "a%",
    "_",
    "1",
    "true",
    "null",
    "Rome",
    "a.b",
    '"',
    "\\",
]
NUMBERS: list[Any] = [0, 1, -1, 1.0, 0.1, 1e-320, 2.5, 2**53, 2**53 + 1, 2**63, -(2**63), 10**30, 1e300, 0.1 + 0.2]
KEYS = ["a", "b", "a.b", "", '"', "é", "k k", "\\", "0", "a[0]"]

scalars = st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), st.sampled_from(TEXTS))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)),
    max_leaves=5,
)
payloads = st.dictionaries(st.sampled_from(KEYS), values, max_size=4)
times = st.sampled_from([NOW, NOW + timedelta(microseconds=1), NOW - timedelta(days=40_000)])
memories = st.builds(
    memory,
    st.one_of(st.none(), st.sampled_from(TEXTS)),
    namespace=st.sampled_from(["a", "a/b", "ab", "A", "a-b"]),
    kind=st.sampled_from(["episodic", "semantic", "procedural"]),
    payload=payloads,
    coordinate=st.one_of(st.none(), st.lists(st.sampled_from([0.0, 1.0, 0.1]), min_size=1, max_size=3).map(tuple)),
    author=st.one_of(st.none(), st.sampled_from(TEXTS)),
    thread=st.one_of(st.none(), st.sampled_from(TEXTS)),
    position=st.one_of(st.none(), st.integers(0, 3)),
    importance=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    tags=st.lists(st.sampled_from(TEXTS), max_size=3, unique=True).map(tuple),
    source=st.one_of(st.none(), st.sampled_from(TEXTS)),
    pinned=st.booleans(),
    time=times,
    valid_from=st.one_of(st.none(), times),
)


@st.composite
def field_tests(draw: st.DrawFn) -> dict[str, Any]:
    field = draw(st.sampled_from(sorted(FIELD_TYPES)))
    if field == "payload" and draw(st.booleans()):
        keys = draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=2))
        field = ".".join(("payload", *(key.replace(".", "\\.") for key in keys)))
    op = draw(st.sampled_from(OPS))
    value: Any = draw(values)
    if op == "exists":
        value = draw(st.booleans())
    elif op in ("in", "nin"):
        value = draw(st.lists(values, max_size=3))
    elif FIELD_TYPES.get(field) == "time":
        value = draw(st.sampled_from(["2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000001Z", "1900-01-01"]))
    return {"field": field, "op": op, "value": value}


filters = st.recursive(
    field_tests(),
    lambda inner: st.one_of(
        st.builds(lambda parts: {"and": parts}, st.lists(inner, max_size=3)),
        st.builds(lambda parts: {"or": parts}, st.lists(inner, max_size=3)),
        st.builds(lambda part: {"not": part}, inner),
    ),
    max_leaves=4,
)
QUIET = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def inside(json: Any, root: str) -> Any:
    """Return the filter with the namespaces it names below `root`."""
    if isinstance(json, dict) and json.get("field") == "namespace" and isinstance(json["value"], str):
        return {**json, "value": f"{root}/{json['value']}"}
    if isinstance(json, dict) and "field" not in json:
        return {key: inside(part, root) for key, part in json.items()}
    return [inside(part, root) for part in json] if isinstance(json, list) else json


def parsed(asked: list[dict[str, Any]], root: str) -> Iterator[Filter]:
    """Return those filters that may be asked at all."""
    for json in asked:
        with contextlib.suppress(InvalidInput):
            yield parse_filter(inside(json, root))


@QUIET
@given(stored=st.lists(memories, min_size=1, max_size=5), asked=st.lists(filters, min_size=1, max_size=8))
async def test_a_compiled_filter_passes_what_the_reference_passes(
    storage: SqliteStorage, stored: list[Memory], asked: list[dict[str, Any]]
) -> None:
    """In matching and in lists of the past, over all fields, operators and kinds of value."""
    root = new_id()
    then, later = NOW + timedelta(seconds=1), NOW + timedelta(days=1)
    places = {one.coordinate for one in stored}
    kept = await store(
        storage,
        *(
            put(replace(one, namespace=f"{root}/{one.namespace}"), dedupe=False)
            for one in stored
            if one.coordinate is None or len(places) == len(stored)
        ),
    )
    scope = Scope(root, subtree=True)
    for filter in parsed(asked, root):
        present = await storage.matching(scope, filter=filter, limit=99, now=then)
        assert sorted(present) == sorted(one.id for one in kept if matches(filter, one)), filter
    newer = await store(storage, *(replacing(one, time=later, content="later", payload={}) for one in kept))
    for filter in parsed(asked, root):
        for moment, versions in ((then, kept), (later, newer)):
            page = await storage.list(
                scope, filter=filter, order=Order.CREATED_AT, limit=99, after=None, now=later, as_of=moment
            )
            expected = sorted(one.id for one in versions if matches(filter, one))
            assert sorted(one.id for one in page.memories) == expected, filter


async def test_a_long_list_of_values_is_compared_like_a_short_one(storage: SqliteStorage) -> None:
    """Beyond what is written out in SQL."""
    kept = await store(storage, *(put(letter, author=letter) for letter in string.ascii_lowercase))
    many = [*(f"x{n}" for n in range(500)), "c", "m"]
    for op, expected in (("in", 2), ("nin", 24)):
        filter = parse_filter({"field": "author", "op": op, "value": many})
        assert len(await storage.matching(ALL, filter=filter, limit=99, now=NOW)) == expected
    ids = parse_filter({"field": "id", "op": "in", "value": [one.id for one in kept[:3]]})
    assert len(await storage.matching(ALL, filter=ids, limit=99, now=NOW)) == 3
