"""BERT's uncased tokenisation (Devlin et al. 2019): the same numbers as the `tokenizers` package gives, in plain Python.

That package would bring its hub client, and a dozen others with it; beside the forward pass, the time spent here is small.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Mapping

from sfm_core.errors import CorruptData

__all__ = ["WordPiece"]

_LONGEST = 100
"""Longer words are unknown as a whole."""
_SIGNS_PER_TOKEN = 64
"""A text is cut to so many signs per token before it is read, so that the time for a huge one is bounded."""
_IDEOGRAPHS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)
_BOUNDS = [bound for low, high in _IDEOGRAPHS for bound in (low, high + 1)]


class _Signs(dict[int, str]):
    """What becomes of every sign of decomposed text: dropped, a blank, set apart by blanks, or its lower-case form."""

    def __missing__(self, code: int) -> str:
        self[code] = became = self._becomes(chr(code))
        return became

    @staticmethod
    def _becomes(sign: str) -> str:
        category = unicodedata.category(sign)
        if sign in "\t\n\r" or category[0] == "Z":
            return " "
        if category == "Mn" or category[0] == "C" or sign == "\ufffd":
            return ""
        is_mark = category[0] == "P" or (sign.isascii() and not sign.isalnum())
        return f" {sign} " if is_mark or bisect_right(_BOUNDS, ord(sign)) % 2 else sign.lower()


_SIGNS = _Signs()


class WordPiece:
    """Turns texts into numbers of word pieces, between those of [CLS] and [SEP].

    Raises:
        CorruptData: the vocabulary lacks a special piece.
    """

    def __init__(self, ids: Mapping[str, int], limit: int) -> None:
        self._ids = ids
        self._limit = limit
        try:
            self._first, self._last, self._unknown = (ids[piece] for piece in ("[CLS]", "[SEP]", "[UNK]"))
        except KeyError as error:
            raise CorruptData("minilm/embedding: the vocabulary lacks [CLS], [SEP] or [UNK]") from error

    def __call__(self, text: str) -> list[int]:
        """Return the numbers of the pieces of `text`, at most as many as the limit; what is over is cut off."""
        text = unicodedata.normalize("NFD", text[: self._limit * _SIGNS_PER_TOKEN])
        pieces: list[int] = []
        for word in text.translate(_SIGNS).split():
            pieces += self._spelled(word)
            if len(pieces) >= self._limit - 2:
                break
        return [self._first, *pieces[: self._limit - 2], self._last]

    def _spelled(self, word: str) -> list[int]:
        """Spell a word by the longest pieces from its beginning on; unknown as a whole when that fails."""
        whole = self._ids.get(word)
        if whole is not None:
            return [whole]
        spelled: list[int] = []
        rest = word if len(word) <= _LONGEST else ""
        while rest:
            mark = "##" if spelled else ""
            end = next((end for end in range(len(rest), 0, -1) if mark + rest[:end] in self._ids), 0)
            if not end:
                return [self._unknown]
            spelled.append(self._ids[mark + rest[:end]])
            rest = rest[end:]
        return spelled or [self._unknown]
