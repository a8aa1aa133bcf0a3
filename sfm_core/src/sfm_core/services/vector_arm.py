"""The vector arm: nearest vectors that pass a filter, whatever part of the filter the index itself can apply."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import cast

from sfm_core.model.filter import fields_of, matches
from sfm_core.ports.storage import Matching, Storage, StorageCapability
from sfm_core.ports.vectors import VectorHit, Vectors, VectorsCapability
from sfm_core.services.asked import Asked

__all__ = ["VectorArm", "unit"]

_AMONG = 20_000
"""When more memories pass a filter, most of the nearest do as well: looking at those first is cheaper."""
_OVERFETCH = 4


class VectorArm:
    """Searches an index of vectors before or after filtering.

    An index with FILTER applies the whole filter, unless it tests the content, which only the storage has. One with AMONG
    gets the ids that pass, named by a storage with MATCHING. Else more and more of the nearest are fetched and filtered
    here, until there are enough or the index has no more.
    """

    def __init__(
        self, vectors: Vectors, able: frozenset[StrEnum], storage: Storage, storage_able: frozenset[StrEnum]
    ) -> None:
        self._vectors = vectors
        self._filters = VectorsCapability.FILTER in able
        self._storage = storage
        among = VectorsCapability.AMONG in able and StorageCapability.MATCHING in storage_able
        self._matching = cast(Matching, storage) if among else None

    async def search(self, asked: Asked, vector: Sequence[float], limit: int) -> list[VectorHit]:
        """Return at most `limit` hits that pass the filter, best first; fewer only when the index holds no more."""
        if asked.filter is None or (self._filters and "content" not in fields_of(asked.filter)):
            return await self._vectors.search(asked.scope, vector, limit=limit, filter=asked.filter)
        if self._matching is not None:
            ids = await self._matching.matching(asked.scope, filter=asked.filter, limit=_AMONG + 1, now=asked.now)
            if len(ids) <= _AMONG:
                return await self._vectors.search(asked.scope, vector, limit=limit, among=ids) if ids else []
        return await self._filtered(asked, vector, limit)

    async def _filtered(self, asked: Asked, vector: Sequence[float], limit: int) -> list[VectorHit]:
        wanted = limit
        while True:
            wanted *= _OVERFETCH
            hits = await self._vectors.search(asked.scope, vector, limit=wanted)
            memories = await self._storage.get([hit.id for hit in hits], now=asked.now)
            passing = [
                hit for hit, memory in zip(hits, memories, strict=True) if memory and matches(asked.filter, memory)
            ]
            if len(passing) >= limit or len(hits) < wanted:
                return passing[:limit]


def unit(vector: Sequence[float]) -> list[float]:
    """Return `vector` with length 1; numbers near the edge of the float range do not overflow."""
    length = math.hypot(*vector)
    if not math.isfinite(length):
        largest = max(map(abs, vector))
        vector = [number / largest for number in vector]
        length = math.hypot(*vector)
    return [number / length for number in vector]
