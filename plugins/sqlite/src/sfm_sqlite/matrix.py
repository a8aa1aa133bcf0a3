"""The vectors of one namespace in memory: blocks of rows, scanned whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Matrix", "Target", "halves", "pack", "row_type"]

BLOCK = 4096
_CONVERTED = 512
"""Rows of int16 that are turned into float32 at a time: they stay in the cache of a core."""
_DIGITS = 6
"""Sums in float32 differ in the 7th digit between equal rows; ties are by id."""
_FULL = 32767
_COMPACT = 256

Floats = NDArray[np.float32]
Halves = NDArray[np.uint64]


def row_type(dimension: int) -> np.dtype[Any]:
    """Return the stored form of a vector: 16-bit integers and the factor that makes them a unit vector.

    Below 256 dimensions single values are large, and so is what rounding them does to a cosine: floats, with factor 1.
    """
    return np.dtype([("factor", "<f4"), ("values", "<i2" if dimension >= _COMPACT else "<f4", (dimension,))])


def pack(vectors: Sequence[Sequence[float]], dimension: int) -> list[bytes]:
    """Return vectors in their stored form.

    Each is scaled so that its largest value is 32767 and rounded; the factor is one over the length of the rounded vector,
    so that what is stored is a unit vector again. A value is off by at most 1/65534 of the largest, a cosine by some 1e-6.
    """
    given = np.asarray(vectors, dtype=np.float64).reshape(-1, dimension)
    given = given / np.abs(given).max(axis=1, keepdims=True)
    rows = np.empty(len(given), row_type(dimension))
    if dimension >= _COMPACT:
        rounded = np.rint(given * _FULL)
        rows["values"] = rounded
        rows["factor"] = 1.0 / np.linalg.norm(rounded, axis=1)
    else:
        rows["values"] = given / np.linalg.norm(given, axis=1, keepdims=True)
        rows["factor"] = 1.0
    whole = rows.tobytes()
    size = rows.dtype.itemsize
    return [whole[start : start + size] for start in range(0, len(whole), size)]


def halves(ids: Sequence[bytes]) -> Halves:
    """Return ids as two 64-bit halves a row."""
    return np.frombuffer(b"".join(ids), ">u8").astype(np.uint64).reshape(-1, 2)


class Target:
    """A restriction to some ids, prepared for looking them up in many matrices."""

    def __init__(self, ids: Halves) -> None:
        order = np.argsort(ids[:, 1], kind="stable")
        self._high, self._low = ids[order, 0], ids[order, 1]
        # The low half of an id is random, so it names it alone, save for ids that somebody made up.
        self._pairs = None if len(np.unique(self._low)) == len(ids) else set(map(tuple, ids.tolist()))

    def places(self, ids: Halves) -> NDArray[np.intp]:
        """Return the places in `ids` of those that are asked for."""
        if not len(self._low):
            return np.zeros(0, np.intp)
        if self._pairs is not None:
            return np.array([n for n, pair in enumerate(map(tuple, ids.tolist())) if pair in self._pairs], np.intp)
        near = np.minimum(np.searchsorted(self._low, ids[:, 1]), len(self._low) - 1)
        return np.flatnonzero((self._low[near] == ids[:, 1]) & (self._high[near] == ids[:, 0]))


class Matrix:
    """Rows in blocks, so that growing copies nothing. A row that is dropped stays as a dead one until the next loading."""

    def __init__(self, dimension: int, *, small: bool) -> None:
        self._dimension = dimension
        self._small = small and dimension >= _COMPACT
        self._blocks: list[NDArray[Any]] = []
        self._factors: list[Floats] = []
        self._ids: Halves = np.zeros((0, 2), np.uint64)
        self._versions: NDArray[np.int64] = np.zeros(0, np.int64)
        self._live: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._used = 0
        self.count = 0

    @property
    def size(self) -> int:
        """How many numbers a search multiplies."""
        return self._used * self._dimension

    @property
    def is_wasteful(self) -> bool:
        """Whether most rows are dead, so that loading anew pays."""
        return self._used > 1000 and self.count * 2 < self._used

    def shrink(self) -> None:
        """Hold int16 instead of float32 from now on: half the memory, two to three times the time."""
        if self._small or self._dimension < _COMPACT:
            return
        self._small = True
        for number, block in enumerate(self._blocks):
            smaller = np.empty(block.shape, np.int16)
            for first in range(0, len(block), _CONVERTED):
                part = slice(first, first + _CONVERTED)
                factors = self._factors[number][part, None]
                smaller[part] = np.rint(block[part] / np.where(factors == 0, 1, factors))
            self._blocks[number] = smaller

    def reserve(self, rows: int) -> None:
        """Make room for so many rows, and no more."""
        kind = np.int16 if self._small else np.float32
        while rows > 0:
            room = min(BLOCK, rows)
            self._blocks.append(np.zeros((room, self._dimension), kind))
            self._factors.append(np.zeros(room, np.float32))
            rows -= room

    def add(self, ids: Halves, versions: Sequence[int], packed: Sequence[bytes]) -> None:
        """Append rows in their stored form; the caller has dropped earlier ones of the same ids."""
        rows = np.frombuffer(b"".join(packed), row_type(self._dimension))
        start, self._used = self._used, self._used + len(rows)
        self.count += len(rows)
        if self._used > len(self._live):
            room = self._used + self._used // 4 + 64
            self._ids, self._versions, self._live = (
                _grown(old, room) for old in (self._ids, self._versions, self._live)
            )
        self._ids[start : self._used] = ids
        self._versions[start : self._used] = versions
        self._live[start : self._used] = True
        done = 0
        while done < len(rows):
            number, offset = divmod(start + done, BLOCK)
            part = rows[done : done + BLOCK - offset]
            self._write(number, offset, part)
            done += len(part)

    def drop(self, target: Target) -> None:
        """Let rows be found no more."""
        places = target.places(self._ids[: self._used])
        self.count -= int(np.count_nonzero(self._live[places]))
        self._live[places] = False
        for place in places.tolist():  # nothing of a deleted vector stays in memory either
            self._blocks[place // BLOCK][place % BLOCK] = 0

    def scan(self, unit: Floats, limit: int, target: Target | None) -> tuple[Floats, Halves, NDArray[np.int64]]:
        """Return cosines, ids and versions of the best rows, at least `limit` of them when there are, in no order."""
        if target is not None:
            places = target.places(self._ids[: self._used])
            places = places[self._live[places]]
            cosines = self._some(unit, places)
        else:
            cosines = self._all(unit)
            places = np.flatnonzero(self._live[: self._used])
            if len(places) < self._used:
                cosines = cosines[places]
        cosines = np.round(cosines, _DIGITS)
        if limit < len(cosines):
            least = np.partition(cosines, len(cosines) - limit)[len(cosines) - limit]
            kept = np.flatnonzero(cosines >= least)
            cosines, places = cosines[kept], places[kept]
        return cosines, self._ids[places], self._versions[places]

    def _all(self, unit: Floats) -> Floats:
        cosines = np.empty(self._used, np.float32)
        buffer = np.empty((_CONVERTED, self._dimension), np.float32) if self._small else None
        for number, block in enumerate(self._blocks):
            start = number * BLOCK
            rows = block[: self._used - start]
            if buffer is None:
                np.dot(rows, unit, out=cosines[start : start + len(rows)])
                continue
            for first in range(0, len(rows), _CONVERTED):
                part = rows[first : first + _CONVERTED]
                buffer[: len(part)] = part
                np.dot(buffer[: len(part)], unit, out=cosines[start + first : start + first + len(part)])
            cosines[start : start + len(rows)] *= self._factors[number][: len(rows)]
        return cosines

    def _some(self, unit: Floats, places: NDArray[np.intp]) -> Floats:
        cosines = np.empty(len(places), np.float32)
        numbers = places // BLOCK
        for number in np.unique(numbers).tolist():
            mine = np.flatnonzero(numbers == number)
            offsets = places[mine] % BLOCK
            found = self._blocks[number][offsets].astype(np.float32) @ unit
            cosines[mine] = found * self._factors[number][offsets] if self._small else found
        return cosines

    def _write(self, number: int, offset: int, rows: NDArray[Any]) -> None:
        # The last block of a small namespace is not made larger than it needs to be.
        needed = offset + len(rows)
        if number == len(self._blocks):
            self._blocks.append(np.zeros((0, self._dimension), np.int16 if self._small else np.float32))
            self._factors.append(np.zeros(0, np.float32))
        if needed > len(self._factors[number]):
            room = min(BLOCK, needed + needed // 2)
            self._blocks[number] = _grown(self._blocks[number], room)
            self._factors[number] = _grown(self._factors[number], room)
        values, factors = rows["values"], rows["factor"]
        self._factors[number][offset:needed] = factors
        self._blocks[number][offset:needed] = values if self._small else values * factors[:, None]


def _grown(values: NDArray[Any], room: int) -> NDArray[Any]:
    grown = np.zeros((room, *values.shape[1:]), values.dtype)
    grown[: len(values)] = values
    return grown
