"""The oracle itself: it hears of what must not be. No server is needed."""

from __future__ import annotations

import pytest

from tests.fault.agreement import disorder
from tests.fault.oracle import GONE, Oracle, Record, Write


@pytest.fixture
def oracle() -> Oracle:
    """An oracle that has seen nothing."""
    return Oracle("own")


@pytest.fixture
def record(oracle: Oracle) -> Record:
    """A memory that was created between 1 and 2, updated between 3 and 4, and deleted between 5 and 6."""
    made = oracle.add(oracle.namespaces[0], 0.0)
    made.begin((1, "one"), 1.0)
    made.acknowledged(Write("created", 1, 10, "one"), 2.0)
    made.begin((2, "two"), 3.0)
    made.acknowledged(Write("updated", 2, 11, "two"), 4.0)
    made.begin(GONE, 5.0)
    made.acknowledged(Write("deleted", 3, 12, None), 6.0)
    return made


def seen(record: Record, version: int, content: str) -> dict[str, object]:
    """Return a memory as an answer holds it."""
    return {"id": record.id, "version": version, "content": content}


@pytest.mark.parametrize(
    ("since", "until", "version", "content"),
    [(1.5, 1.6, 1, "one"), (2.0, 3.5, 1, "one"), (3.5, 3.6, 2, "two"), (4.5, 4.6, 2, "two"), (5.5, 9.0, 2, "two")],
)
def test_what_may_be_seen_is_no_violation(
    oracle: Oracle, record: Record, since: float, until: float, version: int, content: str
) -> None:
    """While a write is under way both states may be seen, and its effect from its sending on."""
    oracle.see(seen(record, version, content), since, until, "get")
    assert oracle.violations == []


@pytest.mark.parametrize(
    ("since", "until", "version", "content", "told"),
    [
        (4.1, 4.2, 1, "one", "wrong or stale"),
        (2.5, 2.6, 2, "two", "wrong or stale"),
        (4.5, 4.6, 2, "other", "wrong or stale"),
        (6.1, 6.2, 2, "two", "deleted memory recalled"),
    ],
)
def test_stale_wrong_and_deleted_answers_are_violations(
    oracle: Oracle, record: Record, since: float, until: float, version: int, content: str, told: str
) -> None:
    """A version that was replaced, one that nobody sent yet, another content, and what was acknowledged as deleted."""
    oracle.see(seen(record, version, content), since, until, "recall")
    assert told in oracle.violations[0]


def test_a_lost_memory_is_a_violation_between_its_acknowledgement_and_its_end(oracle: Oracle, record: Record) -> None:
    """Not there is right before and after, and while its first write is under way."""
    for since, until in ((0.1, 0.2), (1.5, 1.6), (5.5, 5.6), (7.0, 8.0)):
        oracle.see_none(record, since, until, "get")
    assert oracle.violations == []
    oracle.see_none(record, 2.5, 2.6, "get")
    assert "acknowledged memory not there" in oracle.violations[0]


def test_a_memory_that_nobody_wrote_is_a_violation(oracle: Oracle) -> None:
    """An unknown id in an answer."""
    oracle.see({"id": "other", "version": 1, "content": "x"}, 0.0, 1.0, "list")
    assert "unknown memory" in oracle.violations[0]


@pytest.mark.parametrize("sequences", [[], [1, 3, 7], [1, 3, 3, 7], [1, 3, 7, 3, 7, 9], [1, 1, 3, 1, 3, 7]])
def test_repeats_of_a_whole_are_in_order(sequences: list[int]) -> None:
    """A step back is followed by all that came after it before."""
    assert disorder(sequences) == []


@pytest.mark.parametrize("sequences", [[1, 7, 3], [1, 3, 7, 1, 7]])
def test_events_out_of_order_are_noticed(sequences: list[int]) -> None:
    """Something comes before what was written earlier, or a repeat leaves something out."""
    assert disorder(sequences) != []
