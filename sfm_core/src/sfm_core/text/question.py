"""What can be read off a question without a model: whom it names, what time it means, which words it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from sfm_core.text.analysis import Analyser
from sfm_core.text.dates import Wanted, read_dates
from sfm_core.text.moments import Intent, intent_of
from sfm_core.text.names import NameKeys, cut, name_keys, named, tokens_of
from sfm_core.text.tokens import is_dense, words

__all__ = ["MAX_WORDS", "Question", "QuestionWord", "keys_of", "read_question"]

MAX_WORDS = 128
"""Distinct words of a question that are searched for; a pasted page is not worth a thousand look-ups."""


class QuestionWord(Struct, frozen=True):
    """A word that is searched for: folded, its stem, and whether near words may stand for it."""

    word: str
    stem: str
    near: bool


class Question(Struct, frozen=True):
    """A question as it was understood.

    Attributes:
        text: the question without the names of known authors (itself when nothing else is left): what is embedded.
        words: its distinct words without names and stop words.
        authors: the authors that the one name in it stands for; none when it names nobody or several.
        intent: whether it asks when something was, or how long.
        dates: the dates and periods it names.
    """

    text: str
    words: tuple[QuestionWord, ...]
    authors: frozenset[str]
    intent: Intent
    dates: tuple[Wanted, ...]


def keys_of(text: str) -> NameKeys:
    """Return the keys under which authors named in `text` would be known, with their places."""
    return name_keys(tokens_of(text))


def read_question(
    text: str, analyser: Analyser, now: datetime, keys: NameKeys, known: Mapping[str, Sequence[str]]
) -> Question:
    """Return what `text` asks.

    Args:
        text: the question.
        analyser: of the language of the memories asked.
        now: what "yesterday" counts from.
        keys: as `keys_of` gave them.
        known: for each of those keys that stands for authors, the authors.
    """
    folded = analyser.fold(text)
    names = named(keys, known)
    left = cut(text, [span for spans in names.values() for span in spans]) if names else text
    found = words(analyser.fold(left) if names else folded, singles=False)
    pairs = [pair for word in dict.fromkeys(found) if (pair := analyser.stems[word]) is not None]
    return Question(
        text=left or text,
        words=tuple(
            QuestionWord(word, stem, analyser.english and not is_dense(word)) for word, stem in pairs[:MAX_WORDS]
        ),
        authors=frozenset(known[next(iter(names))]) if len(names) == 1 else frozenset(),
        intent=intent_of(folded) if analyser.english else "",
        dates=read_dates(folded, now, english=analyser.english),
    )
