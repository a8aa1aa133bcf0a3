"""`python -m benchmarks.backends.postgres`: the PostgreSQL storage beside the bare driver, on a real server, as ratios.

The floor does the same inserts into tables of the same shape and indexes, as a program would write them with psycopg; for
words it ranks a `tsvector` by `ts_rank` inside the namespace. Both run in turn, so that a drift of the machine meets both.
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
from uuid import uuid4

import psycopg

from benchmarks.speed.texts import memories, namespace, question
from sfm_core.config.secret import Secret
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope
from sfm_core.model.twins import digest
from sfm_core.plugins.types import OpenContext
from sfm_core.ports.storage import TextQuery, WordGroup
from sfm_core.ports.writes import Put
from sfm_core.services.ids import new_id
from sfm_core.testing.servers.postgres import PostgresServer
from sfm_core.text.analysis import analyse
from sfm_postgres.config import PostgresConfig
from sfm_postgres.rows import ALL_COLUMNS, Content, row_of
from sfm_postgres.storage import PostgresStorage, open_storage

ROUNDS = 200
BATCH = 1000
NOW = datetime(2026, 1, 1, tzinfo=UTC)

Call = Callable[[int], Awaitable[object]]

_NAMES = ", ".join(ALL_COLUMNS)
_INSERT = f"INSERT INTO bare.memories ({_NAMES}) VALUES ({', '.join(['%s'] * len(ALL_COLUMNS))})"
_LOG = """INSERT INTO bare.changes (sequence, type, memory_id, version, namespace, time)
    VALUES (nextval('bare.sequences'), 'memory.created', %s, 1, %s, %s)"""
_FIELDS = ", ".join(ALL_COLUMNS[:21])
_WORDS = """SELECT id, ts_rank(words, query) AS score FROM bare.texts, to_tsquery('simple', %s) query
    WHERE namespace = %s AND words @@ query ORDER BY score DESC LIMIT %s"""


def puts(count: int, namespaces: int, *, seed: int = 1) -> list[Put]:
    """Return writes of made-up memories."""
    made = []
    for fields in memories(count, namespaces, seed=seed):
        memory = Memory(id=new_id(), occurred_at=NOW, created_at=NOW, updated_at=NOW, **fields)
        analysis = analyse(memory.content, memory.author)
        given = frozenset(fields)
        made.append(Put(memory=memory, analysis=analysis, digest=digest(memory), given=given))
    return made


def bare_row(write: Put) -> tuple[Any, ...]:
    """Return the same row under an id of its own."""
    return (new_id(), *row_of(write.memory, Content(write.analysis, write.digest))[1:])


def terms(text: str) -> list[str]:
    """Return the terms of a text."""
    return list(dict.fromkeys(analyse(text, None).stems))


class Floor:
    """What a program would write with psycopg alone."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self.connection = connection

    async def prepare(self, schema: str) -> None:
        """Make tables of the same shape."""
        run = self.connection.execute
        await run("CREATE SCHEMA bare")
        await run(f"CREATE TABLE bare.memories (LIKE {schema}.memories INCLUDING ALL)".encode())
        await run(f"CREATE TABLE bare.changes (LIKE {schema}.changes INCLUDING ALL)".encode())
        await run("CREATE SEQUENCE bare.sequences")
        await run("CREATE TABLE bare.texts (id uuid PRIMARY KEY, namespace text, words tsvector)")
        await run("CREATE EXTENSION IF NOT EXISTS btree_gin")
        await run("CREATE INDEX ON bare.texts USING gin (namespace, words)")

    async def store(self, row: Sequence[Any]) -> None:
        """Insert a memory and its change."""
        async with self.connection.transaction():
            await self.connection.execute(_INSERT.encode(), row)
            await self.connection.execute(_LOG, (row[0], row[1], NOW))

    async def store_many(self, rows: Sequence[Sequence[Any]]) -> None:
        """Copy memories and their changes."""
        async with self.connection.transaction(), self.connection.cursor() as cursor:
            async with cursor.copy(f"COPY bare.memories ({_NAMES}) FROM STDIN".encode()) as copy:
                for row in rows:
                    await copy.write_row(row)
            await cursor.execute("SELECT coalesce(max(sequence), 0) FROM bare.changes")
            [(last,)] = await cursor.fetchall()
            names = "sequence, type, memory_id, version, namespace, time"
            async with cursor.copy(f"COPY bare.changes ({names}) FROM STDIN".encode()) as copy:
                for number, row in enumerate(rows):
                    await copy.write_row((last + 1 + number, "memory.created", row[0], 1, row[1], NOW))
            await cursor.execute("SELECT setval('bare.sequences', %s)", (last + len(rows),))

    async def store_texts(self, writes: Sequence[Put]) -> None:
        """Insert what `words` searches."""
        async with self.connection.cursor() as cursor:
            await cursor.executemany(
                "INSERT INTO bare.texts VALUES (%s, %s, array_to_tsvector(%s))",
                [(write.memory.id, write.memory.namespace, sorted(set(write.analysis.stems))) for write in writes],
            )

    async def get(self, id: str) -> Any:
        """Read one row."""
        cursor = await self.connection.execute(f"SELECT {_FIELDS} FROM bare.memories WHERE id = %s".encode(), (id,))
        return await cursor.fetchone()

    async def words(self, namespace: str, words: Sequence[str], k: int) -> Any:
        """Search any of the words."""
        query = " | ".join(f"'{word}'" for word in words)
        return await (await self.connection.execute(_WORDS, (query, namespace, k))).fetchall()


