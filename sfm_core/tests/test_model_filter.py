"""The filter language: every line of its description, and the laws that hold for all filters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfm_core.errors import InvalidInput, LimitExceeded
from sfm_core.model.filter import (
    FIELD_TYPES,
    OPS,
    And,
    FieldTest,
    Filter,
    Not,
    Or,
    all_of,
    field_name,
    fields_of,
    json_equal,
    matches,
    parse_filter,
    to_json,
)
from sfm_core.model.memory import Memory

NOON = datetime(2024, 5, 8, 12, tzinfo=UTC)
MEMORY = Memory(
    id="0190a5d2-0000-7000-8000-000000000001",
    namespace="acme/agent-7",
    content="Ada moved to Turin",
    author="Ada",
    position=3,
    importance=0.5,
    tags=("move", "city"),
    coordinate=(1.0, 2.0),
    occurred_at=NOON,
    created_at=NOON,
    updated_at=NOON,
    version=2,
    payload={
        "city": "Turin",
        "a.b": "dotted",
        "a": {"b": "nested", "list": [1, "x", None, {"k": 1.0}]},
        "n": 1,
        "f": 1.5,
        "t": True,
        "null": None,
        "empty": "",
        "o": {"y": [1, 2.0], "x": False},
        "": "nameless",
        "back\\slash": 1,
    },
)


def passes(field: str, op: str, value: object) -> bool:
    """Evaluate one test on the sample memory."""
    return matches(parse_filter({"field": field, "op": op, "value": value}), MEMORY)


CASES: list[tuple[str, str, object, bool]] = [
    # eq and ne: deep JSON equality; 1 == 1.0; true is not 1
    ("payload.n", "eq", 1, True),
    ("payload.n", "eq", 1.0, True),
    ("payload.n", "eq", True, False),
    ("payload.n", "ne", True, True),
    ("payload.t", "eq", True, True),
    ("payload.t", "eq", 1, False),
    ("payload.t", "ne", 1, True),
    ("payload.o", "eq", {"x": False, "y": [1.0, 2]}, True),
    ("payload.o", "eq", {"x": 0, "y": [1.0, 2]}, False),
    ("payload.o", "eq", {"y": [1, 2]}, False),
    ("payload.o.y", "eq", [1, 2], True),
    ("payload.o.y", "eq", [2, 1], False),
    ("payload.o.y", "ne", [2, 1], True),
    ("payload", "eq", {}, False),
    ("payload", "exists", True, True),
    ("coordinate", "eq", [1, 2], True),
    ("tags", "eq", ["move", "city"], True),
    ("tags", "eq", ["city", "move"], False),
    ("pinned", "eq", False, True),
    ("pinned", "eq", 0, False),
    ("version", "eq", 2.0, True),
    ("kind", "eq", "episodic", True),
    ("content", "eq", "ada moved to turin", False),
    # between types: false, and ne, nin true
    ("payload.n", "eq", "1", False),
    ("payload.n", "lt", "2", False),
    ("payload.n", "gte", "0", False),
    ("payload.city", "lt", 99, False),
    ("payload.t", "lt", 2, False),
    ("payload.n", "lt", True, False),
    ("payload.null", "lt", 1, False),
    ("payload.null", "lte", None, False),
    ("payload.o", "lt", {"z": 1}, False),
    ("payload.o.y", "gte", [0], False),
    ("payload.n", "contains", 1, False),
    ("payload.n", "prefix", "1", False),
    ("payload.city", "prefix", 1, False),
    ("payload.n", "in", ["1", True], False),
    ("payload.n", "nin", ["1", True], True),
    ("author", "ne", 7, True),
    ("author", "eq", None, False),
    # a missing field passes only exists false, ne and nin
    *[("payload.none", op, "x", op == "ne") for op in OPS if op not in ("exists", "in", "nin")],
    ("payload.none", "in", ["x", None], False),
    ("payload.none", "nin", ["x", None], True),
    ("payload.none", "exists", False, True),
    ("payload.none", "exists", True, False),
    ("payload.none", "eq", None, False),
    ("payload.none", "ne", None, True),
    *[("thread", op, "x", op == "ne") for op in OPS if op not in ("exists", "in", "nin")],
    ("thread", "in", [None], False),
    ("thread", "nin", [None], True),
    ("thread", "exists", False, True),
    ("thread", "exists", True, False),
    ("valid_to", "exists", False, True),
    ("valid_to", "lt", "2030-01-01", False),
    ("valid_to", "ne", "2030-01-01", True),
    ("payload.city.x", "exists", False, True),
    ("payload.a.list.0", "exists", False, True),
    # a payload null is a value of its own type
    ("payload.null", "exists", True, True),
    ("payload.null", "eq", None, True),
    ("payload.null", "ne", None, False),
    ("payload.null", "in", [None], True),
    ("payload.null", "nin", [None], False),
    ("payload.null", "eq", 0, False),
    ("payload.null", "eq", "", False),
    # order: numbers, texts by code point, instants
    ("payload.n", "lt", 1.5, True),
    ("payload.n", "lt", 1, False),
    ("payload.n", "lte", 1.0, True),
    ("payload.f", "gt", 1, True),
    ("payload.f", "gte", 1.5, True),
    ("payload.city", "lt", "Turio", True),
    ("payload.city", "gt", "TURIN", True),
    ("payload.city", "lt", "a", True),
    ("payload.empty", "lt", "a", True),
    ("importance", "gte", 0.5, True),
    ("position", "lt", 4, True),
    ("occurred_at", "lt", "2024-05-08T12:00:00.000001Z", True),
    ("occurred_at", "lte", "2024-05-08T14:00:00+02:00", True),
    ("occurred_at", "gt", "2024-05-08T14:00:00+02:00", False),
    ("occurred_at", "gte", "2024-05-08T12:00:00", True),
    ("occurred_at", "gte", "2024-05-08", True),
    ("occurred_at", "eq", "2024-05-08T14:00:00+02:00", True),
    ("occurred_at", "ne", "2024-05-08T12:00:00Z", False),
    ("occurred_at", "in", ["2023-01-01", "2024-05-08 12:00"], True),
    ("occurred_at", "nin", ["2024-05-08T12:00:00Z"], False),
    ("occurred_at", "eq", 5, False),
    ("occurred_at", "prefix", "2024", False),
    ("occurred_at", "contains", "2024", False),
    # contains: a list that holds the value; on text false
    ("tags", "contains", "city", True),
    ("tags", "contains", "cit", False),
    ("content", "contains", "Turin", False),
    ("payload.a.list", "contains", 1.0, True),
    ("payload.a.list", "contains", True, False),
    ("payload.a.list", "contains", None, True),
    ("payload.a.list", "contains", {"k": 1}, True),
    ("coordinate", "contains", 2, True),
    ("derived_from", "contains", "x", False),
    # prefix: text begins with; on namespace by whole segments
    ("payload.city", "prefix", "Tu", True),
    ("payload.city", "prefix", "tu", False),
    ("payload.city", "prefix", "", True),
    ("author", "prefix", "A%", False),
    ("namespace", "prefix", "acme", True),
    ("namespace", "prefix", "acme/agent-7", True),
    ("namespace", "prefix", "acme/agent", False),
    ("namespace", "prefix", "acm", False),
    ("namespace", "prefix", "acme/", False),
    ("namespace", "prefix", "", True),
    # in [] nothing, nin [] all
    ("payload.n", "in", [], False),
    ("payload.n", "nin", [], True),
    ("payload.none", "nin", [], True),
    ("payload.n", "in", [2, 1.0], True),
    ("author", "nin", ["Ada"], False),
    # paths
    ("payload.a.b", "eq", "nested", True),
    ("payload.a\\.b", "eq", "dotted", True),
    ("payload.", "eq", "nameless", True),
    ("payload.back\\slash", "eq", 1, True),
]


@pytest.mark.parametrize(("field", "op", "value", "expected"), CASES)
def test_a_test_means_what_the_description_says(field: str, op: str, value: object, expected: bool) -> None:
    """Each case is one statement of the filter's description."""
    assert passes(field, op, value) is expected


