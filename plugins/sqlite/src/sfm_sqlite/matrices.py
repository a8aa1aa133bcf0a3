"""The matrices of the namespaces searched so far, brought up to date by the numbers of changes."""

from __future__ import annotations

from collections.abc import Sequence

from sfm_core.model.namespace import Scope
from sfm_core.ports.vectors import Space
from sfm_sqlite.matrix import Matrix, Target, halves
from sfm_sqlite.vectorfile import News, VectorFile

__all__ = ["Matrices"]

_MOST_NEWS = 20_000
_FEW_NEWS = 100
_MUCH = 2**40


class Matrices:
    """Not thread-safe."""

    def __init__(self, file: VectorFile, space: Space | None, *, most_bytes: int) -> None:
        self._file = file
        self._space = space
        self._most_numbers = most_bytes // 4
        self._matrices: dict[int, Matrix] = {}
        self._small = False
        self._seen = self._epoch = -1

    def forget(self, space: Space | None) -> None:
        """Drop everything; the index was cleared."""
        self._space = space
        self._matrices.clear()
        self._seen = self._epoch = -1

    def work(self, file: VectorFile, scope: Scope) -> int:
        """Return how many numbers a search of `scope` has to read or multiply; much when it must read first."""
        if self._seen < 0 or file.state()[0] - self._seen > _FEW_NEWS:
            return _MUCH
        loaded = [self._matrices.get(ns) for ns in file.namespaces(scope)]
        return sum(matrix.size if matrix is not None else _MUCH for matrix in loaded)

    def get(self, scope: Scope) -> list[Matrix]:
        """Return the matrices of a scope, as of now."""
        self._refresh()
        return [self._get(ns) for ns in self._file.namespaces(scope)]

    def _get(self, ns: int) -> Matrix:
        matrix = self._matrices.get(ns)
        if matrix is None:
            assert self._space is not None
            count = self._file.points_in(ns)
            self._make_room(count * self._space.dimension)
            matrix = Matrix(self._space.dimension, small=self._small)
            matrix.reserve(count)
            for batch in self._file.load(ns):
                matrix.add(halves([row[0] for row in batch]), [row[1] for row in batch], [row[2] for row in batch])
            self._matrices[ns] = matrix
        return matrix

    def _refresh(self) -> None:
        if self._seen < 0:
            self._seen, self._epoch = self._file.state()
            return
        news = self._file.news(self._seen, _MOST_NEWS)
        if news.epoch != self._epoch or len(news.rows) == _MOST_NEWS:
            self.forget(self._file.space() if news.epoch != self._epoch else self._space)
            self._seen, self._epoch = news.num, news.epoch
        elif news.rows:
            self._take_in(news)

    def _take_in(self, news: News) -> None:
        by_namespace: dict[int, list[tuple[bytes, int, bytes | None]]] = {}
        for ns, id, version, data in news.rows:
            if ns is not None and ns in self._matrices:
                by_namespace.setdefault(ns, []).append((id, version, data))
        for ns, rows in by_namespace.items():
            self._update(ns, rows)
        self._seen = news.num
        self._make_room(0)

    def _update(self, ns: int, rows: Sequence[tuple[bytes, int, bytes | None]]) -> None:
        matrix = self._matrices[ns]
        matrix.drop(Target(halves([id for id, _, _ in rows])))
        fresh = [(id, version, data) for id, version, data in rows if data is not None]
        if fresh:
            ids, versions, packed = zip(*fresh, strict=True)
            matrix.add(halves(ids), versions, packed)
        if matrix.is_wasteful:
            del self._matrices[ns]

    def _make_room(self, numbers: int) -> None:
        """Go over to int16 when float32 would take more than allowed with so many more numbers."""
        if not self._small and sum(matrix.size for matrix in self._matrices.values()) + numbers > self._most_numbers:
            self._small = True
            for matrix in self._matrices.values():
                matrix.shrink()
