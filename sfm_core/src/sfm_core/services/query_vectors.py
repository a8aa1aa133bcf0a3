"""The vectors of questions, kept in the cache: questions come again, and embedding one costs more than asking."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from hashlib import sha256
from sys import byteorder

from sfm_core.ports.embedding import Embedding
from sfm_core.services.steady import SteadyCache

__all__ = ["QueryVectors"]

_TTL = 3600.0
_NUMBER = "d"


class QueryVectors:
    """An embedding for questions that asks the cache first.

    A vector is found by the embedding's fingerprint and a digest of the text; the text itself is not in the cache.

    Args:
        embedding: what embeds.
        cache: where vectors are kept, an hour each.
    """

    def __init__(self, embedding: Embedding, cache: SteadyCache) -> None:
        self._embedding = embedding
        self._cache = cache

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return self._embedding.dimension

    @property
    def fingerprint(self) -> str:
        """That of the embedding."""
        return self._embedding.fingerprint

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector per text, as the embedding does."""
        if not texts:
            return []
        keys = [self._key(text) for text in texts]
        values = await self._cache.get(keys)
        if values is None:
            return await self._embedding.embed(texts)
        known = {key: row for key, value in zip(keys, values, strict=True) if (row := self._row(value)) is not None}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        self._cache.counts["vector_hits"] += len(known)
        self._cache.counts["vector_misses"] += len(missing)
        if missing:
            rows = await self._embedding.embed(list(missing.values()))
            fresh = {key: array(_NUMBER, row) for key, row in zip(missing, rows, strict=True)}
            await self._cache.add({key: row.tobytes() for key, row in fresh.items()}, ttl=_TTL)
            known |= fresh
        return [known[key] for key in keys]

    def _key(self, text: str) -> str:
        digest = sha256(f"{self.fingerprint}\0{byteorder}\0{text}".encode(errors="surrogatepass")).hexdigest()
        return f"vector:{digest}"

    def _row(self, value: bytes | None) -> array[float] | None:
        """Return the vector that `value` holds, None unless it is one of the embedding's dimension."""
        if value is None or len(value) != 8 * self.dimension:
            return None
        row: array[float] = array(_NUMBER)
        row.frombytes(value)
        return row if 0.0 < math.hypot(*row) < math.inf else None