def test_empty_lists_of_filters_have_their_neutral_meaning() -> None:
    """An empty and takes everything, an empty or nothing; not turns a filter round."""
    assert matches(parse_filter({"and": []}), MEMORY)
    assert not matches(parse_filter({"or": []}), MEMORY)
    assert matches(parse_filter({"not": {"or": []}}), MEMORY)
    assert matches(None, MEMORY)


def test_a_negated_test_takes_what_the_test_leaves() -> None:
    """Not is plain negation, for missing fields too."""
    assert matches(parse_filter({"not": {"field": "thread", "op": "eq", "value": "x"}}), MEMORY)
    assert not matches(parse_filter({"not": {"field": "thread", "op": "ne", "value": "x"}}), MEMORY)


@pytest.mark.parametrize("name", sorted(FIELD_TYPES))
def test_every_own_field_can_be_asked_for(name: str) -> None:
    """Each field of a memory is known and exists exactly when it is not None."""
    assert passes(name, "exists", getattr(MEMORY, name) is not None)


def test_the_fields_are_those_of_the_memory() -> None:
    """A field added to the memory must be added to the filter as well."""
    assert set(FIELD_TYPES) == set(Memory.__struct_fields__)


REFUSED: list[tuple[object, str]] = [
    (None, "filter"),
    ([], "filter"),
    ("x", "filter"),
    ({}, "filter.field"),
    ({"and": {}}, "filter.and"),
    ({"or": "x"}, "filter.or"),
    ({"not": []}, "filter.not"),
    ({"and": [], "or": []}, "filter"),
    ({"not": {"and": []}, "field": "id"}, "filter"),
    ({"field": "id", "op": "eq"}, "filter.value"),
    ({"field": "id", "value": "eq"}, "filter.op"),
    ({"op": "eq", "value": "eq"}, "filter.field"),
    ({"field": "id", "op": "eq", "value": 1, "more": 1}, "filter.more"),
    ({"field": "nope", "op": "eq", "value": 1}, "filter.field"),
    ({"field": "author.x", "op": "eq", "value": 1}, "filter.field"),
    ({"field": "Author", "op": "eq", "value": 1}, "filter.field"),
    ({"field": 7, "op": "eq", "value": 1}, "filter.field"),
    ({"field": "payload.\ud800", "op": "eq", "value": 1}, "filter.field"),
    ({"field": "id", "op": "like", "value": 1}, "filter.op"),
    ({"field": "id", "op": ["eq"], "value": 1}, "filter.op"),
    ({"field": "id", "op": "exists", "value": 1}, "filter.value"),
    ({"field": "id", "op": "exists", "value": None}, "filter.value"),
    ({"field": "id", "op": "in", "value": "abc"}, "filter.value"),
    ({"field": "id", "op": "nin", "value": None}, "filter.value"),
    ({"field": "created_at", "op": "lt", "value": 5}, "filter.value"),
    ({"field": "created_at", "op": "gt", "value": "soon"}, "filter.value"),
    ({"field": "created_at", "op": "gte", "value": None}, "filter.value"),
    ({"field": "created_at", "op": "eq", "value": "2024-13-01"}, "filter.value"),
    ({"field": "created_at", "op": "in", "value": ["2024-01-01", "x"]}, "filter.value.1"),
    ({"field": "payload.x", "op": "eq", "value": float("nan")}, "filter.value"),
    ({"field": "payload.x", "op": "eq", "value": [float("inf")]}, "filter.value"),
    ({"field": "payload.x", "op": "eq", "value": "\udc00"}, "filter.value"),
    ({"field": "payload.x", "op": "eq", "value": object()}, "filter.value"),
    ({"field": "payload.x", "op": "eq", "value": {1: 2}}, "filter.value"),
    ({"field": "payload.x", "op": "eq", "value": NOON}, "filter.value"),
    ({"and": [{"and": []}, {"field": "id", "op": "like", "value": 1}]}, "filter.and.1.op"),
    ({"not": {"or": [{"field": "x", "op": "eq", "value": 1}]}}, "filter.not.or.0.field"),
]


