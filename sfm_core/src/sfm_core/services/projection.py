"""What the newest versions of memories are carried into: the vector index and cached copies.

The vocabulary of near words is none of it: the storage notes words with the write, and whoever noted them later could bring
back those of a memory that is erased meanwhile.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from sfm_core.errors import BackendError
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import ALL
from sfm_core.ports.embedding import Embedding
from sfm_core.ports.vectors import Point, Vectors

__all__ = ["Projection", "Terms"]

_log = logging.getLogger("sfm.projector")

Terms = Callable[[Memory], Sequence[str]]
_Row = Sequence[float]


class Projection:
    """Carries newest versions of memories into the projections.

    Args:
        vectors: the index; None when there is none.
        embedding: what embeds for it; None for an index of words alone.
        terms: the index terms of a memory's content, where the index is asked for words; None where it is not.
        forget: overwrites the cached copies of memories that are gone; it never fails. None when there are no copies.
    """

    def __init__(
        self,
        *,
        vectors: Vectors | None,
        embedding: Embedding | None,
        terms: Terms | None = None,
        forget: Callable[[Sequence[str]], Awaitable[object]] | None = None,
    ) -> None:
        self.vectors = vectors
        self._embedding = embedding
        self._terms = terms
        self._forget = forget

    @property
    def needed(self) -> bool:
        """Whether there is anything to project to."""
        return self.searched or self._forget is not None

    @property
    def searched(self) -> bool:
        """Whether answers depend on it; on cached copies none does."""
        return self.vectors is not None

    async def is_empty(self) -> bool:
        """Tell whether there is a vector index without a single point."""
        return self.vectors is not None and not await self.vectors.count(ALL)

    async def flush(self) -> None:
        """Make what was applied durable, as far as the projections are."""
        if self.vectors is not None:
            await self.vectors.flush()

    async def holds(self, live: Sequence[Memory]) -> bool:
        """Tell whether the vector index has `live` in these versions or newer ones, for good.

        That something is not in the index tells nothing: a projection that read it earlier may still be on its way.

        Raises:
            BackendError: it is down.
        """
        if any(m.content is None and m.version > 1 for m in live):
            return False
        wanted = {m.id: m.version for m in live if m.content is not None}
        if self.vectors is None or not wanted:
            return True
        have = await self.vectors.versions(list(wanted))
        return all(have.get(id, 0) >= version for id, version in wanted.items())

    async def apply(
        self,
        live: Sequence[Memory],
        gone: Sequence[tuple[str, int]],
        *,
        just_written: bool = False,
        strict: bool = False,
    ) -> None:
        """Project the newest versions `live`, and the deletions `gone` as (id, version).

        Args:
            live: memories that are to be found.
            gone: ids that are not, with the version of the tombstone or erasure.
            just_written: the writer has forgotten `gone`.

        Raises:
            BackendError: a projection or the embedder is down.
        """
        # First of all: an erased memory must not wait for an index or an embedder.
        if self._forget is not None and gone and not just_written:
            await self._forget([id for id, _ in gone])
        if self.vectors is not None:
            await self._index(self.vectors, live, gone, strict)

    async def _index(
        self, vectors: Vectors, live: Sequence[Memory], gone: Sequence[tuple[str, int]], strict: bool
    ) -> None:
        # Deletions first: they need no embedder, and an erased memory must not wait for one.
        without = [(m.id, m.version) for m in live if m.content is None]
        if gone or without:
            await vectors.delete([*gone, *without])
        if gone:
            await vectors.flush()
        stored = await vectors.versions([m.id for m in live]) if len(live) > 1 else {}
        texts = [m for m in live if m.content is not None and stored.get(m.id, 0) < m.version]
        if texts:
            await vectors.upsert(await self._points(texts, strict))

    async def _points(self, texts: Sequence[Memory], strict: bool) -> list[Point]:
        rows: Sequence[tuple[Memory, _Row | None]] = [(m, None) for m in texts]
        if self._embedding is not None:
            rows = await self._embedded(texts, strict)
        return [
            Point(m.id, m.version, m.namespace, row, m, () if self._terms is None else tuple(self._terms(m)))
            for m, row in rows
        ]

    async def _embedded(self, texts: Sequence[Memory], strict: bool) -> list[tuple[Memory, _Row]]:
        """Return memories with their vectors; a text that the embedder refuses among others is left out, and logged.

        Raises:
            BackendError: it refuses all of them, or one and `strict` is set.
        """
        try:
            return list(zip(texts, await self._vectors_of(texts), strict=True))
        except BackendError:
            if strict or len(texts) == 1:
                raise
        done: list[tuple[Memory, _Row]] = []
        refused: list[tuple[Memory, BackendError]] = []
        for memory in texts:
            try:
                done += zip([memory], await self._vectors_of([memory]), strict=True)
            except BackendError as error:
                refused.append((memory, error))
                if not done and len(refused) > 1:
                    raise
        for memory, cause in refused:
            _log.error("memory %s is left out of the vector index: %s", memory.id, cause)
        return done

    async def _vectors_of(self, texts: Sequence[Memory]) -> Sequence[_Row]:
        embedding = cast(Embedding, self._embedding)
        rows = await embedding.embed([cast(str, m.content) for m in texts])
        if len(rows) != len(texts) or not all(_is_sound(row, embedding.dimension) for row in rows):
            raise BackendError(
                f"embedding: returned something else than one finite vector of {embedding.dimension} numbers per text"
            )
        return rows


def _is_sound(row: _Row, dimension: int) -> bool:
    return len(row) == dimension and 0.0 < math.hypot(*row) < math.inf
