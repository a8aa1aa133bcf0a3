"""The words side of the embedding port, from a static table: a word's vector is the mean of its pieces, no forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sfm_nearwords.index import PieceIndex
from sfm_nearwords.spelling import units
from sfm_nearwords.table import Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["TableWords"]


class TableWords:
    """`sfm_core.ports.embedding.WordVectors` over a `Table`; immutable, so any thread may use it."""

    def __init__(self, table: Table) -> None:
        self._table = table

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return self._table.dimension

    def vectors(self, words: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit row per lower-case word; zero for a word that the vocabulary cannot spell."""
        return units(self._table, words)

    def index(self, words: Sequence[str]) -> PieceIndex:
        """Return an index of distinct lower-case `words`, in their order."""
        return PieceIndex(self._table).extended(words)
