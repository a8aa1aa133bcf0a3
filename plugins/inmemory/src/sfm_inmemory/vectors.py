"""The vector index in memory: one matrix of unit rows, scanned whole; and the terms of each point."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from sfm_core.errors import CapabilityNotSupported
from sfm_core.model.filter import Filter, matches
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope
from sfm_core.ports.storage import TextHit, TextQuery
from sfm_core.ports.vectors import Point, Space, VectorHit
from sfm_inmemory.fulltext import Document, rank

__all__ = ["InmemoryVectors"]

_FIRST_ROWS = 64
_DIGITS = 6  # float32 sums differ in the 7th digit between equal rows; ties are by id


class _Row(Struct, frozen=True):
    id: str
    version: int
    namespace: str
    memory: Memory
    has_vector: bool
    document: Document


class InmemoryVectors:
    """The vectors port, exact, with `among` and `filter` applied before the best are taken, and with words.

    Args:
        space: what the vectors are; None for an index of words alone.
    """

    def __init__(self, space: Space | None) -> None:
        self._space = space
        self._forget()

    async def upsert(self, points: Sequence[Point]) -> None:
        """Store points; older versions than the stored or deleted one change nothing."""
        for point in points:
            if point.version > self._versions.get(point.id, 0):
                self._versions[point.id] = point.version
                self._write(point)

    async def delete(self, ids: Sequence[tuple[str, int]]) -> None:
        """Remove points and remember at which version; a newer point stays."""
        for id, version in ids:
            if version >= self._versions.get(id, 0):
                self._versions[id] = version
                self._remove(id)

    async def search(
        self,
        scope: Scope,
        vector: Sequence[float],
        *,
        limit: int,
        among: Sequence[str] | None = None,
        filter: Filter | None = None,
    ) -> list[VectorHit]:
        """Return the nearest points: see the port."""
        if self._space is None:
            raise CapabilityNotSupported("inmemory/vectors: the index was opened without a space: it holds words alone")
        wanted = None if among is None else set(among)
        kept = [
            number
            for number, row in enumerate(self._rows)
            if row.has_vector
            and scope.covers(row.namespace)
            and (wanted is None or row.id in wanted)
            and (filter is None or matches(filter, row.memory))
        ]
        if not kept:
            return []
        cosines = np.round(self._matrix[kept] @ _unit(vector), _DIGITS).tolist()
        found = ((self._rows[number], cosine) for number, cosine in zip(kept, cosines, strict=True))
        hits = sorted((VectorHit(row.id, row.version, cosine) for row, cosine in found), key=_best_first)
        return hits[:limit]

    async def search_text(
        self, scope: Scope, query: TextQuery, *, limit: int, filter: Filter | None = None
    ) -> list[TextHit]:
        """Return the best points by words, by the formula of the storage port."""
        rows = [row for row in self._rows if scope.covers(row.namespace)]
        passing = [row.id for row in rows if filter is None or matches(filter, row.memory)]
        return rank([row.document for row in rows], query, passing, limit)

    async def versions(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the stored version of each of `ids` that has a point."""
        return {id: self._versions[id] for id in ids if id in self._places}

    async def count(self, scope: Scope) -> int:
        """Return the number of points in `scope`."""
        return sum(scope.covers(row.namespace) for row in self._rows)

    async def flush(self) -> None:
        """Nothing here is durable."""

    async def clear(self, space: Space | None = None) -> None:
        """Throw away all points, and change to `space` when given."""
        self._space = space or self._space
        self._forget()

    async def check(self) -> None:
        """Answer."""

    def _forget(self) -> None:
        self._versions: dict[str, int] = {}
        self._places: dict[str, int] = {}
        self._rows: list[_Row] = []
        self._dimension = self._space.dimension if self._space is not None else 0
        self._matrix: Any = np.zeros((0, self._dimension), dtype=np.float32)

    def _write(self, point: Point) -> None:
        document = Document(point.id, Counter(point.terms), len(point.terms))
        row = _Row(point.id, point.version, point.namespace, point.memory, point.vector is not None, document)
        place = self._places.setdefault(point.id, len(self._rows))
        if place == len(self._rows):
            self._rows.append(row)
        self._rows[place] = row
        if place >= len(self._matrix):
            grown = np.zeros((max(_FIRST_ROWS, 2 * place), self._dimension), dtype=np.float32)
            grown[:place] = self._matrix[:place]
            self._matrix = grown
        self._matrix[place] = 0.0 if point.vector is None else _unit(point.vector)

    def _remove(self, id: str) -> None:
        place = self._places.pop(id, None)
        if place is None:
            return
        last = self._rows.pop()
        if last.id != id:
            self._rows[place] = last
            self._places[last.id] = place
            self._matrix[place] = self._matrix[len(self._rows)]
        self._matrix[len(self._rows)] = 0.0


def _unit(vector: Sequence[float]) -> Any:
    given = np.asarray(vector, dtype=np.float32)
    return given / np.linalg.norm(given)


def _best_first(hit: VectorHit) -> tuple[float, str]:
    return (-hit.cosine, hit.id)
