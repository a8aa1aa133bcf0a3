"""Twins: the digest never separates memories that say the same, and the test decides field by field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfm_core.errors import InvalidInput
from sfm_core.model.filter import json_equal
from sfm_core.model.memory import Memory
from sfm_core.model.times import parse_time, time_text
from sfm_core.model.twins import digest, is_twin

NOON = datetime(2024, 5, 8, 12, tzinfo=UTC)


def memory(content: str | None = "Ada moved", **fields: Any) -> Memory:
    """Return a memory with the given fields."""
    return Memory(
        **{"id": "m", "occurred_at": NOON, "created_at": NOON, "updated_at": NOON, "content": content, **fields}
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text("ab", max_size=1), json_values, max_size=2), st.randoms())
def test_equal_payloads_have_equal_digests(payload: dict[str, Any], random: Any) -> None:
    """Numbers in their other form and keys in another order change nothing."""

    def other(value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
            return float(value)
        if isinstance(value, list):
            return [other(item) for item in value]
        if isinstance(value, dict):
            return {key: other(value[key]) for key in random.sample(sorted(value), len(value))}
        return value

    twin = other(payload)
    assert json_equal(payload, twin)
    assert digest(memory(payload=payload)) == digest(memory(payload=twin))
    assert is_twin(memory(payload=payload), frozenset(), memory(payload=twin))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"x": 1}, {"x": True}),
        ({"x": 0}, {"x": None}),
        ({"x": "1"}, {"x": 1}),
        ({"x": []}, {"x": {}}),
        ({}, {"x": None}),
    ],
)
def test_other_payloads_have_other_digests(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Values of different types are different."""
    assert digest(memory(payload=a)) != digest(memory(payload=b))
    assert not is_twin(memory(payload=a), frozenset(), memory(payload=b))


def test_numbers_beyond_the_machine_are_digested() -> None:
    """An integer of any size has a digest, equal to that of the equal float."""
    assert digest(memory(payload={"x": 2**80})) == digest(memory(payload={"x": float(2**80)}))
    assert len(digest(memory(payload={"x": 10**5000}))) == 16


def test_content_counts_and_the_rest_does_not() -> None:
    """The digest covers content and payload alone."""
    assert digest(memory("a")) != digest(memory("b"))
    assert digest(memory(None, payload={"a": 1})) != digest(memory("", payload={"a": 1}))
    assert digest(memory("a", author="x")) == digest(memory("a", author="y"))


def test_only_given_fields_are_compared() -> None:
    """A field that the caller left open may differ; one that was given must be equal; id and namespace never count."""
    stored = memory(author="Ada", tags=("x",), occurred_at=NOON, coordinate=(1.0, 2.0))
    new = memory(
        id="n", namespace="other", author="Bob", tags=("x",), occurred_at=NOON + timedelta(1), coordinate=(1, 2)
    )
    assert is_twin(new, frozenset({"content", "id", "namespace", "tags", "coordinate"}), stored)
    assert not is_twin(new, frozenset({"author"}), stored)
    assert not is_twin(new, frozenset({"occurred_at"}), stored)
    assert not is_twin(memory("other"), frozenset(), stored)


def test_a_number_never_equals_a_bool_in_a_twin() -> None:
    """Deep inside a payload as well."""
    assert not is_twin(memory(payload={"a": [{"b": 1}]}), frozenset({"payload"}), memory(payload={"a": [{"b": True}]}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-08", "2024-05-08T00:00:00.000000Z"),
        ("2024-05-08T12:30", "2024-05-08T12:30:00.000000Z"),
        ("2024-05-08 12:30:01", "2024-05-08T12:30:01.000000Z"),
        ("2024-05-08T12:30:01.5Z", "2024-05-08T12:30:01.500000Z"),
        ("2024-05-08t12:30:01,123456z", "2024-05-08T12:30:01.123456Z"),
        ("2024-05-08T12:30:01.123456789+02:00", "2024-05-08T10:30:01.123456Z"),
        ("2024-05-08T12:30:01-0530", "2024-05-08T18:00:01.000000Z"),
        ("2024-05-08T12:30:01+02", "2024-05-08T10:30:01.000000Z"),
    ],
)
def test_times_are_read_in_the_usual_forms(text: str, expected: str) -> None:
    """ISO 8601 with or without zone; without one it is UTC."""
    assert time_text(parse_time(text, "t")) == expected


@pytest.mark.parametrize(
    "value",
    ["", "soon", "2024", "2024-05", "2024-W19-3", "20240508", "2024-02-30", "2024-05-08T25:00", "2024-05-08x12:00", 5,
     None, True, "0001-01-01T00:00+02:00", "9999-12-31T23:59-02:00", "\uff12024-05-08", "2024-05-08\n"],
)  # fmt: skip
def test_what_is_no_time_is_refused(value: object) -> None:
    """Anything else, and instants outside the calendar, are a typed error."""
    with pytest.raises(InvalidInput, match="ISO 8601"):
        parse_time(value, "t")


def test_time_texts_sort_as_instants() -> None:
    """The written form has a fixed width, also for early years."""
    early, late = datetime(99, 1, 1, tzinfo=UTC), datetime(1999, 1, 1, microsecond=1, tzinfo=UTC)
    assert time_text(early) < time_text(late)
    assert msgspec.convert(time_text(late), datetime) == late
