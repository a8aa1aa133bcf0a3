"""The score: each part, its weight, and that an explanation sums up to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfm_core.ports.storage import Candidate
from sfm_core.services.ranking import Evidence, Ranking, Signals, relative
from sfm_core.text.dates import EveryYear

NOON = datetime(2024, 5, 8, 12, tzinfo=UTC)


def candidate(id: str, **fields: Any) -> Candidate:
    """Return a candidate that nothing speaks for."""
    plain = {
        "version": 1, "namespace": "a", "author": None, "thread": None, "position": None, "occurred_at": NOON,
        "importance": 0.5, "created_at": NOON, "length": 0, "asks": 0.0, "time": False, "duration": False,
    }  # fmt: skip
    return Candidate(**{"id": id, **plain, **fields})


def scores(*candidates: Candidate, evidence: Evidence | None = None, **signals: Any) -> dict[str, float]:
    """Return the score of each candidate."""
    known = {c.id: c for c in candidates}
    return dict(Ranking(known, evidence or Evidence.of({}), Signals(**signals)).order())


def test_words_count_from_nothing_when_all_were_found() -> None:
    """The best hit has 1, half its raw score half of it."""
    assert Evidence.of({"a": 4.0, "b": 2.0}).near() == {"a": 1.0, "b": 0.5}


def test_words_count_from_the_worst_hit_when_there_were_more() -> None:
    """What was not handed over could have as much as the worst one: that is worth nothing."""
    assert Evidence.of({"a": 4.0, "b": 3.0, "c": 2.0}, more_words=True).near() == {"a": 1.0, "b": 0.5, "c": 0.0}
    assert Evidence.of({"a": 4.0, "b": 4.0}, more_words=True).near() == {"a": 1.0, "b": 1.0}
    assert Evidence.of({}, more_words=True).near() == {}


def test_cosines_count_from_the_worst_hit() -> None:
    """And 1.8 times."""
    assert Evidence.of({}, {"a": 0.9, "b": 0.4}).near() == pytest.approx({"a": 0.9, "b": 0.0})


def test_arms_add_up() -> None:
    """A memory that several arms found has the sum."""
    got = Evidence.of({"a": 2.0}, {"a": 0.5, "b": 0.0}, {"a": 0.25, "c": 0.5}).near()
    assert got == pytest.approx({"a": 1 + 0.9 + 0.25, "b": 0.0, "c": 0.5})


def test_neighbours_get_their_shares() -> None:
    """0.4 and 0.2 go to the next turns, 0.25 and 0.1 to the ones before."""
    hit = candidate("h", before=("b1", "b2"), after=("a1", "a2"))
    got = scores(hit, *map(candidate, ("b1", "b2", "a1", "a2")), evidence=Evidence.of({"h": 3.0}))
    assert got == pytest.approx({"h": 1.0, "a1": 0.4, "b1": 0.25, "a2": 0.2, "b2": 0.1})


def test_the_turn_after_a_question_gets_more() -> None:
    """What follows a question answers it."""
    got = scores(candidate("q", asks=1.0, after=("x",)), candidate("x"), evidence=Evidence.of({"q": 1.0}))
    assert got == pytest.approx({"q": 1.0 - 0.25, "x": 0.7})


def test_neighbours_that_are_no_candidates_are_left_out() -> None:
    """A neighbour that the filter dropped gets nothing and is not answered."""
    assert scores(candidate("h", before=("gone",)), evidence=Evidence.of({"h": 1.0})) == {"h": 1.0}


def test_evidence_without_a_candidate_is_left_out() -> None:
    """What is no longer live is no candidate."""
    assert scores(candidate("x"), evidence=Evidence.of({"gone": 2.0, "x": 1.0})) == {"x": 0.5}


def test_the_best_of_a_thread_lifts_all_of_it() -> None:
    """0.3 of it, in the same namespace only."""
    got = scores(
        candidate("h", thread="t"), candidate("x", thread="t"), candidate("y", thread="u"),
        candidate("z", thread="t", namespace="b"), evidence=Evidence.of({"h": 1.0}),
    )  # fmt: skip
    assert got == pytest.approx({"h": 1.3, "x": 0.3, "y": 0.0, "z": 0.0})


def test_the_named_author_is_lifted() -> None:
    """By 0.6; nobody is when nobody is named."""
    both = candidate("x", author="Ada"), candidate("y")
    assert scores(*both, authors=frozenset({"Ada"})) == pytest.approx({"x": 0.6, "y": 0.0})
    assert scores(*both) == {"x": 0.0, "y": 0.0}


def test_time_questions_lift_what_tells_time() -> None:
    """When wants a time; how long a duration, and half as much a time."""
    three = candidate("t", time=True), candidate("d", duration=True), candidate("x")
    assert scores(*three, intent="when") == pytest.approx({"t": 0.4, "d": 0.0, "x": 0.0})
    assert scores(*three, intent="long") == pytest.approx({"t": 0.2, "d": 0.4, "x": 0.0})


def test_named_dates_lift_what_occurred_then() -> None:
    """1.5 inside the period."""
    got = scores(candidate("x"), candidate("y", occurred_at=NOON - timedelta(days=180)), dates=(EveryYear(5),))
    assert got["x"] == pytest.approx(1.5)
    assert got["y"] < 0.01


def test_long_texts_gain_and_questions_lose_a_little() -> None:
    """0.1 of the logarithm of the length, -0.25 of the share of questions."""
    got = scores(candidate("x", length=9), candidate("y", asks=1.0))
    assert got == pytest.approx({"x": 0.1 * 2.302585, "y": -0.25})


def test_a_preference_only_breaks_near_ties() -> None:
    """It is at most 0.2, and nothing at all unless asked for."""
    old = candidate("old", occurred_at=NOON - timedelta(days=7), importance=1.0)
    new = candidate("new", importance=0.0)
    assert scores(old, new) == {"old": 0.0, "new": 0.0}
    assert scores(old, new, prefer="recent") == pytest.approx({"new": 0.2, "old": 0.1})
    assert scores(old, new, prefer="important") == pytest.approx({"old": 0.2, "new": 0.0})


def test_ties_are_broken_by_id() -> None:
    """The order is the same whatever the order of the candidates."""
    assert list(scores(candidate("b"), candidate("a"), candidate("c"))) == ["a", "b", "c"]


def test_relative_scores_lie_in_the_unit_interval() -> None:
    """The best has 1; nothing is negative."""
    assert (relative(2.0, 2.0), relative(1.0, 2.0), relative(-1.0, 2.0), relative(0.0, -1.0)) == (1.0, 0.5, 0.0, 0.0)


ids = st.sampled_from("abcdef")
found = st.dictionaries(ids, st.floats(0.1, 9), max_size=6)
fields = st.fixed_dictionaries(
    {
        "author": st.sampled_from([None, "Ada", "Bob"]), "thread": st.sampled_from([None, "t", "u"]),
        "length": st.integers(0, 99), "asks": st.floats(0, 1), "time": st.booleans(), "duration": st.booleans(),
        "occurred_at": st.integers(0, 999).map(lambda days: NOON - timedelta(days=days)),
        "before": st.lists(ids, max_size=2, unique=True).map(tuple), "after": st.lists(ids, max_size=2, unique=True).map(tuple),
    }
)  # fmt: skip
signals = st.builds(
    Signals, st.sampled_from([frozenset(), frozenset({"Ada"})]), st.sampled_from(["", "when", "long"]),
    st.sampled_from([(), (EveryYear(5),)]), st.sampled_from([None, "recent", "important"]),
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(ids, fields, min_size=1), found, found, found, st.booleans(), signals)
def test_an_explanation_sums_up_to_the_score(
    known: dict[str, Any], words: dict[str, float], cosines: dict[str, float], links: dict[str, float], more: bool,
    signals: Signals,
) -> None:  # fmt: skip
    """For every candidate; and the order is by score, then id."""
    candidates = {id: candidate(id, **fields) for id, fields in known.items()}
    ranking = Ranking(candidates, Evidence.of(words, cosines, links, more_words=more), signals)
    order = ranking.order()
    assert order == sorted(order, key=lambda pair: (-pair[1], pair[0]))
    assert {id for id, _ in order} == set(candidates)
    for id, total in order:
        parts = ranking.parts(id)
        assert sum(part.added for part in parts) == pytest.approx(total, abs=1e-9)
        assert all(part.added == part.value * part.weight and part.value for part in parts)
