"""What becomes of the Redis cache when its server is killed, frozen, flushed or not the one that was meant."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from sfm_core.errors import BackendUnavailable, ConfigError
from sfm_core.testing.servers.redis import RedisServer
from sfm_redis.cache import RedisCache, open_cache
from sfm_redis.config import RedisConfig
from sfm_redis.plugin import sfm_cache

LONG = 3600.0
PATIENCE = 0.3

Call = Callable[[RedisCache], Awaitable[object]]
CALLS: dict[str, Call] = {
    "get": lambda cache: cache.get(["a"]),
    "set": lambda cache: cache.set({"b": b"2"}, ttl=LONG),
    "add": lambda cache: cache.add({"b": b"2"}, ttl=LONG),
    "delete": lambda cache: cache.delete(["b"]),
    "increment": lambda cache: cache.increment("c", ttl=LONG),
    "clear": lambda cache: cache.clear(),
    "check": lambda cache: cache.check(),
}


@pytest.fixture
async def server(own_redis: RedisServer) -> AsyncIterator[RedisServer]:
    """A server of its own that runs, whatever the test before did to it."""
    if not own_redis.running:
        await asyncio.to_thread(own_redis.start)
    yield own_redis
    await asyncio.to_thread(own_redis.thaw)


def at(server: RedisServer, **settings: object) -> RedisConfig:
    return RedisConfig(port=server.port, **{"timeout": 10.0, "connect_timeout": 10.0, **settings})  # type: ignore[arg-type]


@asynccontextmanager
async def bare(server: RedisServer) -> AsyncIterator[Redis]:
    """The bare driver."""
    client = Redis(port=server.port)
    yield client
    await client.aclose()


async def test_a_killed_server_is_unavailable_and_used_again_after_its_restart(server: RedisServer) -> None:
    """Every call says so at once; the same cache goes on as soon as there is a server."""
    async with open_cache(at(server)) as cache:
        await cache.set({"a": b"1"}, ttl=LONG)
        await asyncio.to_thread(server.kill)
        for call in CALLS.values():
            with pytest.raises(BackendUnavailable, match=r"^redis/cache: .* cannot be reached"):
                await call(cache)
        await asyncio.to_thread(server.start)
        assert await cache.get(["a"]) == [None]
        for call in CALLS.values():
            await call(cache)


async def test_a_restart_between_two_calls_is_not_noticed(server: RedisServer) -> None:
    """Connections that the server closed while they were idle are replaced, for increments too."""
    async with open_cache(at(server)) as cache:
        for call in CALLS.values():
            await asyncio.gather(*(cache.check() for _ in range(5)))
            await asyncio.to_thread(server.restart)
            await call(cache)


async def test_connections_that_the_server_drops_are_replaced(server: RedisServer) -> None:
    """As a server does with idle clients, and proxies do."""
    async with open_cache(at(server)) as cache, bare(server) as client:
        for call in CALLS.values():
            await asyncio.gather(*(cache.check() for _ in range(5)))
            await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await call(cache)


async def test_a_frozen_server_costs_the_time_limit_and_nothing_else(server: RedisServer) -> None:
    """Every call ends; what is answered late is given to nobody else."""
    async with open_cache(at(server, timeout=PATIENCE)) as cache:
        await cache.set({f"{n}": b"%d" % n for n in range(10)}, ttl=LONG)
        await asyncio.to_thread(server.freeze)
        for call in CALLS.values():
            with pytest.raises(BackendUnavailable, match=r"gave no answer within 0\.3 s"):
                await call(cache)
        await asyncio.gather(*(cache.get([f"{n}"]) for n in range(10)), return_exceptions=True)
        await asyncio.to_thread(server.thaw)
    async with open_cache(at(server)) as cache:
        found = await asyncio.gather(*(cache.get([f"{n}"]) for n in range(10)))
        assert found in ([[b"%d" % n] for n in range(10)], [[None]] * 10)


async def test_a_thawed_server_is_used_again_by_the_same_cache(server: RedisServer) -> None:
    """Without being opened anew."""
    async with open_cache(at(server, timeout=PATIENCE)) as cache:
        await asyncio.to_thread(server.freeze)
        with pytest.raises(BackendUnavailable):
            await cache.check()
        await asyncio.to_thread(server.thaw)
        await answering(cache)
        await cache.set({"a": b"1"}, ttl=LONG)
        assert await cache.get(["a"]) == [b"1"]


async def answering(cache: RedisCache) -> None:
    """Wait until the cache answers."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await cache.check()
            except BackendUnavailable:
                await asyncio.sleep(0.02)


