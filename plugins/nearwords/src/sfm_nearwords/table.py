"""The table on disk: one quantised vector per word piece, mapped into memory, and the vocabulary that names the pieces."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sfm_core.errors import ConfigError, CorruptData

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SHIPPED", "Table", "load"]

SHIPPED = Path(__file__).parent / "data"


class Table:
    """Vectors of word pieces: `pieces[i] * scales[i]` is the vector of piece i.

    Attributes:
        pieces: int8, one row per piece.
        scales: float32, one per piece.
    """

    def __init__(self, pieces: NDArray[np.int8], scales: NDArray[np.float32], vocabulary: Sequence[str]) -> None:
        self.pieces = pieces
        self.scales = scales
        self._vocabulary = vocabulary

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return int(self.pieces.shape[1])

    @cached_property
    def ids(self) -> dict[str, int]:
        """The number of every piece by its text; built when first asked, so that opening stays cheap."""
        return dict(zip(self._vocabulary, range(len(self._vocabulary)), strict=True))

    def rows(self, ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the vectors of the pieces `ids`, one row each."""
        rows = self.pieces[ids].astype(np.float32)
        rows *= self.scales[ids, np.newaxis]
        return rows


def load(folder: Path) -> Table:
    """Map the table in `folder`.

    Raises:
        ConfigError: a file is missing or cannot be read.
        CorruptData: the files are not a table, or do not belong together.
    """
    try:
        pieces = np.load(folder / "pieces.npy", mmap_mode="r", allow_pickle=False)
        scales = np.load(folder / "scales.npy", allow_pickle=False)
        # Not splitlines: some pieces are signs that it takes for ends of lines.
        vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except OSError as error:
        raise ConfigError(f"nearwords/embedding: no table in {folder}: {error.strerror or error}") from error
    except ValueError as error:
        raise CorruptData(f"nearwords/embedding: a file of the table in {folder} is damaged") from error
    # A plain array on the same mapping: every operation on a memmap object pays for its subclass.
    pieces = np.asarray(pieces)
    _check(folder, pieces, scales, len(vocabulary))
    return Table(pieces, scales, vocabulary)


def _check(folder: Path, pieces: NDArray[np.int8], scales: NDArray[np.float32], names: int) -> None:
    if pieces.dtype != np.int8 or pieces.ndim != 2 or 0 in pieces.shape:
        raise CorruptData(f"nearwords/embedding: {folder}: pieces.npy is not a filled table of int8 rows")
    if scales.dtype != np.float32 or scales.shape != (len(pieces),) or names != len(pieces):
        found = f"{len(pieces)} rows, scales of {scales.dtype} {scales.shape}, {names} names"
        raise CorruptData(f"nearwords/embedding: {folder}: the files do not belong together ({found})")