async def paired(what: str, ours: Call, floor: Call, *, rounds: int = ROUNDS, per: int = 1) -> None:
    """Run both in turn and print the medians."""
    mine, base = [], []
    for number in range(rounds + rounds // 10):
        start = time.perf_counter()
        await ours(number)
        middle = time.perf_counter()
        await floor(number)
        mine.append(middle - start)
        base.append(time.perf_counter() - middle)
    us, theirs = (1e6 * statistics.median(times[rounds // 10 :]) / per for times in (mine, base))
    print(f"{what:44s} {us:10.1f} {theirs:10.1f} {us / theirs:7.2f}", flush=True)


async def fill(storage: PostgresStorage, floor: Floor, count: int, namespaces: int) -> list[str]:
    """Store memories in batches, measured; return ids of the floor's."""
    writes = puts(count, namespaces)
    ids: list[str] = []
    batches = [writes[start : start + BATCH] for start in range(0, count, BATCH)]
    rows = [[bare_row(write) for write in batch] for batch in batches]
    ids = [row[0] for batch in rows for row in batch]

    async def ours(number: int) -> None:
        if number < len(batches):
            await storage.apply(batches[number])

    async def bare(number: int) -> None:
        if number < len(batches):
            await floor.store_many(rows[number])

    rounds = len(batches) * 10 // 11 or 1
    await paired("store in batches of 1,000 (per memory)", ours, bare, rounds=rounds, per=BATCH)
    for number in range(rounds + rounds // 10, len(batches)):
        await ours(number)
        await bare(number)
    for batch in batches:
        await floor.store_texts(batch)
    return [ids[0], *[write.memory.id for write in writes[:ROUNDS]]]


async def known(storage: PostgresStorage, floor: Floor, namespaces: int) -> None:
    """Measure batches that bring no new word, as most do in a store that is not new."""
    batches = [puts(BATCH, namespaces, seed=100 + number) for number in range(6)]
    rows = [[bare_row(write) for write in batch] for batch in batches]
    for write in (write for batch in batches for write in batch):
        await storage.add_words(write.memory.namespace, write.analysis.words)
    await paired(
        "the same, all words known (per memory)",
        lambda n: storage.apply(batches[n]),
        lambda n: floor.store_many(rows[n]),
        rounds=6,
        per=BATCH,
    )


async def single(storage: PostgresStorage, floor: Floor) -> None:
    """Measure single stores, one after the other and many at once."""
    extra = puts(ROUNDS * 2, 1, seed=2)
    rows = [bare_row(write) for write in extra]
    await paired("store one", lambda n: storage.apply([extra[n]]), lambda n: floor.store(rows[n]))
    for at_once in (16, 64):
        more = puts(at_once * 20, 1, seed=at_once)
        start = time.perf_counter()
        for turn in range(20):
            await asyncio.gather(*(storage.apply([write]) for write in more[turn * at_once : (turn + 1) * at_once]))
        each = 1e6 * (time.perf_counter() - start) / len(more)
        print(f"{f'store one, {at_once} at once':44s} {each:10.1f}", flush=True)


async def measure(url: str, count: int, namespaces: int) -> None:
    """Print one table."""
    config = PostgresConfig(url=Secret(url), schema=f"ours_{uuid4().hex[:8]}")
    draw = random.Random(3)
    async with (
        open_storage(config, OpenContext()) as storage,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
    ):
        floor = Floor(connection)
        await floor.prepare(config.schema)
        print(f"\n{count:,} memories, {namespaces} namespaces{'':14s} ours us   floor us   ratio")
        theirs, *ids = await fill(storage, floor, count, namespaces)
        for name in (f"{config.schema}.memories", f"{config.schema}.changes", "bare.memories", "bare.texts"):
            await connection.execute(f"VACUUM (ANALYZE) {name}".encode())
        await known(storage, floor, namespaces)
        await single(storage, floor)
        await paired("get by id", lambda n: storage.get([ids[n % len(ids)]], now=NOW), lambda _: floor.get(theirs))
        asked = [terms(question(draw)) for _ in range(ROUNDS * 2)]

        async def ours(number: int) -> None:
            query = TextQuery(tuple(WordGroup(((term, 1.0),)) for term in asked[number]))
            name = Scope(namespace(number % namespaces))
            await storage.search_text(name, query, filter=None, limit=100, now=NOW)

        await paired(
            "search by words", ours, lambda n: floor.words(namespace(n % namespaces), asked[n], 100), rounds=100
        )


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
