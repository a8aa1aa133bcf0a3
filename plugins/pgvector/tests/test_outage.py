"""The server is down, silent, or killed: the index comes back by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from sfm_core.config.secret import Secret
from sfm_core.errors import BackendUnavailable
from sfm_core.model.namespace import ALL
from sfm_core.plugins.types import OpenContext
from sfm_core.ports.vectors import Space
from sfm_core.testing.build import HERE, ids_of, memory
from sfm_core.testing.servers.postgres import PostgresServer
from sfm_core.testing.vectors import point
from sfm_pgvector.config import PgvectorConfig
from sfm_pgvector.vectors import PgvectorVectors, open_vectors

SPACE = Space(8, "test/8")
UP = [1.0] + [0.0] * 7
LONG = 30.0


@pytest.fixture
def server(own_postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A server that the test may stop; it runs again afterwards."""
    if not own_postgres.running:
        own_postgres.start()
    yield own_postgres
    if own_postgres.running:
        own_postgres.thaw()


@pytest.fixture
def config(server: PostgresServer) -> PgvectorConfig:
    """Impatient, and in a schema of its own."""
    return PgvectorConfig(
        url=Secret(server.url), schema=f"test_{uuid4().hex}", connect_timeout=1.0, statement_timeout=1.0, pool_size=4
    )


@pytest.fixture
async def vectors(config: PgvectorConfig) -> AsyncIterator[PgvectorVectors]:
    """The index with one point in it."""
    async with open_vectors(config, OpenContext(space=SPACE)) as opened:
        await opened.upsert([point(memory("first"), UP)])
        yield opened


def calls(vectors: PgvectorVectors) -> list[Callable[[], Any]]:
    """Return one call of every kind."""
    return [
        lambda: vectors.upsert([point(memory("second"), UP)]),
        lambda: vectors.delete([(memory().id, 1)]),
        lambda: vectors.search(HERE, UP, limit=9),
        lambda: vectors.versions([memory().id]),
        lambda: vectors.count(ALL),
        vectors.check,
    ]


async def recovered(vectors: PgvectorVectors) -> None:
    """Wait until the index answers."""
    until = time.monotonic() + LONG
    while True:
        try:
            return await vectors.check()
        except BackendUnavailable:
            assert time.monotonic() < until
            await asyncio.sleep(0.05)


async def test_an_index_opens_while_its_server_is_down_and_works_when_it_is_up(
    server: PostgresServer, config: PgvectorConfig
) -> None:
    """Schema and table are made at first contact."""
    server.stop()
    one = memory("one")
    async with open_vectors(config, OpenContext(space=SPACE)) as vectors:
        for call in calls(vectors):
            with pytest.raises(BackendUnavailable, match=r"^pgvector/vectors: "):
                await call()
        server.start()
        await recovered(vectors)
        await vectors.upsert([point(one, UP)])
        assert ids_of(await vectors.search(HERE, UP, limit=9)) == [one.id]


async def test_an_index_opens_while_its_server_is_silent(server: PostgresServer, config: PgvectorConfig) -> None:
    """Within the time limit for a connection; callers at once wait for one handshake together."""
    server.freeze()
    async with asyncio.timeout(LONG), open_vectors(config, OpenContext(space=SPACE)) as vectors:
        found = await asyncio.gather(*(call() for call in calls(vectors) * 5), return_exceptions=True)
        assert {type(one) for one in found} == {BackendUnavailable}
        server.thaw()
        await recovered(vectors)
        await vectors.upsert([point(memory(), UP)])


async def test_a_mismatch_that_shows_later_is_an_outage_of_the_index_alone(
    server: PostgresServer, config: PgvectorConfig
) -> None:
    """The system that runs meanwhile goes on without it, and says why."""
    async with open_vectors(config, OpenContext(space=Space(8, "other/8"))):
        pass
    server.stop()
    async with open_vectors(config, OpenContext(space=SPACE)) as vectors:
        server.start()
        await reached(vectors)
        for call in calls(vectors):
            with pytest.raises(BackendUnavailable, match=r"'other/8'.*'test/8'.*sfm reindex"):
                await call()


async def reached(vectors: PgvectorVectors) -> None:
    """Wait until the server answers, though the index does not."""
    until = time.monotonic() + LONG
    while True:
        with pytest.raises(BackendUnavailable) as caught:
            await vectors.check()
        if "sfm reindex" in str(caught.value):
            return
        assert time.monotonic() < until
        await asyncio.sleep(0.05)


async def test_a_frozen_server_is_given_up_and_found_again(server: PostgresServer, vectors: PgvectorVectors) -> None:
    """Every call fails as an outage, in bounded time, and none is needed to get over it."""
    server.freeze()
    async with asyncio.timeout(LONG):
        for call in calls(vectors):
            with pytest.raises(BackendUnavailable):
                await call()
    server.thaw()
    await recovered(vectors)
    assert len(await vectors.search(HERE, UP, limit=9)) in (1, 2)


async def test_a_silent_server_is_waited_for_once(server: PostgresServer, vectors: PgvectorVectors) -> None:
    """Calls that come after an outage is known fail at once: a hundred of them in less than the patience for one."""
    server.freeze()
    async with asyncio.timeout(LONG):
        for _ in range(2):
            # The second is there while the server is looked at.
            with pytest.raises(BackendUnavailable):
                await vectors.count(ALL)
            await asyncio.sleep(2.0)
    async with asyncio.timeout(1.0):
        for call in calls(vectors)[:-1] * 20:
            with pytest.raises(BackendUnavailable):
                await call()
    server.thaw()
    async with asyncio.timeout(LONG):
        while True:
            try:
                await vectors.count(ALL)
                break
            except BackendUnavailable:
                await asyncio.sleep(0.05)


async def test_a_call_that_takes_too_long_does_not_stop_the_others(
    server: PostgresServer, vectors: PgvectorVectors, config: PgvectorConfig
) -> None:
    """The server answers: an own lock, or a heavy search, is no outage."""
    with psycopg.connect(server.url) as other:
        other.execute(f"LOCK TABLE {config.schema}.points_1 IN EXCLUSIVE MODE".encode())
        for _ in range(3):
            with pytest.raises(BackendUnavailable):
                await vectors.upsert([point(memory(), UP)])
            assert await vectors.count(ALL) == 1


async def test_a_restarted_server_is_not_even_noticed(server: PostgresServer, vectors: PgvectorVectors) -> None:
    """Every call is safe to be sent again, so the dead connection costs one repetition."""
    for stop in (server.stop, server.kill):
        for call in calls(vectors):
            stop()
            server.start()
            await call()


async def test_points_survive_a_killed_server(server: PostgresServer, vectors: PgvectorVectors) -> None:
    """What was acknowledged is there after a kill -9 of the server in the middle of writes."""
    acknowledged: list[str] = []
    enough = asyncio.Event()

    async def write() -> None:
        while True:
            batch = [memory(f"n {n}") for n in range(20)]
            try:
                await vectors.upsert([point(one, UP) for one in batch])
            except BackendUnavailable:
                return
            acknowledged.extend(one.id for one in batch)
            if len(acknowledged) >= 200:
                enough.set()

    writers = [asyncio.create_task(write()) for _ in range(3)]
    await enough.wait()
    server.kill()
    await asyncio.gather(*writers)
    server.start()
    await recovered(vectors)
    assert (await vectors.versions(acknowledged)).keys() == set(acknowledged)
