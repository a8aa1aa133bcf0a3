"""The whole service on a real Redis that is killed, frozen and flushed: it costs speed, never an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from sfm_app.http.limiter import Limiter
from sfm_app.observability.metrics import Metrics
from sfm_core.config.modes import Role
from sfm_core.model.query import RecallQuery
from sfm_core.runtime import Runtime, open_services
from sfm_core.services.principal import EVERYTHING
from sfm_core.testing.servers.redis import RedisServer

Opening = Callable[[], AbstractAsyncContextManager[Runtime]]

pytestmark = pytest.mark.usefixtures("clock")
TIMES = {"SFM_REDIS__TIMEOUT": "0.3", "SFM_REDIS__CONNECT_TIMEOUT": "0.3", "SFM_CACHE_PATIENCE": "0.3"}


@pytest.fixture
async def server(own_redis: RedisServer) -> AsyncIterator[RedisServer]:
    """A server that runs, whatever the test before did to it."""
    if not own_redis.running:
        await asyncio.to_thread(own_redis.start)
    yield own_redis
    await asyncio.to_thread(own_redis.thaw)


@pytest.fixture
def opening(server: RedisServer) -> Opening:
    """Opens a service in test mode with its cache on the server, under a prefix of the test's own."""
    settings = {
        "mode": "test",
        "SFM_CACHE": "redis",
        "REDIS_PORT": str(server.port),
        "SFM_REDIS__PREFIX": uuid4().hex,
        **TIMES,
    }
    return lambda: open_services(settings=settings, role=Role.SERVICE)


async def recall(runtime: Runtime) -> list[str | None]:
    """Recall and return the contents."""
    query = RecallQuery(query="word", namespace="n", k=5)
    return [hit.memory.content for hit in (await runtime.services.recall.recall(EVERYTHING, query)).hits]


async def remember(runtime: Runtime, content: str) -> str:
    """Remember and return the id."""
    done = await runtime.services.remember.remember(EVERYTHING, {"content": content, "namespace": "n"})
    return done.memory.id


async def everything(server: RedisServer) -> bytes:
    """Return all values of the server, one after the other."""
    client = Redis(port=server.port)
    try:
        keys = [key async for key in client.scan_iter()]
        return b"\n".join(value or b"" for value in await client.mget(keys)) if keys else b""
    finally:
        await client.aclose()


async def until(holds: Callable[[], Awaitable[Any]]) -> None:
    """Wait until it holds."""
    for _ in range(600):
        if await holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never came true")


def hits(runtime: Runtime) -> int:
    """Return how many memories were read from the cache."""
    assert runtime.services.cache is not None
    return runtime.services.cache.counts["memory_hits"]


async def test_memories_are_read_through_redis(opening: Opening, server: RedisServer) -> None:
    """The second recall finds them there; an erased one is in no value of the server."""
    async with opening() as runtime:
        id = await remember(runtime, "word and a secret")
        assert await recall(runtime) == await recall(runtime) == ["word and a secret"]
        assert hits(runtime) == 1
        assert b"secret" in await everything(server)
        receipt = await runtime.services.forget.delete(EVERYTHING, id, erase=True)
        assert {s.store: s.state for s in receipt.stores or ()}["cache:redis"] == "done"
        assert b"secret" not in await everything(server)
        assert await recall(runtime) == []


async def test_rate_limits_hold_over_processes(opening: Opening, server: RedisServer) -> None:
    """Together; while Redis is away each counts for itself and no request waits for it."""
    async with opening() as one, opening() as two:
        limiters = [Limiter(runtime.services.cache, 5, Metrics("0"), clock=lambda: 30.0) for runtime in (one, two)]

        async def passed(requests: int) -> int:
            waits = [await limiters[n % 2].seconds_to_wait("key", "GET /") for n in range(requests)]
            return waits.count(0)

        assert await passed(12) == 5
        await strike(server, "kill")
        assert await passed(24) == 10


@pytest.mark.parametrize("fault", ["kill", "freeze", "flush"])
async def test_a_fault_of_redis_changes_no_answer(opening: Opening, server: RedisServer, fault: str) -> None:
    """Writers, readers and erasures go on through it; afterwards memories are read through it again."""
    async with opening() as runtime:
        contents = [f"word {n}" for n in range(5)]
        for content in contents:
            await remember(runtime, content)
        assert sorted(map(str, await recall(runtime))) == contents
        await strike(server, fault)
        assert sorted(map(str, await recall(runtime))) == contents
        erased = await remember(runtime, "word to go")
        await runtime.services.forget.delete(EVERYTHING, erased, erase=True)
        assert sorted(map(str, await recall(runtime))) == contents
        await mend(server, fault)
        before = hits(runtime)

        async def used() -> bool:
            assert sorted(map(str, await recall(runtime))) == contents
            return hits(runtime) > before

        await until(used)


async def test_an_erasure_that_redis_missed_is_worked_off(opening: Opening, server: RedisServer) -> None:
    """Frozen with a copy inside: the operation is pending until the copy is overwritten, and then done."""
    async with opening() as runtime:
        id = await remember(runtime, "word and a secret")
        await recall(runtime)
        await asyncio.to_thread(server.freeze)
        receipt = await runtime.services.forget.delete(EVERYTHING, id, erase=True)
        assert {s.store: s.state for s in receipt.stores or ()}["cache:redis"] == "pending"
        operation = str(receipt.operation)
        assert (await runtime.services.forget.operation(EVERYTHING, operation)).state == "pending"
        assert await recall(runtime) == []
        await asyncio.to_thread(server.thaw)

        async def gone() -> bool:
            return b"secret" not in await everything(server)

        async def done() -> bool:
            return (await runtime.services.forget.operation(EVERYTHING, operation)).state == "done"

        await until(gone)
        await until(done)


async def test_readiness_tells_the_truth_about_redis(opening: Opening, server: RedisServer) -> None:
    """Down or frozen it is named as down, and nobody is unready for it."""
    async with opening() as runtime:
        for fault in ("kill", "freeze"):
            await strike(server, fault)
            ready = await runtime.services.health.ready()
            assert (ready.status, ready.backends["cache:redis"].state) == ("ready", "down")
            await mend(server, fault)

            async def up() -> bool:
                return (await runtime.services.health.ready()).backends["cache:redis"].state == "up"

            await until(up)


async def strike(server: RedisServer, fault: str) -> None:
    """Do it."""
    if fault == "flush":
        client = Redis(port=server.port)
        await client.flushall()
        await client.aclose()
        return
    await asyncio.to_thread(getattr(server, fault))


async def mend(server: RedisServer, fault: str) -> None:
    """Undo it."""
    if fault != "flush":
        await asyncio.to_thread(server.start if fault == "kill" else server.thaw)
