"""Names of authors: the form they are looked up by, and where a question may hold one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from msgspec import Struct

from sfm_core.text.languages import STOP_WORDS
from sfm_core.text.tokens import fold, spans

__all__ = ["NameKeys", "Span", "Token", "author_key", "cut", "name_keys", "named", "tokens_of"]

Span = tuple[int, int]
NameKeys = dict[str, list[Span]]

_LONGEST = 4
_TOKENS = 128


class Token(Struct, frozen=True):
    """A word of a question: where it stands (clitic included), its folded form, whether its script has no blanks."""

    start: int
    end: int
    word: str
    dense: bool
    capital: bool


def tokens_of(text: str) -> list[Token]:
    """Return the words of a raw text with their places."""
    return [Token(start, end, fold(word), dense, word[0] != word[0].lower()) for start, end, word, dense in spans(text)]


@lru_cache(maxsize=4096)
def author_key(name: str) -> str:
    """Return the form an author is looked up by: folded words joined by blanks ("O'Neil, Ada" gives "o neil ada")."""
    return " ".join(token.word for token in tokens_of(name))


def name_keys(tokens: Sequence[Token]) -> NameKeys:
    """Return every key that an author named in a question could have, with the spans of text it covers.

    One to four neighbouring words of the first 128; in a script without blanks every two to four characters. A single stop
    word ("will") counts only with a capital and not as the first word.
    """
    keys: NameKeys = {}
    for i, token in enumerate(tokens[:_TOKENS]):
        if token.dense:
            _dense_keys(token, keys)
        for length in range(1, _LONGEST + 1):
            part = tokens[i : i + length]
            if len(part) < length:
                break
            if length == 1 and token.word in STOP_WORDS and not (token.capital and i):
                continue
            keys.setdefault(" ".join(t.word for t in part), []).append((token.start, part[-1].end))
    return keys


def named(keys: NameKeys, known: Mapping[str, Sequence[str]]) -> NameKeys:
    """Return the keys that stand for known authors with their spans; a name inside a longer one is left out."""
    found: NameKeys = {}
    taken: list[Span] = []
    for key in sorted((key for key in keys if known.get(key)), key=lambda key: (-len(key), key)):
        free = [(a, b) for a, b in keys[key] if not any(a < end and start < b for start, end in taken)]
        if free:
            taken += free
            found[key] = free
    return found


def cut(text: str, holes: Sequence[Span]) -> str:
    """Return `text` without the given spans, blanks evened out."""
    kept, at = [], 0
    for start, end in sorted(holes):
        kept.append(text[at:start])
        at = end
    return " ".join(" ".join([*kept, text[at:]]).split())


def _dense_keys(token: Token, keys: NameKeys) -> None:
    word = token.word[: 2 * _LONGEST * _LONGEST]
    if token.end - token.start != len(token.word):
        return  # folding changed the length: places inside the run are unknown
    for i in range(len(word)):
        for length in range(2, _LONGEST + 1):
            if i + length <= len(word) and length < len(token.word):
                keys.setdefault(word[i : i + length], []).append((token.start + i, token.start + i + length))
