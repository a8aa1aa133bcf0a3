"""`python -m benchmarks.backends.pgvector`: vector search in PostgreSQL beside the bare driver, on a real server, as ratios.

The floor writes the same rows into a table of the same columns and indexes, and searches it, as a program would with psycopg
and pgvector alone: vectors as text, as its documentation has them, and a row that is older than the stored one changes nothing.
The rows it stores are made beforehand. Both run in turn, so that a drift of the machine meets both.

By HNSW the two do not promise the same: ours has a second copy of each vector for the graph, so that crowds of equal vectors
hide nobody, and asks for twice as many as wanted, so that a filter loses none of the best. Where a filter lets few points
through the server looks at all rows in either case, and ours are twice as long.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import psycopg

from benchmarks.speed.texts import DIMENSION, memories, namespace
from sfm_core.config.secret import Secret
from sfm_core.model.filter import parse_filter
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import ALL, Scope
from sfm_core.plugins.types import OpenContext
from sfm_core.ports.vectors import Point, Space
from sfm_core.services.ids import new_id
from sfm_core.testing.servers.postgres import PostgresServer
from sfm_pgvector.config import PgvectorConfig
from sfm_pgvector.layout import FIELDS
from sfm_pgvector.vectors import PgvectorVectors, open_vectors

ROUNDS = 200
BATCH = 1000
NAMESPACES = 5
K = 10
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TABLE = "bare.points"
SPACE = Space(DIMENSION, "bench")

Call = Callable[[int], Awaitable[object]]

_NAMES = ("id", "version", *FIELDS, "embedding")
_STORE = f"""INSERT INTO {TABLE} AS p ({", ".join(_NAMES)}) VALUES ({", ".join(["%s"] * len(_NAMES))})
    ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _NAMES[1:])}
    WHERE p.version < excluded.version"""
_NEAREST = f"""SELECT id, version, 1 - (embedding <=> %s::halfvec) FROM {TABLE}
    WHERE {{where}} ORDER BY embedding <=> %s::halfvec LIMIT {K}"""
_VERSIONS = f"SELECT id, version FROM {TABLE} WHERE id = ANY(%s::uuid[])"
_HNSW = "SET hnsw.iterative_scan = relaxed_order", "SET hnsw.ef_search = 100"


def points(count: int, *, seed: int = 1) -> list[Point]:
    """Return made-up points; one in a hundred is tagged."""
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSION))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    times = {"occurred_at": NOW, "created_at": NOW, "updated_at": NOW}
    made = []
    for number, (fields, row) in enumerate(zip(memories(count, NAMESPACES, seed=seed), rows.tolist(), strict=True)):
        memory = Memory(id=new_id(), tags=("rare",) if number % 100 == 0 else (), **times, **fields)
        made.append(Point(memory.id, 1, memory.namespace, row, memory))
    return made


def text_of(vector: Sequence[float]) -> str:
    """Return a vector as pgvector's documentation writes it."""
    return f"[{','.join(map(str, vector))}]"


def bare_row(point: Point) -> tuple[Any, ...]:
    """Return the same row."""
    fields = [getattr(point.memory, name) for name in FIELDS]
    values = (
        None if isinstance(field, dict) else list(field) if isinstance(field, tuple) else field for field in fields
    )
    assert point.vector is not None
    return (point.id, 1, *values, text_of(point.vector))


