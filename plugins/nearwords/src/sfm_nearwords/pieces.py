"""From a word to its word pieces: BERT's uncased WordPiece (Wu et al. 2016; Devlin et al. 2019), for single words."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping

__all__ = ["pieces_of"]

_LONGEST = 100
"""Longer runs of letters are no words to BERT."""


def pieces_of(word: str, ids: Mapping[str, int]) -> list[int]:
    """Return the numbers of the pieces of a lower-case word; parts that the vocabulary cannot spell are left out."""
    whole = ids.get(word)
    if whole is not None and word.isalnum():
        return [whole]
    if word.isascii() and word.isalnum():
        return _spelled(word, ids)
    return [piece for part in _parts(word) for piece in _spelled(part, ids)]


def _parts(word: str) -> Iterator[str]:
    """Yield the runs of letters and digits of a word, accents dropped; marks of punctuation and ideographs alone."""
    run = ""
    for sign in unicodedata.normalize("NFD", word):
        category = unicodedata.category(sign)
        if category == "Mn" or (category[0] == "C" and not sign.isspace()):
            continue
        alone = category[0] == "P" or (sign.isascii() and not sign.isalnum()) or "\u3400" <= sign <= "\u9fff"
        if not alone:
            run += sign
            continue
        yield from (part for part in (run, sign.strip()) if part)
        run = ""
    if run:
        yield run


def _spelled(part: str, ids: Mapping[str, int]) -> list[int]:
    """Spell a part by the longest pieces from its beginning on; [] when that fails."""
    spelled: list[int] = []
    start, length = 0, len(part)
    while start < length <= _LONGEST:
        mark = "##" if start else ""
        for end in range(length, start, -1):
            piece = ids.get(mark + part[start:end])
            if piece is not None:
                spelled.append(piece)
                start = end
                break
        else:
            return []
    return spelled
