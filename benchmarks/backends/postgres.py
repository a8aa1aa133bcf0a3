"""`python -m benchmarks.backends.postgres`: the PostgreSQL storage beside the bare driver, on a real server, as ratios.

There are two floors (`benchmarks.backends.postgres_floors`). Each has one connection of psycopg, uses its pipeline or COPY,
prepared statements, one transaction for all it stores, and the same server with the disk flushed at every commit.

* **By hand** is a program that keeps the same promises for a new memory: the row with all columns, filters and b-trees; not
  a second time when the same is there already; the words searchable (a `tsvector` that the server makes, in a GIN index with
  the filters' columns); the vocabulary, words that the process stored before left out; the change row with a number without
  gaps, under a lock until the commit. It gets what the storage gets, memories with their analysis, and makes its rows while
  the clock runs. It does less than the storage all the same: one writer, no coordinates, idempotency keys, erased ids, retries.
* **Rows only** copies finished rows, those of the plugin, into a table with the plugin's columns and indexes, and change rows
  beside them. They are made before the clock runs, nothing is looked up, no word is noted. No program that keeps the promises
  can be as quick; it shows how much of the time is the server's own work on records.

A read by id is the same statement. Words are searched by hand in two ways: by `ts_rank`, the nearest that PostgreSQL has of
itself (any word, no rarity of words, so another ranking), and by one statement of the port's own BM25 over the `tsvector`.
All sides hold the same memories when they are searched, and were vacuumed at the same moment; then once more after 5 % more
were stored, with no vacuum since.

All run in turn, so that a drift of the machine meets each of them; a figure is a median.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import statistics
import string
import time
from collections.abc import Awaitable, Callable, Sequence
from uuid import uuid4

import psycopg

from benchmarks.backends.postgres_floors import NOW, Bare, ByHand
from benchmarks.speed.texts import memories, namespace, question
from sfm_core.config.secret import Secret
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope
from sfm_core.model.twins import digest
from sfm_core.plugins.types import OpenContext
from sfm_core.ports.storage import TextQuery, WordGroup
from sfm_core.ports.writes import Analysis, Put
from sfm_core.services.ids import new_id
from sfm_core.testing.servers.postgres import PostgresServer
from sfm_core.text.analysis import analyse
from sfm_postgres.config import PostgresConfig
from sfm_postgres.storage import PostgresStorage, open_storage

ROUNDS = 200
BATCH = 1000
BATCHES = 7

Call = Callable[[int], Awaitable[object]]


def puts(count: int, namespaces: int, *, seed: int, new: float = 0.0) -> list[Put]:
    """Return writes of made-up memories, a share of whose words nobody said before."""
    draw = random.Random(seed)
    made = []
    for fields in memories(count, namespaces, seed=seed):
        if new:
            words = fields["content"].split()
            coined = (
                word if draw.random() >= new else "".join(draw.choices(string.ascii_lowercase, k=9)) for word in words
            )
            fields["content"] = " ".join(coined)
        memory = Memory(id=new_id(), occurred_at=NOW, created_at=NOW, updated_at=NOW, **fields)
        analysis = analyse(memory.content, memory.author)
        made.append(Put(memory=memory, analysis=analysis, digest=digest(memory), given=frozenset(fields)))
    return made


def terms(text: str) -> list[str]:
    """Return the terms of a text."""
    return list(dict.fromkeys(analyse(text, None).stems))


async def compare(what: str, ours: Call, *floors: Call, rounds: int = ROUNDS, per: int = 1) -> None:
    """Run all in turn and print the medians and the ratios; the first rounds do not count."""
    gc.collect()
    gc.freeze()  # what the benchmark itself holds is no work of those it measures
    warm = max(1, rounds // 10)
    times: list[list[float]] = [[] for _ in range(1 + len(floors))]
    for number in range(warm + rounds):
        for call, taken in zip((ours, *floors), times, strict=True):
            start = time.perf_counter()
            await call(number)
            taken.append(time.perf_counter() - start)
    mine, *theirs = (1e6 * statistics.median(taken[warm:]) / per for taken in times)
    print(f"{what:44s} {mine:9.1f}" + "".join(f" {one:9.1f} {mine / one:6.2f}" for one in theirs), flush=True)


class Sides:
    """The storage and both floors, which are given the same memories."""

    def __init__(self, storage: PostgresStorage, bare: Bare, by_hand: ByHand) -> None:
        self.storage = storage
        self.bare = bare
        self.by_hand = by_hand

    async def store_batches(self, what: str, batches: Sequence[list[Put]]) -> None:
        """Store batches on all sides, measured."""
        rows = [[self.bare.row(write) for write in batch] for batch in batches]
        await compare(
            what,
            lambda n: self.storage.apply(batches[n]),
            lambda n: self.by_hand.store_many(batches[n]),
            lambda n: self.bare.store_many(rows[n]),
            rounds=len(batches) - max(1, (len(batches) - 1) // 10),
            per=len(batches[0]),
        )

    async def fill(self, count: int, namespaces: int) -> list[str]:
        """Store memories on all sides; return ids."""
        writes = puts(count, namespaces, seed=1)
        for start in range(0, count, BATCH):
            batch = writes[start : start + BATCH]
            await self.storage.apply(batch)
            await self.by_hand.store_many(batch)
            await self.bare.store_many([self.bare.row(write) for write in batch])
        return [write.memory.id for write in writes[:ROUNDS]]

    async def single(self, what: str, writes: Sequence[Put]) -> None:
        """Measure single stores, one after the other."""
        rows = [self.bare.row(write) for write in writes]
        await compare(
            what,
            lambda n: self.storage.apply([writes[n]]),
            lambda n: self.by_hand.store(writes[n]),
            lambda n: self.bare.store(rows[n]),
        )

    async def at_once(self, count: int) -> None:
        """Measure single stores of many callers."""
        writes = puts(count * 20, 1, seed=count)
        start = time.perf_counter()
        for turn in range(20):
            now = writes[turn * count : (turn + 1) * count]
            await asyncio.gather(*(self.storage.apply([write]) for write in now))
        each = 1e6 * (time.perf_counter() - start) / len(writes)
        print(f"{f'store one, {count} callers at once':44s} {each:9.1f}", flush=True)

    async def learn(self, writes: Sequence[Put]) -> None:
        """Make the words of `writes` known on both sides that have a vocabulary: by one more memory in each namespace."""
        words: dict[str, set[tuple[str, str]]] = {}
        for write in writes:
            words.setdefault(write.memory.namespace, set()).update(write.analysis.words)
        for name, some in words.items():
            memory = Memory(id=new_id(), namespace=name, occurred_at=NOW, created_at=NOW, updated_at=NOW)
            analysis = Analysis(words=tuple(some))
            write = Put(memory=memory, analysis=analysis, digest=digest(memory), given=frozenset(), dedupe=False)
            await self.storage.apply([write])
            await self.by_hand.store(write)

    async def search(self, what: str, namespaces: int) -> None:
        """Measure word searches."""
        draw = random.Random(3)
        asked = [terms(question(draw)) for _ in range(ROUNDS * 2)]

        async def ours(number: int) -> None:
            query = TextQuery(tuple(WordGroup(((term, 1.0),)) for term in asked[number]))
            name = Scope(namespace(number % namespaces))
            await self.storage.search_text(name, query, filter=None, limit=100, now=NOW)

        await compare(
            what,
            ours,
            lambda n: self.by_hand.bm25(namespace(n % namespaces), asked[n], 100),
            lambda n: self.by_hand.rank(namespace(n % namespaces), asked[n], 100),
        )


async def measure(url: str, count: int, namespaces: int) -> None:
    """Print one table."""
    config = PostgresConfig(url=Secret(url), schema=f"ours_{uuid4().hex[:8]}")
    async with (
        open_storage(config, OpenContext()) as storage,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as one,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as two,
    ):
        sides = Sides(storage, Bare(one), ByHand(two))
        await sides.bare.prepare(config.schema)
        await sides.by_hand.prepare(config.schema)
        ids = await sides.fill(count, namespaces)
        for schema in (config.schema, "bare", "hand"):
            for table in ("memories", "changes"):
                await one.execute(f"VACUUM (ANALYZE) {schema}.{table}".encode())
        print(
            f"\n{f'{count:,} memories, {namespaces} namespaces':44s}   ours us  by hand us, ratio   bm25, ts_rank alike"
        )
        await sides.search("search by words: BM25 and ts_rank by hand", namespaces)
        extra = puts(max(namespaces, count // 20), namespaces, seed=4)
        await sides.storage.apply(extra)
        await sides.by_hand.store_many(extra)
        await sides.search("the same, 5 % stored since the last vacuum", namespaces)
        print(f"{'':44s}   ours us  by hand us, ratio   rows only us, ratio")
        await compare(
            "get by id",
            lambda n: storage.get([ids[n % len(ids)]], now=NOW),
            lambda n: sides.by_hand.get(ids[n % len(ids)]),
        )
        known = puts(ROUNDS * 2, 1, seed=2)
        await sides.learn(known)
        await sides.single("store one, no new word", known)
        await sides.single("store one, a quarter of its words new", puts(ROUNDS * 2, 1, seed=3, new=0.25))
        for callers in (16, 64):
            await sides.at_once(callers)
        batches = [puts(BATCH, namespaces, seed=100 + number) for number in range(BATCHES)]
        await sides.learn([write for batch in batches for write in batch])
        await sides.store_batches("batches of 1,000, no new word (per memory)", batches)
        for share, told in ((0.25, "a quarter new"), (1.0, "all new")):
            batches = [puts(BATCH, namespaces, seed=200 + number, new=share) for number in range(BATCHES)]
            await sides.store_batches(f"the same, words {told}", batches)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", default="18", help="of the server: 18 or 15")
    parser.add_argument("--url", help="of a server to be used instead, with an empty database")
    parser.add_argument("--sizes", default="1000,10000", help="numbers of memories, commas between")
    parser.add_argument("--namespaces", type=int, default=10)
    options = parser.parse_args()
    settings = {"fsync": "on", "shared_buffers": "256MB"}
    with PostgresServer(options.version, settings=settings) as server:
        for size in map(int, options.sizes.split(",")):
            url = options.url or server.new_database()
            asyncio.run(measure(url, size, options.namespaces))


if __name__ == "__main__":
    main()
