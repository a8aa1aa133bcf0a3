"""The vector index: precision, memory, slots, other openings."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfm_core.errors import CapabilityNotSupported, ConfigError
from sfm_core.model.filter import And
from sfm_core.model.namespace import ALL, Scope
from sfm_core.plugins.types import OpenContext
from sfm_core.ports.vectors import Point, VectorHit
from sfm_core.testing.build import memory
from sfm_sqlite.config import SqliteConfig
from sfm_sqlite.matrix import pack, row_type
from sfm_sqlite.vectors import open_vectors

Opening = Callable[..., Any]


def points(values: Any, namespace: str = "a", version: int = 1) -> list[Point]:
    memories = [memory(f"m {n}", namespace=namespace) for n in range(len(values))]
    return [Point(m.id, version, namespace, row, m) for m, row in zip(memories, values, strict=True)]


def exact(stored: Sequence[Point], asked: Any) -> dict[str, float]:
    matrix = np.array([p.vector for p in stored], np.float64)
    cosines = matrix @ asked / np.linalg.norm(matrix, axis=1) / np.linalg.norm(asked)
    return dict(zip((p.id for p in stored), cosines.tolist(), strict=True))


def compare(found: Sequence[VectorHit], cosines: dict[str, float], limit: int) -> None:
    assert len(found) == min(limit, len(cosines))
    best = sorted(cosines.values(), reverse=True)[:limit]
    assert [hit.cosine for hit in found] == pytest.approx(best, abs=1e-5)
    assert [cosines[hit.id] for hit in found] == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("dimension", [16, 255, 256, 384, 1536])
def test_a_stored_vector_is_off_by_less_than_a_hundred_thousandth(dimension: int) -> None:
    """In its cosine to any other, and it has length 1; lists and arrays alike, of any length and scale."""
    draw = np.random.default_rng(dimension)
    given = draw.standard_normal((300, dimension)) * np.exp(draw.standard_normal((300, 1)) * 20)
    rows = np.frombuffer(b"".join(pack(given.tolist(), dimension)), row_type(dimension))
    stored = rows["values"] * rows["factor"][:, None].astype(np.float64)
    units = given / np.linalg.norm(given, axis=1, keepdims=True)
    assert np.abs(stored @ units.T - units @ units.T).max() < 1e-5
    assert np.abs(np.linalg.norm(stored, axis=1) - 1).max() < 1e-6


@pytest.mark.parametrize(("megabytes", "dimension"), [(0, 256), (48, 256), (0, 16)])
async def test_hits_are_the_true_ones_in_either_form(opening_vectors: Opening, megabytes: int, dimension: int) -> None:
    """float32 and int16, over several blocks and namespaces, with changes after the first search, and reopened."""
    draw = np.random.default_rng(1)
    a, b = points(draw.standard_normal((5000, dimension))), points(draw.standard_normal((300, dimension)), "a/b")
    asked = draw.standard_normal(dimension)
    async with opening_vectors(dimension, vector_memory_megabytes=megabytes) as vectors:
        await vectors.upsert(a + b)
        compare(await vectors.search(Scope("a"), asked, limit=50), exact(a, asked), 50)
        compare(await vectors.search(ALL, asked, limit=50), exact(a + b, asked), 50)
        changed = [
            Point(p.id, 2, p.namespace, row, p.memory)
            for p, row in zip(a[:700], draw.standard_normal((700, dimension)), strict=True)
        ]
        await vectors.upsert(changed)
        await vectors.delete([(p.id, 3) for p in b[:100]])
        now = changed + a[700:] + b[100:]
        compare(await vectors.search(ALL, asked, limit=50), exact(now, asked), 50)
        some = [p.id for p in now[::37]]
        wanted = {id: cosine for id, cosine in exact(now, asked).items() if id in set(some)}
        compare(await vectors.search(ALL, asked, limit=30, among=some), wanted, 30)
    async with opening_vectors(dimension, vector_memory_megabytes=megabytes) as vectors:
        compare(await vectors.search(ALL, asked, limit=50), exact(now, asked), 50)


async def test_growing_beyond_the_allowance_keeps_all_hits(opening_vectors: Opening) -> None:
    """From float32 to int16 while the index is in use."""
    draw = np.random.default_rng(2)
    stored = points(draw.standard_normal((9000, 256)))
    asked = draw.standard_normal(256)
    async with opening_vectors(256, vector_memory_megabytes=5) as vectors:
        for start in range(0, 9000, 3000):
            await vectors.upsert(stored[start : start + 3000])
            compare(await vectors.search(ALL, asked, limit=9), exact(stored[: start + 3000], asked), 9)


async def test_slots_are_used_again(opening_vectors: Opening, tmp_path: Path) -> None:
    """A file with as many deletions and updates as points does not grow."""
    draw = np.random.default_rng(3)
    async with opening_vectors() as vectors:
        for version in range(1, 6):
            stored = points(draw.standard_normal((200, 16)))
            await vectors.upsert(stored)
            await vectors.upsert([Point(p.id, 2, "a", p.vector, p.memory) for p in stored])
            await vectors.delete([(p.id, 3) for p in stored[: 200 if version < 5 else 0]])
        assert await vectors.count(ALL) == 200
    with sqlite3.connect(tmp_path / "vectors.sqlite3") as connection:
        assert connection.execute("SELECT count(*) FROM points").fetchone() == (200,)
    connection.close()


async def test_another_opening_sees_changes_and_clearing(opening_vectors: Opening) -> None:
    """At its next search."""
    draw = np.random.default_rng(4)
    async with opening_vectors() as one, opening_vectors() as other:
        stored = points(draw.standard_normal((20, 16)))
        await one.upsert(stored[:10])
        assert len(await other.search(ALL, stored[0].vector, limit=99)) == 10
        await other.upsert(stored[10:])
        await one.delete([(stored[0].id, 2)])
        assert len(await one.search(ALL, stored[0].vector, limit=99)) == 19
        assert len(await other.search(ALL, stored[0].vector, limit=99)) == 19
        await one.clear()
        assert await other.search(ALL, stored[0].vector, limit=99) == []
        await other.upsert(stored[:1])
        assert [hit.id for hit in await one.search(ALL, stored[0].vector, limit=99)] == [stored[0].id]


async def test_equal_vectors_come_in_order_of_their_ids(opening_vectors: Opening) -> None:
    """However many there are, in whatever block."""
    row = np.random.default_rng(5).standard_normal(16)
    stored = points(np.tile(row, (5000, 1)))
    async with opening_vectors() as vectors:
        await vectors.upsert(stored)
        found = await vectors.search(ALL, row, limit=20)
    assert [hit.id for hit in found] == sorted(p.id for p in stored)[:20]


async def test_a_filter_is_refused(opening_vectors: Opening) -> None:
    """The storage names the ids instead."""
    async with opening_vectors() as vectors:
        with pytest.raises(CapabilityNotSupported, match="among"):
            await vectors.search(ALL, [1.0] * 16, limit=1, filter=And(()))


async def test_an_index_without_a_known_space_takes_none(tmp_path: Path) -> None:
    """A space of None opens whatever is there, for a rebuild; with nothing there no vector can be stored."""
    async with open_vectors(SqliteConfig(), OpenContext(data_dir=tmp_path)) as vectors:
        assert await vectors.search(ALL, [1.0], limit=3) == []
        with pytest.raises(ConfigError, match="no embedding"):
            await vectors.upsert(points(np.ones((1, 16))))
