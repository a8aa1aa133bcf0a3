"""Many words as one flat list of their pieces, and the vectors those make."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, chain
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from sfm_nearwords.pieces import pieces_of
from sfm_nearwords.table import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Spelling", "spell", "sums", "units"]

_PLACEHOLDER = [0]


class Spelling(Struct, frozen=True):
    """Words by their pieces: the pieces of word i begin at `starts[i]` and end where those of the next word begin.

    Attributes:
        pieces: numbers of pieces; at least one per word.
        starts: where each word begins.
        known: False for a word that cannot be spelled; it holds piece 0 in its place.
    """

    pieces: NDArray[np.int32]
    starts: NDArray[np.int32]
    known: NDArray[np.bool_]


def spell(table: Table, words: Sequence[str]) -> Spelling:
    """Spell lower-case `words` with the table's vocabulary."""
    ids = table.ids
    spelled = [pieces_of(word, ids) for word in words]
    filled = [pieces or _PLACEHOLDER for pieces in spelled]
    starts = np.fromiter(accumulate(map(len, filled), initial=0), np.int32, len(filled) + 1)
    return Spelling(
        pieces=np.fromiter(chain.from_iterable(filled), np.int32, int(starts[-1])),
        starts=starts[:-1],
        known=np.fromiter(map(bool, spelled), np.bool_, len(spelled)),
    )


def sums(table: Table, spelling: Spelling) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return, for every word, the sum of its pieces' vectors (it points where their mean does) and the length of that.

    Both are zero for a word that cannot be spelled.
    """
    if not len(spelling.starts):
        return np.zeros((0, table.dimension), np.float32), np.zeros(0, np.float32)
    rows = np.add.reduceat(table.rows(spelling.pieces), spelling.starts, axis=0)
    rows[~spelling.known] = 0
    return rows, np.sqrt(np.einsum("ij,ij->i", rows, rows))


def units(table: Table, words: Sequence[str]) -> NDArray[np.float32]:
    """Return one unit row per lower-case word; zero for a word that cannot be placed."""
    rows, lengths = sums(table, spell(table, words))
    rows /= np.where(lengths > 0, lengths, np.float32(1))[:, np.newaxis]
    return rows
