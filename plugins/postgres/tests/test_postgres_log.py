"""The change log under many writers: nobody skips a change, a slow one keeps nobody waiting, waiting calls share a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from msgspec.structs import replace

from sfm_core.errors import BackendUnavailable
from sfm_core.model.event import Change
from sfm_core.plugins.types import OpenContext
from sfm_core.testing.build import HERE, NOW, ids_of, memory, put, replacing, store, tie
from sfm_core.testing.servers.postgres import PostgresAt
from sfm_postgres.config import PostgresConfig
from sfm_postgres.storage import PostgresStorage, open_storage


@pytest.fixture
def beside(postgres_server: PostgresAt) -> Iterator[psycopg.Connection]:
    """A bare connection, to stand in the way of others."""
    with psycopg.connect(postgres_server.url) as connection:
        yield connection


async def follow(storage: PostgresStorage, until: asyncio.Event) -> list[Change]:
    """Follow the log, page by page, until told to stop and nothing is left."""
    rows: list[Change] = []
    while True:
        over = until.is_set()
        page = await storage.changes(HERE, after=rows[-1].sequence if rows else 0, limit=3)
        rows += page
        if over and not page:
            return rows
        await asyncio.sleep(0)


async def waiting(beside: psycopg.Connection) -> None:
    """Return when somebody waits for what `beside` holds."""
    query = b"SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    async with asyncio.timeout(30):
        while beside.execute(query).fetchone() == (0,):
            beside.execute(b"SELECT pg_stat_clear_snapshot()")
            await asyncio.sleep(0.01)


async def test_a_slow_writer_keeps_nobody_waiting_and_no_reader_skips_it(
    config: PostgresConfig, beside: psycopg.Connection
) -> None:
    """Stuck in the middle of its transaction it holds up no other; its changes come where its commit comes."""
    async with (
        open_storage(config, OpenContext()) as slow,
        open_storage(config, OpenContext()) as quick,
        open_storage(config, OpenContext()) as reader,
    ):
        until = asyncio.Event()
        following = asyncio.create_task(follow(reader, until))
        beside.execute(f"LOCK TABLE {config.schema}.links IN SHARE ROW EXCLUSIVE MODE".encode())
        one, two = memory("slow one"), memory("slow two")
        stuck = asyncio.create_task(store(slow, put(one), put(two), tie(one, two)))
        await waiting(beside)
        batches = [[memory(f"batch {b} memory {m}") for m in range(1 + b % 3)] for b in range(60)]
        writers = [store((slow, quick)[b % 2], *map(put, batch)) for b, batch in enumerate(batches)]
        await asyncio.gather(*writers)
        assert not stuck.done()
        assert ids_of(await reader.get([one.id, two.id], now=NOW)) == []
        last = await reader.last_sequence()
        beside.rollback()
        await stuck
        until.set()
        rows = await following
    sequences = [row.sequence for row in rows]
    assert sequences == list(range(1, len(rows) + 1))
    assert sorted(row.memory_id for row in rows[:last]) == sorted(one.id for batch in batches for one in batch)
    assert [row.memory_id for row in rows[last:]] == [one.id, two.id, one.id]


async def test_a_blocked_call_spares_those_it_shares_a_transaction_with(
    config: PostgresConfig, beside: psycopg.Connection
) -> None:
    """It is told that it was blocked, after the time that a lock may take; the others are stored."""
    async with open_storage(replace(config, lock_timeout=0.3), OpenContext()) as storage:
        held, other = await store(storage, put("held"), put("other"))
        beside.execute(f"SELECT 1 FROM {config.schema}.memories WHERE id = %s FOR UPDATE".encode(), [held.id])
        calls = [storage.apply([replacing(held, content="new")]), *(storage.apply([put(f"n {n}")]) for n in range(9))]
        ends = await asyncio.gather(*calls, storage.apply([replacing(other, content="x")]), return_exceptions=True)
        assert [isinstance(end, BackendUnavailable) for end in ends] == [True] + [False] * 10
        beside.rollback()
        await store(storage, replacing(held, content="newer"))


async def test_many_storages_write_one_log(config: PostgresConfig) -> None:
    """Four openings with six writers each: every change comes once, in order, without a gap, to a reader all the while."""
    configs = [replace(config, pool_size=3) for _ in range(4)]
    async with open_storage(config, OpenContext()) as reader:
        until = asyncio.Event()
        following = asyncio.create_task(follow(reader, until))

        async def write(number: int, each: PostgresConfig) -> list[str]:
            async with open_storage(each, OpenContext()) as storage:
                batches = [[memory(f"{number} {b} {m}") for m in range(1 + b % 2)] for b in range(30)]
                await asyncio.gather(*(store(storage, *map(put, batch)) for batch in batches))
                return [one.id for batch in batches for one in batch]

        written = await asyncio.gather(*(write(number, each) for number, each in enumerate(configs)))
        until.set()
        rows = await following
    assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
    assert sorted(row.memory_id for row in rows) == sorted(id for ids in written for id in ids)


async def test_calls_that_wait_together_share_a_transaction(
    storage: PostgresStorage, config: PostgresConfig, beside: psycopg.Connection
) -> None:
    """Fifty callers at once need far fewer commits than fifty."""
    await asyncio.gather(*(store(storage, put(f"memory {number}")) for number in range(50)))
    query = f"SELECT count(*), count(DISTINCT xmin::text) FROM {config.schema}.memories"
    row = beside.execute(query.encode()).fetchone()
    assert row is not None
    assert row[0] == 50
    assert row[1] <= 10


async def test_a_refused_call_spares_those_it_shares_a_transaction_with(storage: PostgresStorage) -> None:
    """Each call is whole or refused by itself."""
    taken = memory("taken")
    await store(storage, put(taken))
    calls = [
        storage.apply([put(f"before {n}"), put(f"other {n}", id=taken.id)] if n % 5 == 0 else [put(f"n {n}")])
        for n in range(30)
    ]
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(end).__name__ for end in ends] == ["Conflict" if n % 5 == 0 else "list" for n in range(30)]
    assert len(await storage.changes(HERE, after=0, limit=99)) == 1 + 24
