"""From words to pieces."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfm_nearwords.pieces import pieces_of
from sfm_nearwords.table import load


@pytest.mark.parametrize(
    ("word", "pieces"),
    [
        ("tea", ["tea"]),
        ("cups", ["cup", "##s"]),
        ("teacups", ["tea", "##cup", "##s"]),
        ("café", ["cafe"]),
        ("tea-cup", ["tea", "-", "cup"]),
        ("東2", ["東", "2"]),
        ("東海", ["東"]),
        ("te\u00ada", ["tea"]),
        ("\u00b2", ["\u00b2"]),
    ],
)
def test_a_word_is_spelled_by_the_longest_pieces_of_the_vocabulary(small: Path, word: str, pieces: list[str]) -> None:
    """As BERT does it: accents are dropped, marks and ideographs stand alone."""
    ids = load(small).ids
    assert pieces_of(word, ids) == [ids[piece] for piece in pieces]


@pytest.mark.parametrize("word", ["", " ", "xyz", "teax", "\x00", "tea" * 40, "[UNK]", "[pad]", "\ud800"])
def test_a_word_that_cannot_be_spelled_has_no_pieces(small: Path, word: str) -> None:
    """The special pieces are no words, and nothing stands for an unknown one."""
    assert pieces_of(word, load(small).ids) == []


def test_what_can_be_spelled_of_a_word_counts(small: Path) -> None:
    """An unknown part beside a known one is left out."""
    ids = load(small).ids
    assert pieces_of("tea-xyz", ids) == [ids["tea"], ids["-"]]