async def test_a_flush_in_the_middle_loses_values_and_nothing_else(server: RedisServer) -> None:
    """Callers that set, add, count and read while everything is thrown away get no error and no wrong value."""
    async with open_cache(at(server)) as cache, bare(server) as client:

        async def work(n: int) -> None:
            for turn in range(50):
                await cache.set({f"s{n}": b"%d" % turn}, ttl=LONG)
                await cache.add({f"a{n}": b"%d" % turn}, ttl=LONG)
                assert await cache.get([f"s{n}"]) in ([None], [b"%d" % turn])
                assert await cache.increment(f"c{n}", ttl=LONG) >= 1

        async def flush() -> None:
            for _ in range(20):
                await client.flushall()
                await asyncio.sleep(0.005)

        await asyncio.gather(flush(), *(work(n) for n in range(5)))
        lifetimes = [await client.pttl(key) async for key in client.scan_iter()]
        assert [ms for ms in lifetimes if ms <= 0] == []


async def test_a_cache_opens_while_its_server_is_down(server: RedisServer) -> None:
    """And is used as soon as there is one."""
    await asyncio.to_thread(server.stop)
    async with open_cache(at(server)) as cache:
        with pytest.raises(BackendUnavailable):
            await cache.check()
        await asyncio.to_thread(server.start)
        await cache.check()
        assert await cache.increment("c", ttl=LONG) == 1


async def test_a_cache_opens_while_its_server_hangs(server: RedisServer) -> None:
    """It waits for its time limit, not longer."""
    await asyncio.to_thread(server.freeze)
    async with open_cache(at(server, timeout=PATIENCE)) as cache:
        with pytest.raises(BackendUnavailable):
            await cache.check()
        await asyncio.to_thread(server.thaw)
        await answering(cache)


async def test_a_password_that_is_asked_for_later_is_told(server: RedisServer) -> None:
    """The server was restarted with one: the cache says what is missing."""
    async with open_cache(at(server)) as cache, bare(server) as client:
        await cache.check()
        await client.config_set("requirepass", "not-to-be-seen")
        await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        for call in (cache.check(), cache.increment("c", ttl=LONG)):
            with pytest.raises(Exception, match="refuses the login") as refused:
                await call
            assert "not-to-be-seen" not in f"{refused.value!r}"
        await client.config_set("requirepass", "")
        await cache.check()


async def test_a_full_server_is_told(server: RedisServer) -> None:
    """One that may evict nothing refuses to store; what to set is said."""
    async with open_cache(at(server)) as cache, bare(server) as client:
        await client.config_set("maxmemory", 1)
        with pytest.raises(Exception, match="maxmemory-policy") as refused:
            await cache.set({"a": b"secret"}, ttl=LONG)
        assert "secret" not in f"{refused.value!r} {refused.value.__context__!r}"
        with pytest.raises(Exception, match="maxmemory-policy"):
            await cache.increment("c", ttl=LONG)
        await client.config_set("maxmemory", 0)
        await cache.set({"a": b"1"}, ttl=LONG)


async def test_a_replica_is_unavailable(server: RedisServer) -> None:
    """It can be read, not written; after a failover the connection is made anew."""
    async with open_cache(at(server)) as cache, bare(server) as client:
        await client.execute_command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(BackendUnavailable, match="replica"):
            await cache.set({"a": b"1"}, ttl=LONG)
        await client.execute_command("REPLICAOF", "NO", "ONE")
        await cache.set({"a": b"1"}, ttl=LONG)


async def stub(info: str) -> asyncio.Server:
    """Start a stub that answers PING and INFO and nothing else: a server of an old version cannot be had."""
    answers = {b"PING": b"+PONG\r\n", b"INFO": f"${len(info)}\r\n{info}\r\n".encode()}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(4096):
            for name in re.findall(rb"\*\d+\r\n\$\d+\r\n(\w+)", request):
                writer.write(answers.get(name.upper(), b"-ERR unknown command\r\n"))
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("info", "told"),
    [
        ("redis_version:6.0.16\r\nredis_mode:standalone\r\n", r"version 6\.0\.16, needed: 6\.2 or later"),
        ("redis_version:8.2.0\r\nredis_mode:cluster\r\n", "a node of a Redis Cluster"),
        ("redis_version:6.2.0\r\nredis_mode:standalone\r\n", None),
        ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\n", None),
        ("", None),
    ],
)
async def test_the_version_is_looked_at_when_the_cache_is_opened(info: str, told: str | None) -> None:
    """Redis before 6.2 and nodes of a cluster are refused; what does not say its version is taken."""
    async with await stub(info) as server:
        config = RedisConfig(port=server.sockets[0].getsockname()[1], timeout=10.0, connect_timeout=10.0)
        if told is None:
            async with open_cache(config) as cache:
                await cache.check()
            return
        with pytest.raises(ConfigError, match=told):
            async with open_cache(config):
                pass


async def test_the_well_known_variables_fill_host_and_port() -> None:
    """`REDIS_HOST` and `REDIS_PORT`."""
    [spec] = sfm_cache()
    assert spec.env == {"REDIS_HOST": "host", "REDIS_PORT": "port"}
