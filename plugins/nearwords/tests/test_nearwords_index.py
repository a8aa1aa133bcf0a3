"""The index by pieces against a plain scan of the vectors."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfm_nearwords.table import SHIPPED, load
from sfm_nearwords.words import TableWords

WORDS = TableWords(load(SHIPPED))
ANY_WORD = st.one_of(
    st.sampled_from(
        ["camping", "tent", "painting", "piano", "museum", "children", "pottery", "café", "cafe", "東京", "n't"]
    ),
    st.text("abcdefghijklmnopqrstuvwxyz0123456789'-éß😀", max_size=12),
)


def scanned(words: list[str], word: str, limit: int, floor: float) -> list[float]:
    """Return the cosines that a plain scan finds."""
    rows = WORDS.vectors(words)
    cosines = rows @ WORDS.vectors([word])[0]
    placed = rows.any(axis=1) & bool(WORDS.vectors([word]).any())
    return sorted((float(cosine) for cosine in cosines[placed] if cosine > floor), reverse=True)[:limit]


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(ANY_WORD, unique=True, max_size=30),
    asked=ANY_WORD,
    limit=st.integers(1, 8),
    floor=st.sampled_from([-2.0, -0.05, 0.0, 0.3]),
)
def test_nearest_finds_what_a_scan_of_the_vectors_finds(words: list[str], asked: str, limit: int, floor: float) -> None:
    """Whatever the words; one that cannot be placed is near to nothing, below every floor."""
    near = WORDS.index(words).nearest([asked], limit=limit, floor=floor)[0]
    cosines = [cosine for _, cosine in near]
    assert cosines == sorted(cosines, reverse=True)
    # A cosine at the floor may fall on either side of it by its last bits.
    assert cosines == pytest.approx(scanned(words, asked, limit, floor), abs=2e-6)
    rows = WORDS.vectors(words)
    for position, cosine in near:
        assert float(rows[position] @ WORDS.vectors([asked])[0]) == pytest.approx(cosine, abs=2e-6)


@settings(max_examples=30, deadline=None)
@given(words=st.lists(ANY_WORD, unique=True, max_size=30), cut=st.integers(0, 30), asked=ANY_WORD)
def test_growing_an_index_equals_building_it_at_once(words: list[str], cut: int, asked: str) -> None:
    """To the last bit of every cosine."""
    grown = WORDS.index(words[:cut]).extended(words[cut:])
    assert len(grown) == len(words)
    assert grown.nearest([asked], limit=9, floor=0.1) == WORDS.index(words).nearest([asked], limit=9, floor=0.1)


def test_equal_vectors_come_in_the_order_of_their_words() -> None:
    """An accent makes no difference to a vector, so position decides."""
    index = WORDS.index(["tent", "café", "cafe", "cafè"])
    assert [position for position, _ in index.nearest(["cafe"], limit=2, floor=0.9)[0]] == [1, 2]


def test_words_of_one_meaning_are_near() -> None:
    """The table knows what a lexicon would."""
    index = WORDS.index(["tent", "invoice", "campground", "piano", "guitar", "physician"])
    camping, violin, doctor = index.nearest(["camping", "violin", "doctor"], limit=2, floor=0.3)
    assert {position for position, _ in camping} == {0, 2}
    assert {position for position, _ in violin} == {3, 4}
    assert [position for position, _ in doctor] == [5]


def test_an_empty_index_finds_nothing() -> None:
    """For as many words as are asked."""
    assert WORDS.index([]).nearest(["tea", "cup"], limit=3, floor=-1.0) == [[], []]
    assert WORDS.index(["tea"]).nearest([], limit=3, floor=0.0) == []


def test_an_index_is_small() -> None:
    """Some ten bytes a word, where a vector would be 128."""
    words = random.Random(3).sample(sorted(word for word in load(SHIPPED).ids if word.isalpha()), 5000)
    assert WORDS.index(words).nbytes < 20 * len(words)


def test_many_words_are_built_in_blocks_and_found_all_the_same() -> None:
    """More words than a block holds."""
    words = sorted(word for word in load(SHIPPED).ids if word.isalpha())[:5000]
    index = WORDS.index(words)
    asked = words[::997]
    assert [near[0][0] for near in index.nearest(asked, limit=1, floor=0.5)] == [words.index(word) for word in asked]


def test_threads_may_share_an_index() -> None:
    """Each gets what one alone gets, from the first use of a fresh table on."""
    words = TableWords(load(SHIPPED))
    asked = ["camping", "piano", "doctor"]
    expected = WORDS.index(asked).nearest(asked, limit=3, floor=0.0)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: words.index(asked).nearest(asked, limit=3, floor=0.0), range(32)))
    assert found == [expected] * 32


def test_cosines_never_exceed_one() -> None:
    """Rounding must not carry a word's cosine with itself above it."""
    words = sorted(word for word in load(SHIPPED).ids if word.isalpha())[::151]
    near = WORDS.index(words).nearest(words, limit=1, floor=0.9)
    assert np.max([cosine for found in near for _, cosine in found]) <= 1.0
