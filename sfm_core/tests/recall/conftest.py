"""A recall over in-memory backends, with words, vectors and faults under the test's control."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import numpy as np
import pytest

from sfm_core.model.memory import Memory
from sfm_core.model.query import Answer, RecallQuery
from sfm_core.model.twins import digest
from sfm_core.ports.storage import StorageCapability
from sfm_core.ports.vectors import Point, Space, VectorsCapability
from sfm_core.ports.writes import Put, PutLink, Remove, Replace
from sfm_core.services.limits import Limits
from sfm_core.services.principal import EVERYTHING, Principal
from sfm_core.services.recall import Recall
from sfm_core.text.analysis import analyse
from sfm_inmemory.storage import InmemoryStorage
from sfm_inmemory.vectors import InmemoryVectors

NOW = datetime(2024, 5, 15, 12, tzinfo=UTC)
DIMENSION = 8


class Embedder:
    """Embeds a text as the sum of the vectors of its letters' words; notes what it was asked, can fail or stall."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.stalls = False
        self.stalled = asyncio.Event()

    dimension = DIMENSION
    fingerprint = "letters"

    def vector(self, text: str) -> list[float]:
        """Return the vector of a text: one axis per first letter of its words."""
        row = [0.0] * DIMENSION
        for word in text.lower().split():
            row[ord(word[0]) % DIMENSION] += 1.0
        return row if any(row) else [1.0] * DIMENSION

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector per text."""
        self.asked += texts
        if self.error is not None:
            raise self.error
        if self.stalls:
            self.stalled.set()
            await asyncio.sleep(60)
        return [self.vector(text) for text in texts]


class World:
    """In-memory backends and what was put into them."""

    def __init__(self) -> None:
        self.storage = InmemoryStorage()
        self.vectors = InmemoryVectors(Space(DIMENSION, "letters"))
        self.embedder = Embedder()
        self.now = NOW
        self.count = 0

    async def put(self, content: str | None, *, language: str = "english", embed: bool = True, **fields: Any) -> Memory:
        """Store a memory; later ones are a second younger. Returns it as stored."""
        self.count += 1
        at = NOW - timedelta(days=1) + timedelta(seconds=self.count)
        given = {"id": str(uuid.UUID(int=self.count)), "namespace": "a", "occurred_at": at, **fields}
        memory = Memory(**{"content": content, "created_at": at, "updated_at": at, **given})
        analysis = analyse(content, memory.author, language)
        write = Put(memory=memory, analysis=analysis, digest=digest(memory), given=frozenset(fields), dedupe=False)
        await self.storage.apply([write])
        if embed and content is not None:
            await self.index(memory)
        return memory

    async def index(self, memory: Memory, vector: Sequence[float] | None = None) -> None:
        """Put a memory's vector into the index."""
        row = vector if vector is not None else self.embedder.vector(memory.content or "")
        await self.vectors.upsert(
            [Point(memory.id, memory.version, memory.namespace, np.asarray(row, np.float32), memory)]
        )

    async def replace(self, memory: Memory, **changes: Any) -> Memory:
        """Store the next version of a memory in the storage alone."""
        fields = {field: getattr(memory, field) for field in Memory.__struct_fields__}
        new = Memory(**{**fields, **changes, "version": memory.version + 1, "updated_at": self.now})
        analysis = analyse(new.content, new.author)
        await self.storage.apply(
            [Replace(memory=new, analysis=analysis, digest=digest(new), expected_version=memory.version)]
        )
        return new

    async def remove(self, memory: Memory) -> None:
        """Delete a memory in the storage alone."""
        await self.storage.apply([Remove(id=memory.id, operation=str(uuid.UUID(int=1 << 64)), time=self.now)])

    async def link(self, source: Memory, target: Memory, weight: float = 1.0) -> None:
        """Link two memories."""
        from sfm_core.model.link import Link

        link = Link(
            source=source.id,
            target=target.id,
            weight=weight,
            namespace=source.namespace,
            created_at=NOW,
            updated_at=NOW,
        )
        await self.storage.apply([PutLink(link=link)])

    def recall(
        self,
        *,
        meaning: bool = False,
        able: Sequence[StrEnum] = (VectorsCapability.FILTER, VectorsCapability.AMONG),
        storage: Any = None,
        storage_able: Sequence[StrEnum] = tuple(StorageCapability),
        near_words: Any = None,
        limits: Mapping[str, Any] | None = None,
        language: str = "english",
        **more: Any,
    ) -> Recall:
        """Return a recall over these backends; `meaning` adds the vector arm."""
        return Recall(
            self.storage if storage is None else storage,
            frozenset(storage_able),
            vectors=self.vectors if meaning else None,
            vectors_able=frozenset(able),
            embedding=self.embedder if meaning else None,
            near_words=near_words,
            limits=Limits(**(limits or {})),
            clock=lambda: self.now,
            language_of=lambda namespace: language,
            **more,
        )

    async def ask(
        self,
        query: str | None = None,
        *,
        using: Recall | None = None,
        principal: Principal = EVERYTHING,
        **options: Any,
    ) -> Answer:
        """Recall in namespace "a" (or another) and return the answer."""
        asked = RecallQuery(**{"query": query, "namespace": "a", **options})
        return await (using or self.recall()).recall(principal, asked)


@pytest.fixture
def world() -> World:
    """Return empty backends."""
    return World()


@pytest.fixture
def contents() -> Callable[[Answer], list[str | None]]:
    """Return a function from an answer to the contents of its hits."""
    return lambda answer: [hit.memory.content for hit in answer.hits]
