"""Reading tensors out of a safetensors file, one at a time, so that the file never lies in memory as a whole."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from sfm_core.errors import CorruptData

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Tensors"]

_TYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}
_HEADER_LIMIT = 100_000_000


class _Entry(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class Tensors:
    """The tensors of one file, by name without a leading `bert.`.

    Raises:
        CorruptData: the file is no safetensors file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = file.read(size) if size <= _HEADER_LIMIT else b""
        try:
            raw = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
            raw.pop("__metadata__", None)
            entries = {name: msgspec.json.decode(entry, type=_Entry) for name, entry in raw.items()}
        except msgspec.DecodeError as error:
            raise CorruptData(f"minilm/embedding: {path} is not a safetensors file") from error
        self._start = 8 + size
        self._entries = {name.removeprefix("bert."): entry for name, entry in entries.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        """Return a tensor as float32.

        Raises:
            CorruptData: there is none of that name, of a type that is not read here, or it is cut off.
        """
        entry = self._entries.get(name)
        kind = _TYPES.get(entry.dtype) if entry else None
        if entry is None or kind is None:
            raise CorruptData(f"minilm/embedding: {self._path}: no tensor {name} of type {' or '.join(_TYPES)}")
        low, high = entry.data_offsets
        count = math.prod(entry.shape)
        values = np.fromfile(self._path, kind, count, offset=self._start + low) if low >= 0 else np.empty(0)
        if high - low != count * kind.itemsize or len(values) != count:
            raise CorruptData(f"minilm/embedding: {self._path}: tensor {name} is cut off")
        return values.reshape(entry.shape).astype(np.float32, copy=False)
