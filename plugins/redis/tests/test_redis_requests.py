"""What the Redis cache does beyond the contract of its port: keys, lifetimes, permissions, refusals."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from sfm_core.config.secret import Secret
from sfm_core.errors import BackendError, BackendUnavailable, ConfigError
from sfm_redis.cache import RedisCache, open_cache
from sfm_redis.config import RedisConfig

LONG = 3600.0


@pytest.fixture
async def client(config: RedisConfig) -> AsyncIterator[Redis]:
    """The bare driver on the same database."""
    password = config.password.reveal() if config.password else None
    opened = Redis(host=config.host, port=config.port, db=config.db, username=config.username, password=password)
    yield opened
    await opened.aclose()


def other(config: RedisConfig, **settings: object) -> RedisConfig:
    """Return `config` with other settings."""
    fields = {name: getattr(config, name) for name in RedisConfig.__struct_fields__}
    return RedisConfig(**{**fields, **settings})


async def test_every_key_has_the_prefix_and_an_end(cache: RedisCache, client: Redis, config: RedisConfig) -> None:
    """Values, added values, counters, long keys: nothing stays for ever on a server that is shared."""
    await cache.set({"a": b"1", "x" * 512: b"2"}, ttl=LONG)
    await cache.add({"b": b"1"}, ttl=LONG)
    await cache.increment("c", ttl=LONG)
    await cache.increment("c", ttl=LONG)
    keys = [key async for key in client.scan_iter(match=f"{config.prefix}:*")]
    assert len(keys) == 4
    lifetimes = [await client.pttl(key) for key in keys]
    assert [ms for ms in lifetimes if not 0 < ms <= LONG * 1000] == []
    assert max(map(len, keys)) < 300


async def test_a_counter_after_a_flush_has_an_end(cache: RedisCache, client: Redis, config: RedisConfig) -> None:
    """Whatever the server threw away, the next increment starts a counter that expires."""
    await cache.increment("c", ttl=LONG, by=7)
    await client.unlink(f"{config.prefix}:k:c")
    assert await cache.increment("c", ttl=LONG) == 1
    assert await client.pttl(f"{config.prefix}:k:c") > 0


async def test_long_keys_are_told_apart_from_their_digests(cache: RedisCache, client: Redis) -> None:
    """Long keys that differ at the end, and a short key that looks like one of their names."""
    one, two = "k" * 511 + "1", "k" * 511 + "2"
    await cache.set({one: b"1", two: b"2"}, ttl=LONG)
    names = [key.decode().rpartition(":")[2] async for key in client.scan_iter(match="*:h:*")]
    await cache.set(dict.fromkeys(names, b"3"), ttl=LONG)
    assert await cache.get([one, two]) == [b"1", b"2"]


async def test_many_keys_are_many_requests(cache: RedisCache) -> None:
    """More keys and bytes than one request holds."""
    values = {f"key {n}": b"%d" % n * (1 + n % 7 * 500) for n in range(1500)}
    await cache.set(values, ttl=LONG)
    assert await cache.get(list(values)) == list(values.values())
    await cache.delete(list(values)[:1000])
    assert (await cache.get(list(values))).count(None) == 1000


async def test_clearing_spares_what_others_put_there(cache: RedisCache, client: Redis, config: RedisConfig) -> None:
    """Other prefixes, prefixes that begin alike, keys of strangers."""
    longer = other(config, prefix=config.prefix + "2")
    async with open_cache(longer) as neighbour:
        await neighbour.set({"a": b"1"}, ttl=LONG)
        await client.set(f"{config.prefix}x", b"1", px=100_000)
        await cache.set({f"{n}": b"1" for n in range(3000)}, ttl=LONG)
        await cache.clear()
        assert await cache.get([f"{n}" for n in range(3000)]) == [None] * 3000
        assert await neighbour.get(["a"]) == [b"1"]
        assert await client.delete(f"{config.prefix}x") == 1
        await neighbour.clear()


async def test_more_callers_than_connections_take_turns(config: RedisConfig) -> None:
    """Nobody is refused for want of a connection."""
    async with open_cache(other(config, connections=2)) as cache:
        await cache.set({f"{n}": b"%d" % n for n in range(100)}, ttl=LONG)
        found = await asyncio.gather(*(cache.get([f"{n}"]) for n in range(100)))
        assert found == [[b"%d" % n] for n in range(100)]


async def test_a_cancelled_caller_leaves_no_answer_to_another(config: RedisConfig) -> None:
    """Connections in the middle of an answer are not used again, and none is lost to those who wait."""
    chance = random.Random(4)
    async with open_cache(other(config, connections=3)) as cache:
        values = {f"{n}": b"%d" % n * 1000 for n in range(50)}
        await cache.set(values, ttl=LONG)
        for _ in range(20):
            tasks = [asyncio.create_task(cache.get([key])) for key in values]
            await asyncio.sleep(chance.random() * 0.02)
            for task in chance.sample(tasks, 25):
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            wrong = [(key, got) for key, got in zip(values, done, strict=True) if got != [values[key]]]
            assert all(isinstance(got, asyncio.CancelledError) for _, got in wrong)


async def test_an_error_quotes_neither_key_nor_value(cache: RedisCache, client: Redis, config: RedisConfig) -> None:
    """The driver's text would hold the command; ours, and what is behind it, does not."""
    await client.set(f"{config.prefix}:k:secret key", b"secret value", px=100_000)
    with pytest.raises(BackendError, match=r"^redis/cache: ") as refused:
        await cache.increment("secret key", ttl=LONG)
    assert "secret" not in str(refused.value)
    assert refused.value.__context__ is None
    assert refused.value.__cause__ is None


