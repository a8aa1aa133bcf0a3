"""Texts to words: folding, word boundaries of all scripts, and character pairs where a script has no blanks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

__all__ = ["MAX_WORD", "fold", "is_dense", "pairs", "spans", "words"]

MAX_WORD = 64
"""Longer words are cut: a blob of base64 is no word, and an index term must stay small."""

# Signs inside words that Python's \w leaves out: combining marks of Latin, Cyrillic, Hebrew, Arabic and the Indic scripts.
_MARKS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0711\u0730-\u074a\u0900-\u0963\u0971-\u0df3\u0f18\u0f19\u0f71-\u0f84"
)
# Scripts written without blanks between words (and Hangul, whose words carry particles).
_DENSE = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ecd\u1000-\u103f\u1050-\u108f\u1780-\u17d3\u3005\u3007\u3041-\u309f\u30a1-\u30fa"
    "\u30fc-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
)
_CLITIC = r"(?:'(?:s|t|d|m|ll|re|ve)\b)?"
_PLAIN_WORD = re.compile(rf"([a-z0-9]+){_CLITIC}")
_LETTERS = rf"[^\W_{_DENSE}]+(?:[{_MARKS}]+[^\W_{_DENSE}]*)*"
_ANY_WORD = re.compile(rf"({_LETTERS}){_CLITIC}|([{_DENSE}]+)")
_SPAN = re.compile(rf"({_LETTERS})(?:['\u2019\u02bc](?:s|t|d|m|ll|re|ve)\b)?|([{_DENSE}]+)", re.IGNORECASE)
_IS_DENSE = re.compile(f"[{_DENSE}]")
_ACCENTS = re.compile("[\u0300-\u036f]+")
_FOREIGN = re.compile(rf"[^\W\x00-\x7f]|[{_MARKS}]")


def fold(text: str, *, accents: bool = True) -> str:
    """Return `text` in lower case and NFKC, apostrophes made plain; with `accents` those of letters are dropped."""
    if text.isascii():
        return text.lower()
    text = text.replace("\u2019", "'").replace("\u02bc", "'").lower()
    if not _FOREIGN.search(text):  # dashes, quotes and emoji only: they separate words like any other sign
        return text.encode("ascii", "replace").decode("ascii")
    text = unicodedata.normalize("NFKC", text).lower()
    if accents:
        text = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", text)))
    return text


def words(folded: str, *, singles: bool) -> list[str]:
    """Return the words of a folded text in order, English clitics ('s, n't) cut off.

    Runs of a script without blanks give their overlapping pairs of characters, and with `singles` (for texts, not for
    questions) the characters as well, so that a question of one character finds them.
    """
    if folded.isascii():
        return _PLAIN_WORD.findall(folded)
    found: list[str] = []
    for word, run in _ANY_WORD.findall(folded):
        if word:
            found.append(word)
        else:
            found.extend(pairs(run, singles=singles))
    return found


def pairs(run: str, *, singles: bool) -> Iterator[str]:
    """Yield the overlapping pairs of characters of `run`, and its characters when asked or when it has only one."""
    if singles or len(run) == 1:
        yield from run
    for i in range(len(run) - 1):
        yield run[i : i + 2]


def spans(text: str) -> Iterator[tuple[int, int, str, bool]]:
    """Yield (start, end with clitic, word without it, whether its script has no blanks) for the words of a raw text."""
    for match in _SPAN.finditer(text):
        yield match.start(), match.end(), match[1] or match[2], match[1] is None


def is_dense(word: str) -> bool:
    """Tell whether `word` is of a script without blanks."""
    return _IS_DENSE.match(word) is not None
