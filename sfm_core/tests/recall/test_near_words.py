"""Near words: which words stand for which, and how an index follows its vocabulary."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from sfm_core.model.namespace import Scope
from sfm_core.ports.storage import WordGroup
from sfm_core.services.near import NearWords, exact_groups
from sfm_core.text.question import QuestionWord

SCOPE = Scope("a")


class Index:
    """Words are near when they begin with the same letter: 0.9 for equal ones, 0.65 for the others."""

    def __init__(self, made: list[str], words: Sequence[str]) -> None:
        self._made, self._words = made, list(words)

    @property
    def nbytes(self) -> int:
        """A hundred bytes a word."""
        return 100 * len(self._words)

    def nearest(self, words: Sequence[str], *, limit: int, floor: float) -> list[list[tuple[int, float]]]:
        """Return the words of the same letter."""
        self._made.append(f"asked {' '.join(words)}")
        near = (
            [(i, 0.9 if w == word else 0.65) for i, w in enumerate(self._words) if w[0] == word[0]] for word in words
        )
        return [sorted(pairs, key=lambda pair: -pair[1])[:limit] for pairs in near]

    def extended(self, words: Sequence[str]) -> Index:
        """Return an index with more words."""
        self._made.append(f"extended by {len(words)}")
        return Index(self._made, [*self._words, *words])


class Table:
    """Makes such indexes and notes it."""

    dimension = 1

    def __init__(self) -> None:
        self.made: list[str] = []

    def vectors(self, words: Sequence[str]) -> Any:
        """Not needed here."""
        raise NotImplementedError

    def index(self, words: Sequence[str]) -> Index:
        """Return a new index."""
        self.made.append(f"made of {len(words)}")
        return Index(self.made, words)


class Vocabulary:
    """Words of scopes, with a token that counts the changes."""

    def __init__(self) -> None:
        self.pairs: list[tuple[str, str]] = []
        self.read = 0

    async def words(self, scope: Scope) -> Sequence[tuple[str, str]]:
        """Return all pairs."""
        self.read += 1
        return list(self.pairs)

    async def words_token(self, scope: Scope) -> object:
        """Return the number of words."""
        return len(self.pairs)


def word(text: str, *, near: bool = True) -> QuestionWord:
    """Return a word whose stem is its first three letters."""
    return QuestionWord(text, text[:3], near)


def weights(groups: Sequence[WordGroup]) -> list[dict[str, float]]:
    """Return the alternatives of each group, weights rounded."""
    return [{stem: round(weight, 3) for stem, weight in group.alternatives} for group in groups]


@pytest.fixture
def near() -> tuple[NearWords, Table, Vocabulary]:
    """Return near words over an empty vocabulary."""
    table, vocabulary = Table(), Vocabulary()
    return NearWords(table, vocabulary), table, vocabulary


async def test_a_near_word_counts_by_its_cosine(near: tuple[NearWords, Table, Vocabulary]) -> None:
    """(cosine - 0.3) / 0.7; the word's own stem counts 1, and of one stem the best word."""
    words, _, vocabulary = near
    vocabulary.pairs = [("cat", "cat"), ("cats", "cat"), ("cow", "cow"), ("dog", "dog")]
    groups = await words.groups(SCOPE, [word("cats"), word("emu")])
    assert weights(groups) == [{"cat": 1.0, "cow": 0.5}, {"emu": 1.0}]


async def test_words_of_one_stem_are_one_group(near: tuple[NearWords, Table, Vocabulary]) -> None:
    """The same holds without near words."""
    words, _, _ = near
    asked = [word("cats"), word("cat"), word("dog")]
    assert len(await words.groups(SCOPE, asked)) == 2
    assert weights(exact_groups(asked)) == [{"cat": 1.0}, {"dog": 1.0}]


async def test_words_without_near_words_need_no_index(near: tuple[NearWords, Table, Vocabulary]) -> None:
    """Other scripts and languages are searched as they are."""
    words, table, vocabulary = near
    assert weights(await words.groups(SCOPE, [word("cat", near=False)])) == [{"cat": 1.0}]
    assert (table.made, vocabulary.read) == ([], 0)


async def test_an_index_follows_its_vocabulary(near: tuple[NearWords, Table, Vocabulary]) -> None:
    """It is read again only after a change, and extended when words were added at the end."""
    words, table, vocabulary = near
    vocabulary.pairs = [("cat", "cat")]
    for _ in range(3):
        await words.groups(SCOPE, [word("cow")])
    assert table.made == ["made of 1", "asked cow"]
    vocabulary.pairs.append(("cow", "cow"))
    assert weights(await words.groups(SCOPE, [word("cap")])) == [{"cat": 0.5, "cow": 0.5, "cap": 1.0}]
    vocabulary.pairs = [("ape", "ape"), ("cow", "cow"), ("cub", "cub")]
    assert weights(await words.groups(SCOPE, [word("cap")])) == [{"cow": 0.5, "cub": 0.5, "cap": 1.0}]
    assert table.made == ["made of 1", "asked cow", "extended by 1", "asked cap", "made of 3", "asked cap"]


async def test_a_large_vocabulary_is_not_read_at_every_change() -> None:
    """It is read again when twenty times the duration of the last reading has passed."""
    ticks = itertools.count()
    vocabulary = Vocabulary()
    words = NearWords(Table(), vocabulary, ticks=lambda: float(next(ticks)))
    vocabulary.pairs = [(f"w{i}", f"w{i}") for i in range(3000)]
    for i in range(60):
        vocabulary.pairs.append((f"x{i}", f"x{i}"))
        await words.groups(SCOPE, [word("cat")])
    assert vocabulary.read == 3


async def test_memory_is_bounded_over_scopes() -> None:
    """The least recently used index goes; the one in use stays, however large."""
    table, vocabulary = Table(), Vocabulary()
    vocabulary.pairs = [(f"w{i}", f"w{i}") for i in range(10)]
    words = NearWords(table, vocabulary, max_bytes=2 * 10 * 164)
    for name in ("a", "b", "a", "c", "a", "b"):
        await words.groups(Scope(name), [word("cat")])
    assert table.made.count("made of 10") == 4
    tiny = NearWords(table, vocabulary, max_bytes=1)
    assert len(await tiny.groups(SCOPE, [word("cat")])) == 1


async def test_only_the_first_words_get_near_words(near: tuple[NearWords, Table, Vocabulary]) -> None:
    """A long text is found by its own words."""
    words, table, vocabulary = near
    vocabulary.pairs = [("cat", "cat")]
    groups = await words.groups(SCOPE, [word(f"{i:03d}") for i in range(100)])
    assert len(groups) == 100
    assert len(table.made[-1].split()) == 25
