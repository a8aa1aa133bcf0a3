"""Words asked of the vector index instead of the storage: the same lexical arm, over what is projected."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from sfm_core.model.filter import Filter, fields_of, matches
from sfm_core.model.namespace import Scope
from sfm_core.ports.storage import Storage, TextHit, TextQuery
from sfm_core.ports.vectors import LexicalVectors, VectorsCapability

__all__ = ["IndexWords", "RanksWords"]

_OVERFETCH = 4


class RanksWords(Protocol):
    """What ranks memories by words: a storage with FULL_TEXT, or `IndexWords`."""

    async def search_text(
        self, scope: Scope, query: TextQuery, *, filter: Filter | None, limit: int, now: datetime
    ) -> list[TextHit]:
        """Return the best `limit` memories of `scope` that hold any term of `query` and pass `filter`."""
        ...


class IndexWords:
    """Ranks by words in a vector index with FULL_TEXT.

    An index with FILTER applies the filter, unless it tests the content, which only the storage has; else more and more of
    the best are fetched and filtered here. What the storage does not have any more is dropped by whoever hydrates.

    Args:
        index, able: the index and what it can do.
        storage: the records.
    """

    def __init__(self, index: LexicalVectors, able: frozenset[StrEnum], storage: Storage) -> None:
        self._index = index
        self._filters = VectorsCapability.FILTER in able
        self._storage = storage

    async def search_text(
        self, scope: Scope, query: TextQuery, *, filter: Filter | None, limit: int, now: datetime
    ) -> list[TextHit]:
        """Return the best `limit` memories of `scope` that hold any term of `query` and pass `filter`."""
        if filter is None or (self._filters and "content" not in fields_of(filter)):
            return await self._index.search_text(scope, query, limit=limit, filter=filter)
        wanted = limit
        while True:
            wanted *= _OVERFETCH
            hits = await self._index.search_text(scope, query, limit=wanted)
            passing = await self._passing(hits, filter, now)
            if len(passing) >= limit or len(hits) < wanted:
                return passing[:limit]

    async def _passing(self, hits: Sequence[TextHit], filter: Filter, now: datetime) -> list[TextHit]:
        memories = await self._storage.get([hit.id for hit in hits], now=now)
        return [hit for hit, memory in zip(hits, memories, strict=True) if memory and matches(filter, memory)]