@pytest.mark.parametrize(("value", "path"), REFUSED)
def test_a_wrong_filter_is_refused_by_its_path(value: object, path: str) -> None:
    """The problem names the dotted path of what is wrong."""
    with pytest.raises(InvalidInput) as caught:
        parse_filter(value)
    assert [problem.field for problem in caught.value.problems] == [path]


def test_errors_use_the_name_the_caller_knows() -> None:
    """The root of the path is what the caller calls the filter."""
    with pytest.raises(InvalidInput, match=r"queries\.3\.filter\.op"):
        parse_filter({"field": "id", "op": "x", "value": 1}, field="queries.3.filter")


def nested(levels: int) -> dict[str, Any]:
    """Return a filter of `levels` nested nots around one test."""
    inner: dict[str, Any] = {"field": "id", "op": "exists", "value": True}
    for _ in range(levels):
        inner = {"not": inner}
    return inner


def test_levels_and_tests_are_bounded() -> None:
    """The limit itself is allowed, one more is not."""
    test = {"field": "id", "op": "exists", "value": True}
    assert matches(parse_filter(nested(32)), MEMORY)
    with pytest.raises(LimitExceeded, match="32 levels"):
        parse_filter(nested(33))
    with pytest.raises(LimitExceeded, match="2 levels"):
        parse_filter(nested(3), depth=2)
    assert matches(parse_filter({"and": [test] * 256}), MEMORY)
    with pytest.raises(LimitExceeded, match="256 field tests"):
        parse_filter({"and": [test] * 257})
    with pytest.raises(LimitExceeded, match="1 field tests"):
        parse_filter({"or": [test, {"not": test}]}, tests=1)


