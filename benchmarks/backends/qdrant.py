"""`python -m benchmarks.backends.qdrant`: the index beside the bare driver, as ratios.

In process, and on the server of `TEST_QDRANT_URL` over HTTP and gRPC when one is named. The floor stores the same vectors with
the memory's own fields as payload, searches one keyword and reads id, version and score of what it found, as a program would
with the driver alone. Both run in turn, so that a drift of the machine meets both.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import numpy as np
import qdrant_edge as q
from qdrant_client import models

from benchmarks.speed.texts import DIMENSION, memories, namespace
from sfm_core.model.filter import parse_filter
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope
from sfm_core.plugins.types import OpenContext
from sfm_core.ports.abilities import TextQuery, WordGroup
from sfm_core.ports.vectors import Point, Space
from sfm_core.services.ids import new_id
from sfm_core.text.analysis import analyse
from sfm_qdrant import edge_requests, requests
from sfm_qdrant.config import QdrantConfig
from sfm_qdrant.engine import DENSE, WORDS, Sparse
from sfm_qdrant.payload import INDEXES, micros
from sfm_qdrant.plugin import sfm_vectors
from sfm_qdrant.testing import drop_collections, server_config, wires
from sfm_qdrant.words import number_of, weigh

ROUNDS = 200
BATCH = 1000
NAMESPACES = 5
K = 10
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SPACE = Space(DIMENSION, "bench")
AVERAGE = QdrantConfig().average_terms

Call = Callable[[int], Awaitable[object]]
Hit = tuple[str, int, float]


class Stored(Protocol):
    """The bare driver with a collection of its own."""

    async def store(self, points: Sequence[Point]) -> None: ...

    async def nearest(self, using: str, vector: Any, key: str, value: str) -> list[Hit]: ...

    async def versions(self, ids: Sequence[str]) -> dict[str, int]: ...


def points(count: int, *, seed: int = 1) -> list[Point]:
    """Return made-up points; one in a hundred is tagged."""
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSION))
    times = {"occurred_at": NOW, "created_at": NOW, "updated_at": NOW}
    made = []
    for number, (fields, row) in enumerate(zip(memories(count, NAMESPACES, seed=seed), rows.tolist(), strict=True)):
        memory = Memory(id=new_id(), tags=("rare",) if number % 100 == 0 else (), **times, **fields)
        made.append(Point(memory.id, 1, memory.namespace, row, memory, analyse(memory.content, memory.author).stems))
    return made


def fields_of(point: Point) -> dict[str, Any]:
    """Return the payload that a program of its own would store: the fields, and nothing to tell filters by."""
    one = point.memory
    plain = {key: getattr(one, key) for key in ("kind", "author", "thread", "source", "position", "importance")}
    times = {key: micros(getattr(one, key)) for key in ("occurred_at", "created_at", "updated_at")}
    return plain | times | {"namespace": one.namespace, "tags": list(one.tags), "payload": one.payload, "version": 1}


class BareEdge:
    """The engine in process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._shard = q.EdgeShard.create(str(folder), edge_requests.shard_config(SPACE))
        for key, kind in INDEXES.items():
            self._shard.update(q.UpdateOperation.create_field_index(key, edge_requests.index_schema(kind)))

    async def store(self, points: Sequence[Point]) -> None:
        made: list[Any] = []
        for point in points:
            vectors: dict[str, Any] = {DENSE: point.vector}
            if words := weigh(point.terms, AVERAGE):
                vectors[WORDS] = q.SparseVector(words.indices, words.values)
            made.append(q.Point(point.id, vectors, fields_of(point)))
        self._shard.update(q.UpdateOperation.upsert_points(made))

    async def nearest(self, using: str, vector: Any, key: str, value: str) -> list[Hit]:
        asked: Any = q.SparseVector(vector.indices, vector.values) if isinstance(vector, Sparse) else vector
        where = q.Filter(must=[q.FieldCondition(key, match=q.MatchValue(value))])
        query = q.QueryRequest(
            query=q.Query.Nearest(asked, using), filter=where, limit=K, with_payload=["version"], with_vector=False
        )
        return [(str(hit.id), hit.payload["version"], hit.score) for hit in self._shard.query(query)]

    async def versions(self, ids: Sequence[str]) -> dict[str, int]:
        return {str(one.id): one.payload["version"] for one in self._shard.retrieve(list(ids), ["version"], False)}