async def test_a_user_needs_few_permissions(cache: RedisCache, client: Redis, config: RedisConfig) -> None:
    """Neither INFO nor CLIENT nor any key outside of the prefix."""
    user = config.prefix
    needed = ("ping", "mget", "set", "unlink", "scan", "incrby", "multi", "exec")
    await client.execute_command(
        "ACL", "SETUSER", user, "on", ">pw-of-user", f"~{config.prefix}:*", *(f"+{name}" for name in needed)
    )
    try:
        async with open_cache(other(config, username=user, password=Secret("pw-of-user"))) as limited:
            await limited.check()
            await limited.set({"a": b"1"}, ttl=LONG)
            await limited.add({"b": b"2"}, ttl=LONG)
            assert await limited.increment("c", ttl=LONG) == 1
            assert await limited.get(["a", "b", "c"]) == [b"1", b"2", b"1"]
            await limited.delete(["a"])
            await limited.clear()
            assert await cache.get(["a", "b", "c"]) == [None] * 3
            await client.execute_command("ACL", "SETUSER", user, "-set")
            with pytest.raises(BackendError, match="does not permit"):
                await limited.set({"a": b"1"}, ttl=LONG)
    finally:
        await client.execute_command("ACL", "DELUSER", user)


async def test_a_refused_login_is_told_at_once_without_the_password(
    config: RedisConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in the error nor behind it, nor in what is printed of the configuration, nor in a log."""
    wrong = other(config, username="nobody-of-that-name", password=Secret("not-the-password"))
    with pytest.raises(ConfigError, match="refuses the login") as refused:
        async with open_cache(wrong):
            pass
    told = f"{refused.value!r} {refused.value.__context__!r} {refused.value.__cause__!r} {wrong!r} {caplog.text}"
    assert "not-the-password" not in told
    assert "nobody-of-that-name" not in f"{refused.value}"


async def test_a_database_that_is_not_there_is_told_at_once(config: RedisConfig) -> None:
    """The server is reached, and cannot be used."""
    with pytest.raises(ConfigError, match=r"^redis/cache: "):
        async with open_cache(other(config, db=123_456)):
            pass


async def test_a_missing_certificate_is_told_at_once(config: RedisConfig) -> None:
    """By its path."""
    with pytest.raises(ConfigError, match="no-such-file"):
        async with open_cache(other(config, tls=True, tls_ca_file=Path("no-such-file.pem"))):
            pass


async def test_a_closed_cache_stays_closed(config: RedisConfig) -> None:
    """No connection is opened behind the back of the runtime."""
    async with open_cache(config) as cache:
        pass
    with pytest.raises(BackendUnavailable, match="closed"):
        await cache.get(["a"])
