"""An index of words that keeps their pieces only: some ten bytes a word in place of a vector of 128 numbers.

The cosine of a question's word with an indexed one is the sum of its products with the pieces of the latter, divided by a
length that is known beforehand. So the products with every piece in use are computed once (there are at most as many as
the table has rows, however many words are indexed) and only looked up for each word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from sfm_nearwords.spelling import spell, sums, units
from sfm_nearwords.table import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PieceIndex"]

_WORDS = 2048
"""Words whose vectors are looked at together while building: bounds what that needs beside the index itself."""
_ROWS = 1024
"""Rows of the table that are widened to float32 together: half a megabyte, which stays in the processor's cache and is
too little for the linear algebra library to wake other threads for."""


class _Words(Struct, frozen=True):
    """The indexed words: pieces and beginnings as in `Spelling`, and 1 / the length of each word's sum of pieces.

    The latter is not a number for a word that cannot be placed: so are its cosines, which are then above no floor.
    """

    pieces: NDArray[np.int32]
    starts: NDArray[np.int32]
    weights: NDArray[np.float32]


_NONE = _Words(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))


def _read(table: Table, words: Sequence[str]) -> _Words:
    spelling = spell(table, words)
    lengths = sums(table, spelling)[1]
    lengths[lengths == 0] = np.nan
    return _Words(spelling.pieces, spelling.starts, np.reciprocal(lengths))


def _joined(parts: Sequence[_Words]) -> _Words:
    offsets = np.cumsum([0, *(len(part.pieces) for part in parts[:-1])], dtype=np.int32)
    return _Words(
        np.concatenate([part.pieces for part in parts]),
        np.concatenate([part.starts + offset for part, offset in zip(parts, offsets, strict=True)]),
        np.concatenate([part.weights for part in parts]),
    )


class PieceIndex:
    """`sfm_core.ports.embedding.WordIndex` by pieces; immutable, so any thread may use it."""

    def __init__(self, table: Table, words: _Words = _NONE) -> None:
        used = np.zeros(len(table.pieces), np.bool_)
        used[words.pieces] = True
        place = np.cumsum(used, dtype=np.int32) - 1
        self._table = table
        self._starts = words.starts
        self._weights = words.weights
        self._used = np.flatnonzero(used).astype(np.int32)
        self._places = place[words.pieces].astype(np.min_scalar_type(len(self._used)))

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def nbytes(self) -> int:
        """How much memory the index holds beside the table, in bytes."""
        return sum(held.nbytes for held in (self._starts, self._weights, self._used, self._places))

    def extended(self, words: Sequence[str]) -> PieceIndex:
        """Return an index of these words followed by `words`; costs what the new ones cost, plus a copy."""
        mine = _Words(self._used[self._places], self._starts, self._weights)
        new = [_read(self._table, words[start : start + _WORDS]) for start in range(0, len(words), _WORDS)]
        return PieceIndex(self._table, _joined([mine, *new]))

    def nearest(self, words: Sequence[str], *, limit: int, floor: float) -> list[list[tuple[int, float]]]:
        """Return for each lower-case word at most `limit` (position, cosine) with a cosine above `floor`, best first."""
        asked = units(self._table, words)
        if not len(self):
            return [[] for _ in words]
        places = self._places.astype(np.intp)
        found = []
        for unit, products in zip(asked, self._products(asked), strict=True):
            cosines = np.add.reduceat(products[places], self._starts) * self._weights
            found.append(_best(cosines, limit, floor) if unit.any() else [])
        return found

    def _products(self, asked: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the products of every row of `asked` with every piece in use."""
        table, used = self._table, self._used
        products = np.empty((len(asked), len(used)), np.float32)
        wide = np.empty((min(_ROWS, len(used)), table.dimension), np.float32)
        for start in range(0, len(used), _ROWS):
            # The numbers are known to be in range; with "clip" NumPy does not look at each of them.
            narrow = table.pieces.take(used[start : start + _ROWS], axis=0, mode="clip")
            rows = wide[: len(narrow)]
            np.copyto(rows, narrow)
            for unit, into in zip(asked, products, strict=True):
                np.matmul(rows, unit, out=into[start : start + len(narrow)])
        products *= table.scales[used]
        return products


def _best(cosines: NDArray[np.float32], limit: int, floor: float) -> list[tuple[int, float]]:
    """Return the best `limit` positions with a cosine above `floor`, ties by position."""
    above = np.flatnonzero(cosines > floor)
    if len(above) > limit:
        close = cosines[above]
        above = above[close >= np.partition(close, -limit)[-limit]]
    order = above[np.argsort(-cosines[above], kind="stable")][:limit]
    return [
        (position, min(1.0, cosine)) for position, cosine in zip(order.tolist(), cosines[order].tolist(), strict=True)
    ]