class BareClient:
    """The client of a server."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    async def make(self) -> None:
        """Make the collection like the one of the index."""
        await self._client.create_collection(self._name, **requests.collection(SPACE))
        for key, kind in INDEXES.items():
            schema = requests.index_schema(kind, (1, 18))
            await self._client.create_payload_index(self._name, key, field_schema=schema, wait=True)

    async def store(self, points: Sequence[Point]) -> None:
        made = []
        for point in points:
            vectors: dict[str, Any] = {DENSE: point.vector}
            if words := weigh(point.terms, AVERAGE):
                vectors[WORDS] = models.SparseVector(indices=words.indices, values=words.values)
            made.append(models.PointStruct(id=point.id, vector=vectors, payload=fields_of(point)))
        await self._client.upsert(self._name, made, wait=True)

    async def nearest(self, using: str, vector: Any, key: str, value: str) -> list[Hit]:
        asked: Any = vector
        if isinstance(vector, Sparse):
            asked = models.SparseVector(indices=vector.indices, values=vector.values)
        where = models.Filter(must=[models.FieldCondition(key=key, match=models.MatchValue(value=value))])
        found = await self._client.query_points(
            self._name, query=asked, using=using, query_filter=where, limit=K, with_payload=["version"]
        )
        return [(str(hit.id), hit.payload["version"], hit.score) for hit in found.points]

    async def versions(self, ids: Sequence[str]) -> dict[str, int]:
        found = await self._client.retrieve(self._name, list(ids), with_payload=["version"])
        return {str(one.id): one.payload["version"] for one in found}


async def medians(ours: Call, floor: Call, rounds: int = ROUNDS) -> tuple[float, float]:
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
    print(f"{what:32s} {ours:10.1f} {floor:10.1f} {ours / floor:7.2f}", flush=True)


async def stores(index: Any, bare: Stored, size: int) -> None:
    """Measure writes."""
    made = points(size)
    times: list[list[float]] = [[], []]
    for start in range(0, size, BATCH):
        part = made[start : start + BATCH]
        began = time.perf_counter()
        await index.upsert(part)
        middle = time.perf_counter()
        await bare.store(part)
        times[0].append((middle - began) / BATCH)
        times[1].append((time.perf_counter() - middle) / BATCH)
    show("store in batches of 1,000", *(1e6 * statistics.median(taken) for taken in times))
    extra = points(ROUNDS + 5, seed=2)
    show("store one", *await medians(lambda i: index.upsert([extra[i]]), lambda i: bare.store([extra[i]])))
    ids = [point.id for point in made]
    ten: Call = lambda i: index.versions(ids[i : i + 10])  # noqa: E731
    show("read ten versions by id", *await medians(ten, lambda i: bare.versions(ids[i : i + 10])))


async def searches(index: Any, bare: Stored) -> None:
    """Measure searches by vector, with a filter that lets 1 % through, and by words."""
    asked = np.random.default_rng(3).standard_normal((ROUNDS + 5, DIMENSION)).tolist()
    scope = Scope(namespace(0))
    rare = parse_filter({"field": "tags", "op": "contains", "value": "rare"})
    stems = [
        sorted(set(analyse(fields["content"], None).stems))[:6] for fields in memories(ROUNDS + 5, NAMESPACES, seed=4)
    ]
    ours: Call = lambda i: index.search(scope, asked[i], limit=K)  # noqa: E731
    show("search", *await medians(ours, lambda i: bare.nearest(DENSE, asked[i], "namespace", scope.namespace)))
    ours = lambda i: index.search(scope, asked[i], limit=K, filter=rare)  # noqa: E731
    show("search, 1 % filter", *await medians(ours, lambda i: bare.nearest(DENSE, asked[i], "tags", "rare")))

    def text(i: int) -> TextQuery:
        return TextQuery(tuple(WordGroup(((stem, 1.0),)) for stem in stems[i]))

    def sparse(i: int) -> Sparse:
        return Sparse(sorted(map(number_of, stems[i])), [1.0] * len(stems[i]))

    ours = lambda i: index.search_text(scope, text(i), limit=K)  # noqa: E731
    show(
        "search by words", *await medians(ours, lambda i: bare.nearest(WORDS, sparse(i), "namespace", scope.namespace))
    )


@asynccontextmanager
async def places() -> AsyncIterator[list[tuple[str, Any, Stored]]]:
    """Open the index in process, and on the server over each wire, each with its floor."""
    from contextlib import AsyncExitStack

    from sfm_qdrant.client import connect

    server, edge = sfm_vectors()
    context = OpenContext(space=SPACE)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        index = await stack.enter_async_context(edge.open(QdrantConfig(path=folder / "ours"), context))
        found: list[tuple[str, Any, Stored]] = [("in process", index, BareEdge(folder / "bare"))]
        for wire in wires():
            config = server_config(wire, f"bench_{uuid4().hex}")
            stack.push_async_callback(drop_collections, config)
            index = await stack.enter_async_context(server.open(config, context))
            client = connect(config)
            stack.push_async_callback(client.close)
            bare = BareClient(client, f"{config.collection}_bare")
            await bare.make()
            found.append((f"server over {wire}", index, bare))
        yield found


async def measure(size: int) -> None:
    """Print a table for each place."""
    async with places() as found:
        for name, index, bare in found:
            print(f"{size:,} points, {name:18s} ours us    bare us   ratio")
            await stores(index, bare, size)
            await searches(index, bare)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=5_000)
    asyncio.run(measure(parser.parse_args().size))


if __name__ == "__main__":
    main()