class Bare:
    """The driver alone, on a table of its own."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def make(self, schema: str, *, hnsw: bool) -> None:
        """Make the table like the one of the index, with the indexes that belong to it; searches look as far as ours."""
        like = f"LIKE {schema}.points_1 INCLUDING ALL EXCLUDING INDEXES, PRIMARY KEY (id)"
        made = ["CREATE SCHEMA bare", f"CREATE TABLE {TABLE} ({like})", f"CREATE INDEX ON {TABLE} (namespace)", *_HNSW]
        if hnsw:
            made += [
                f"ALTER TABLE {TABLE} DROP walk",
                f"CREATE INDEX ON {TABLE} USING hnsw (embedding halfvec_cosine_ops)",
            ]
        for statement in made:
            await self._connection.execute(statement.encode())

    async def store(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Store rows in one transaction."""
        async with self._connection.transaction(), self._connection.cursor() as cursor:
            await cursor.executemany(_STORE, rows)

    async def store_one(self, row: tuple[Any, ...]) -> None:
        """Store a row."""
        await self._connection.execute(_STORE.encode(), row)

    async def versions(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the versions of rows."""
        cursor = await self._connection.execute(_VERSIONS.encode(), (list(ids),))
        return {str(id): version for id, version in await cursor.fetchall()}

    async def nearest(self, where: str, values: Sequence[Any], vector: Sequence[float]) -> int:
        """Return how many of the nearest rows came."""
        text = text_of(vector)
        cursor = await self._connection.execute(_NEAREST.format(where=where).encode(), (text, *values, text))
        return len(await cursor.fetchall())


async def medians(ours: Call, floor: Call, rounds: int) -> tuple[float, float]:
    """Run both in turn and return the median microseconds of each."""
    mine: list[float] = []
    base: list[float] = []
    for i in range(rounds + 5):
        start = time.perf_counter()
        await ours(i)
        middle = time.perf_counter()
        await floor(i)
        mine.append(middle - start)
        base.append(time.perf_counter() - middle)
    return 1e6 * statistics.median(mine[5:]), 1e6 * statistics.median(base[5:])


def show(what: str, ours: float, floor: float) -> None:
    """Print one line."""
    print(f"{what:44s} {ours:10.1f} {floor:10.1f} {ours / floor:7.2f}", flush=True)


async def stores(vectors: PgvectorVectors, bare: Bare, made: Sequence[Point], what: str) -> None:
    """Measure writes."""
    rows = [bare_row(point) for point in made]
    times: list[list[float]] = [[], []]
    for start in range(0, len(made), BATCH):
        began = time.perf_counter()
        await vectors.upsert(made[start : start + BATCH])
        middle = time.perf_counter()
        await bare.store(rows[start : start + BATCH])
        times[0].append((middle - began) / BATCH)
        times[1].append((time.perf_counter() - middle) / BATCH)
    show(f"store in batches of 1,000 {what}", *(1e6 * statistics.median(taken) for taken in times))
    extra = points(ROUNDS + 5, seed=2)
    singles = [bare_row(point) for point in extra]
    figures = await medians(lambda i: vectors.upsert([extra[i]]), lambda i: bare.store_one(singles[i]), ROUNDS)
    show(f"store one {what}", *figures)
    ids = [point.id for point in made]
    ten: Call = lambda i: vectors.versions(ids[i : i + 10])  # noqa: E731
    figures = await medians(ten, lambda i: bare.versions(ids[i : i + 10]), ROUNDS)
    show(f"read ten versions by id {what}", *figures)


async def searches(vectors: PgvectorVectors, bare: Bare, scope: Scope, where: str, what: str) -> None:
    """Measure searches without and with a filter that lets 1 % through."""
    draw = np.random.default_rng(3)
    asked = draw.standard_normal((ROUNDS + 5, DIMENSION)).tolist()
    rare = parse_filter({"field": "tags", "op": "contains", "value": "rare"})
    values = [] if scope == ALL else [scope.namespace]
    for filter, test, name in ((None, "", ""), (rare, " AND tags @> ARRAY['rare']", ", 1 % filter")):

        async def ours(i: int, filter: Any = filter) -> None:
            hits = await vectors.search(scope, asked[i], limit=K, filter=filter)
            assert len(hits) == K

        def floor(i: int, test: str = test) -> Awaitable[int]:
            return bare.nearest(where + test, values, asked[i])

        show(f"search {what}{name}", *await medians(ours, floor, ROUNDS))


async def measure(url: str, size: int) -> None:
    """Print the tables: without HNSW and with it."""
    for hnsw in (False, True):
        print(f"{size:,} points, {'HNSW' if hnsw else 'no HNSW':33s} ours us   bare us   ratio")
        connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
        for statement in ("DROP SCHEMA IF EXISTS bare CASCADE", "DROP SCHEMA IF EXISTS sfm_vectors CASCADE"):
            await connection.execute(statement.encode())
        config = PgvectorConfig(url=Secret(url), hnsw=hnsw, exact_below=size // 2, statement_timeout=60)
        async with connection, open_vectors(config, OpenContext(space=SPACE)) as vectors:
            bare = Bare(connection)
            await bare.make(config.schema, hnsw=hnsw)
            await stores(vectors, bare, points(size), "")
            await connection.execute(b"ANALYZE")
            await searches(vectors, bare, Scope(namespace(0)), "namespace = %s", f"{size // NAMESPACES:,} exactly")
            if hnsw:
                await searches(vectors, bare, ALL, "true", f"{size:,} by HNSW")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="an empty database with pgvector; without it a server is started")
    parser.add_argument("--size", type=int, default=5_000)
    options = parser.parse_args()
    random.seed(1)
    if options.url:
        asyncio.run(measure(options.url, options.size))
        return
    with PostgresServer("18") as server:
        asyncio.run(measure(server.url, options.size))


if __name__ == "__main__":
    main()