def test_deep_values_are_refused_without_a_crash() -> None:
    """A value nested ten thousand deep is a typed error, not a recursion error."""
    value: list[Any] = []
    for _ in range(10_000):
        value = [value]
    with pytest.raises(LimitExceeded, match="64 levels"):
        parse_filter({"field": "payload.x", "op": "eq", "value": value})
    filter: dict[str, Any] = nested(10_000)
    with pytest.raises(LimitExceeded):
        parse_filter(filter)


def test_a_parsed_filter_does_not_change_with_the_callers_objects() -> None:
    """Values are copied."""
    value = {"y": [1, 2], "x": False}
    filter = parse_filter({"field": "payload.o", "op": "eq", "value": value})
    value["y"] = "other"
    assert matches(filter, MEMORY)


def test_datetimes_are_taken_on_time_fields() -> None:
    """In process a datetime may be given; without zone it is UTC."""
    for value in (NOON, NOON.replace(tzinfo=None), NOON.astimezone(timezone(timedelta(hours=5)))):
        assert passes("occurred_at", "eq", value)


def test_filters_are_checked_again_when_given_as_objects() -> None:
    """A hand-made tree is validated like JSON."""
    good = And((FieldTest("author", (), "eq", "Ada"), Not(Or(()))))
    assert parse_filter(good) == good
    with pytest.raises(InvalidInput):
        parse_filter(FieldTest("nope", (), "eq", "Ada"))


def test_all_of_joins_restrictions() -> None:
    """None is no restriction, one filter stays itself, more become an and."""
    a, b = FieldTest("id", (), "exists", True), FieldTest("thread", (), "exists", True)
    assert all_of() is None
    assert all_of(None, a) is a
    assert all_of(a, None, b) == And((a, b))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, -0.0, 2.0]) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.\\", max_size=2), inner, max_size=3),
    max_leaves=6,
)
times = st.integers(0, 10**9).map(lambda seconds: (NOON - timedelta(seconds=seconds)).isoformat())
paths = st.lists(st.text("ab.", min_size=1, max_size=2), min_size=1, max_size=2).map(
    lambda keys: ".".join(["payload", *(key.replace(".", "\\.") for key in keys)])
)


def _test(field: str, op: str, value: Any) -> dict[str, Any]:
    return {"field": field, "op": op, "value": value}


