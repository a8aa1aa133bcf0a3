"""One run of the embedded memory beside the floor, at one size."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.speed.floor import Floor
from benchmarks.speed.texts import DIMENSION, embed, memories, namespace, question
from sfm_core import AgentMemory, open_memory

__all__ = ["Row", "measure"]

_BATCH = 1000
_ROUNDS = 200
_K = 10


class Row(msgspec.Struct, frozen=True):
    """One figure: what was measured, ours and the floor's in microseconds (median), and their ratio."""

    what: str
    ours_us: float
    floor_us: float

    @property
    def ratio(self) -> float:
        """Ours over the floor's."""
        return self.ours_us / self.floor_us


def _median_us(times: list[float]) -> float:
    return 1e6 * statistics.median(times)


async def _paired(
    what: str, ours: Callable[[int], Awaitable[object]], floor: Callable[[int], object], rounds: int = _ROUNDS
) -> Row:
    """Run both in turn, so that a drift of the machine's speed meets both alike."""
    mine: list[float] = []
    base: list[float] = []
    for i in range(rounds + 5):
        start = time.perf_counter()
        await ours(i)
        middle = time.perf_counter()
        floor(i)
        mine.append(middle - start)
        base.append(time.perf_counter() - middle)
    return Row(what, _median_us(mine[5:]), _median_us(base[5:]))


async def _bulk(memory: AgentMemory, floor: Floor, items: list[dict[str, Any]]) -> Row:
    mine: list[float] = []
    base: list[float] = []
    for start in range(0, len(items), _BATCH):
        part = items[start : start + _BATCH]
        began = time.perf_counter()
        await memory.remember_many(part)
        middle = time.perf_counter()
        floor.store(part)
        mine.append((middle - began) / len(part))
        base.append((time.perf_counter() - middle) / len(part))
    return Row("store in batches of 1,000 (per memory)", _median_us(mine), _median_us(base))


async def _single(memory: AgentMemory, floor: Floor) -> Row:
    extra = list(memories(_ROUNDS + 5, 1, seed=2))
    return await _paired("store one", lambda i: memory.remember(**extra[i]), lambda i: floor.store([extra[i]]))


async def _reads(memory: AgentMemory, floor: Floor, namespaces: int) -> list[Row]:
    ids = [m.id for m in (await memory.list(namespace=namespace(0), limit=_ROUNDS)).items]
    draw = random.Random(3)
    questions = [question(draw) for _ in range(_ROUNDS + 5)]
    at = [namespace(i % namespaces) for i in range(_ROUNDS + 5)]
    return [
        await _paired("get by id", lambda i: memory.get(ids[i % len(ids)]), lambda i: floor.get(i)),
        await _paired(
            "recall by text",
            lambda i: memory.recall(questions[i], namespace=at[i], k=_K),
            lambda i: floor.words(at[i], questions[i], _K),
        ),
    ]


async def _vectors(folder: Path, floor: Floor, items: list[dict[str, Any]], namespaces: int) -> Row:
    """Measure recall by a given vector in a memory of its own, so that the text figures stay those without an embedder."""
    async with open_memory(settings={"data_dir": folder / "vectors"}, embed=embed) as memory:
        for start in range(0, len(items), _BATCH):
            await memory.remember_many(items[start : start + _BATCH])
        floor.index(
            {
                namespace(n): embed([item["content"] for item in items[n::namespaces]])
                for n in range(min(namespaces, len(items)))
            }
        )
        asked = np.random.default_rng(4).standard_normal((_ROUNDS + 5, DIMENSION), np.float32)
        asked /= np.linalg.norm(asked, axis=1, keepdims=True)
        at = [namespace(i % namespaces) for i in range(len(asked))]

        async def ours(i: int) -> None:
            answer = await memory.recall_vector(asked[i].tolist(), namespace=at[i], k=_K)
            if len(answer.hits) != _K:
                raise RuntimeError(f"asked for {_K} memories, got {len(answer.hits)}")

        return await _paired("recall by vector", ours, lambda i: floor.nearest(at[i], asked[i], _K))


async def measure(folder: Path, size: int, namespaces: int) -> list[Row]:
    """Return the figures at `size` memories over `namespaces` namespaces; files go to `folder`."""
    items = list(memories(size, namespaces))
    floor = Floor(folder)
    async with open_memory(settings={"data_dir": folder / "memory"}) as memory:
        rows = [await _bulk(memory, floor, items)]
        rows += await _reads(memory, floor, namespaces)
        rows.append(await _single(memory, floor))
    rows.append(await _vectors(folder, floor, items, namespaces))
    floor.close()
    return rows


def run(folder: Path, size: int, namespaces: int) -> list[Row]:
    """Run `measure` in an event loop of its own."""
    return asyncio.run(measure(folder, size, namespaces))
