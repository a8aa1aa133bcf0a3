"""Vectors of questions in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sfm_core.config.modes import Role
from sfm_core.model.query import RecallQuery
from sfm_core.runtime import open_services
from sfm_core.services.principal import EVERYTHING
from sfm_core.services.query_vectors import QueryVectors
from sfm_core.services.steady import SteadyCache
from sfm_core.testing.fakes import HashingEmbedding


class Counted(HashingEmbedding):
    """Says what it was asked."""

    def __init__(self, dimension: int = 8, fingerprint: str = "counted/8") -> None:
        super().__init__(dimension)
        self.name = fingerprint
        self.asked: list[str] = []

    @property
    def fingerprint(self) -> str:
        """As given."""
        return self.name

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Note and embed."""
        self.asked += texts
        return await super().embed(texts)


def vectors(embedding: Counted, cache: Any) -> QueryVectors:
    return QueryVectors(embedding, SteadyCache(cache, patience=0.05))


async def test_a_question_is_embedded_once(cache: Any) -> None:
    """Its vector is the same to the last bit, alone and among others."""
    embedding = Counted()
    asked = vectors(embedding, cache)
    [fresh] = await asked.embed(["one question"])
    mixed = await vectors(embedding, cache).embed(["two", "one question", "two", "\ud800"])
    assert list(mixed[1]) == list(fresh) == HashingEmbedding(8).vector("one question")
    assert mixed[0] == mixed[2]
    assert embedding.asked == ["one question", "two", "\ud800"]
    assert await asked.embed([]) == []
    assert (asked.dimension, asked.fingerprint) == (8, "counted/8")


async def test_the_text_is_not_in_the_cache(cache: Any) -> None:
    """Neither in keys nor in values."""
    await vectors(Counted(), cache).embed(["very secret"])
    assert not any("secret" in key or b"secret" in value for key, value in cache.values.items())


async def test_another_embedding_does_not_see_it(cache: Any) -> None:
    """Fingerprint and dimension tell them apart."""
    await vectors(Counted(), cache).embed(["text"])
    for embedding in (Counted(fingerprint="other/8"), Counted(16)):
        await vectors(embedding, cache).embed(["text"])
        assert embedding.asked == ["text"]


@pytest.mark.parametrize("rubbish", [b"", b"x", b"\x00" * 64, b"\xff" * 64, b"\x00" * 65])
async def test_rubbish_is_a_miss(cache: Any, rubbish: bytes) -> None:
    """Too short, too long, zero, not finite."""
    embedding = Counted()
    await vectors(embedding, cache).embed(["text"])
    [key] = cache.values
    await cache.set({key: rubbish}, ttl=60)
    assert list((await vectors(embedding, cache).embed(["text"]))[0]) == embedding.vector("text")
    assert embedding.asked == ["text", "text"]


async def test_without_the_cache_the_embedding_answers(cache: Any) -> None:
    """Every time."""
    embedding = Counted()
    cache.down = True
    asked = vectors(embedding, cache)
    assert await asked.embed(["a"]) == await asked.embed(["a"])
    assert embedding.asked == ["a", "a"]


async def test_a_function_of_the_program_is_not_trusted_by_its_name(storage: Any, cache: Any) -> None:
    """Two programs may have different functions of one name: their vectors are not kept."""
    hashing = HashingEmbedding(16)

    def embed(texts: list[str]) -> list[list[float]]:
        return [hashing.vector(text) for text in texts]

    async with open_services(settings={"mode": "test"}, role=Role.SERVICE, embed=embed) as runtime:
        await runtime.services.remember.remember(EVERYTHING, {"content": "word", "namespace": "n"})
        await runtime.services.recall.recall(EVERYTHING, RecallQuery(query="word", namespace="n"))
        assert runtime.services.cache.counts["vector_misses"] == 0