plain_fields = paths | st.sampled_from([name for name, kind in FIELD_TYPES.items() if kind != "time"])
time_fields = st.sampled_from([name for name, kind in FIELD_TYPES.items() if kind == "time"])
simple_ops = st.sampled_from([op for op in OPS if op not in ("in", "nin", "exists")])
filters = st.recursive(
    st.builds(_test, plain_fields, simple_ops, json_values)
    | st.builds(_test, plain_fields, st.sampled_from(["in", "nin"]), st.lists(json_values, max_size=3))
    | st.builds(_test, plain_fields | time_fields, st.just("exists"), st.booleans())
    | st.builds(_test, time_fields, st.sampled_from(["eq", "ne", "lt", "lte", "gt", "gte"]), times),
    lambda inner: (
        st.fixed_dictionaries({"not": inner})
        | st.fixed_dictionaries({"and": st.lists(inner, max_size=3)})
        | st.fixed_dictionaries({"or": st.lists(inner, max_size=3)})
    ),
    max_leaves=6,
)
memories = st.builds(
    lambda payload, author, tags: Memory(
        id="m", payload=payload, author=author, tags=tuple(tags), occurred_at=NOON, created_at=NOON, updated_at=NOON
    ),
    st.dictionaries(st.text("ab.", max_size=2), json_values, max_size=3),
    st.none() | st.text("ab", max_size=2),
    st.lists(st.text("ab", max_size=1), max_size=2, unique=True),
)


@settings(max_examples=150, deadline=None)
@given(filters, memories)
def test_every_filter_survives_its_json_form_and_has_a_complement(value: dict[str, Any], memory: Memory) -> None:
    """Parse, write and parse again gives the same filter; a filter or its negation passes, never both."""
    filter = parse_filter(value)
    assert parse_filter(to_json(filter)) == filter
    assert matches(filter, memory) is not matches(Not(filter), memory)


@settings(max_examples=150, deadline=None)
@given(plain_fields, st.lists(json_values, max_size=4), memories)
def test_operators_agree_with_each_other(field: str, values: list[Any], memory: Memory) -> None:
    """In is any eq, nin is not in, ne is not eq, and lte is lt or eq where an order exists."""

    def ask(op: str, value: Any) -> bool:
        return matches(parse_filter(_test(field, op, value)), memory)

    assert ask("in", values) is any(ask("eq", value) for value in values)
    assert ask("nin", values) is not ask("in", values)
    for value in values:
        assert ask("ne", value) is not ask("eq", value)
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            assert ask("lte", value) is (ask("lt", value) or ask("eq", value))
            assert ask("gte", value) is (ask("gt", value) or ask("eq", value))
        else:
            assert not any(ask(op, value) for op in ("lt", "lte", "gt", "gte"))


junk = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.sampled_from([*FIELD_TYPES, *OPS]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["and", "or", "not", "field", "op", "value", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(junk)
def test_junk_is_refused_with_a_typed_error_or_understood(value: object) -> None:
    """No input raises anything but InvalidInput, and what is accepted can be evaluated."""
    try:
        filter: Filter = parse_filter(value)
    except InvalidInput:
        return
    assert matches(filter, MEMORY) in (True, False)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=4).filter(lambda key: not key.endswith("\\")), min_size=1, max_size=3))
def test_every_key_can_be_reached(keys: list[str]) -> None:
    """A path written with escaped dots leads to its value, whatever the keys are."""
    payload: Any = 1
    for key in reversed(keys):
        payload = {key: payload}
    memory = Memory(id="m", payload=payload, occurred_at=NOON, created_at=NOON, updated_at=NOON)
    name = ".".join(["payload", *(key.replace(".", "\\.") for key in keys)])
    test = parse_filter(_test(name, "eq", 1))
    assert isinstance(test, FieldTest)
    assert test.path == tuple(keys)
    assert field_name(test) == name
    assert matches(test, memory)


@settings(max_examples=150, deadline=None)
@given(json_values, json_values, json_values)
def test_equality_is_an_equivalence(a: Any, b: Any, c: Any) -> None:
    """Reflexive, symmetric and transitive."""
    assert json_equal(a, a)
    assert json_equal(a, b) is json_equal(b, a)
    if json_equal(a, b) and json_equal(b, c):
        assert json_equal(a, c)


def test_a_filter_names_the_fields_that_it_tests() -> None:
    """Own fields, however deep they stand; a payload path is the payload."""
    tree = parse_filter(
        {
            "or": [
                {"not": {"and": [{"field": "tags", "op": "contains", "value": "x"}]}},
                {"field": "payload.a.b", "op": "eq", "value": 1},
            ]
        }
    )
    assert fields_of(tree) == {"tags", "payload"}
    assert fields_of(parse_filter({"and": []})) == fields_of(None) == frozenset()
