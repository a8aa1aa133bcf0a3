"""A server that is restarted, killed or frozen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from sfm_core.config.secret import Secret
from sfm_core.errors import BackendUnavailable
from sfm_core.plugins.types import OpenContext
from sfm_core.testing.build import NOW, ids_of, memory, put, store
from sfm_core.testing.servers.postgres import PostgresServer
from sfm_postgres.config import PostgresConfig
from sfm_postgres.storage import PostgresStorage, open_storage

pytestmark = pytest.mark.slow


@pytest.fixture
async def server(own_postgres: PostgresServer) -> AsyncIterator[PostgresServer]:
    """A server of its own that runs, whatever the test before did to it."""
    if not own_postgres.running:
        await asyncio.to_thread(own_postgres.start)
    yield own_postgres
    await asyncio.to_thread(own_postgres.thaw)


@pytest.fixture
async def hasty(server: PostgresServer) -> AsyncIterator[PostgresStorage]:
    """A storage on it that gives up after about two seconds."""
    config = PostgresConfig(
        url=Secret(server.url), schema=f"test_{uuid4().hex}", statement_timeout=1, connect_timeout=1, pool_size=4
    )
    async with open_storage(config, OpenContext()) as storage:
        yield storage


async def test_a_restarted_server_is_found_again(hasty: PostgresStorage, server: PostgresServer) -> None:
    """Every connection is dead, and nobody notices: the next read and the next write are served."""
    [one] = await store(hasty, put("one"))
    await asyncio.gather(*(hasty.get([one.id], now=NOW) for _ in range(8)))
    await asyncio.to_thread(server.restart)
    assert ids_of(await hasty.get([one.id], now=NOW)) == [one.id]
    await asyncio.gather(*(hasty.get([one.id], now=NOW) for _ in range(8)))
    await asyncio.to_thread(server.restart)
    [two] = await store(hasty, put("two"))
    assert ids_of(await hasty.get([one.id, two.id], now=NOW)) == [one.id, two.id]


async def test_a_server_that_is_down_is_told_at_once_and_found_when_it_is_back(
    hasty: PostgresStorage, server: PostgresServer
) -> None:
    """Unavailable while it is down, for reads, writes and the check; served again as soon as it is up."""
    [one] = await store(hasty, put("one"))
    await asyncio.to_thread(server.kill)
    for call in (hasty.get([one.id], now=NOW), store(hasty, put("lost")), hasty.check()):
        with pytest.raises(BackendUnavailable):
            await call
    await asyncio.to_thread(server.start)
    await hasty.check()
    assert ids_of(await hasty.get([one.id], now=NOW)) == [one.id]
    await store(hasty, put("two"))


async def test_a_frozen_server_holds_nobody_longer_than_its_timeouts(
    hasty: PostgresStorage, server: PostgresServer
) -> None:
    """Reads, writes, new connections and the check end as unavailable; thawed, it serves again."""
    [one] = await store(hasty, put("one"))
    await asyncio.to_thread(server.freeze)
    calls = [hasty.get([one.id], now=NOW) for _ in range(3)] + [store(hasty, put(f"n {n}")) for n in range(3)]
    async with asyncio.timeout(30):
        ends = await asyncio.gather(*calls, hasty.check(), return_exceptions=True)
    assert {type(end) for end in ends} == {BackendUnavailable}
    await asyncio.to_thread(server.thaw)
    await hasty.check()
    assert ids_of(await hasty.get([one.id], now=NOW)) == [one.id]
    await store(hasty, put("two"))


async def test_acknowledged_writes_survive_a_killed_server(hasty: PostgresStorage, server: PostgresServer) -> None:
    """Killed while eight tasks write: what was acknowledged is there, the others were told, each is whole or absent."""
    acknowledged: list[str] = []
    enough = asyncio.Event()
    batches: list[list[str]] = []

    async def write(task: int) -> None:
        for number in range(1000):
            batch = [memory(f"{task} {number} {part}") for part in range(3)]
            batches.append(ids_of(batch))
            try:
                await store(hasty, *map(put, batch))
            except BackendUnavailable:
                return
            acknowledged.extend(ids_of(batch))
            if len(acknowledged) >= 60:
                enough.set()

    writers = [asyncio.create_task(write(task)) for task in range(8)]
    await enough.wait()
    await asyncio.to_thread(server.kill)
    await asyncio.gather(*writers)
    await asyncio.to_thread(server.start)
    assert ids_of(await hasty.get(acknowledged, now=NOW)) == acknowledged
    for batch in batches:
        assert len(ids_of(await hasty.get(batch, now=NOW))) in (0, 3)
