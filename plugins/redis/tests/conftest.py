"""What the tests of the Redis cache share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import pytest

from sfm_core.config.secret import Secret
from sfm_core.testing.servers.redis import RedisAt
from sfm_redis.cache import RedisCache, open_cache
from sfm_redis.config import RedisConfig


def config_of(url: str, **settings: object) -> RedisConfig:
    """Return the configuration that leads to the server of `url`, with a prefix of its own."""
    parts = urlsplit(url)
    given = {
        "host": parts.hostname,
        "port": parts.port or 6379,
        "username": parts.username or None,
        "password": Secret(unquote(parts.password)) if parts.password else None,
        "db": int(parts.path.strip("/") or 0),
        "tls": parts.scheme == "rediss",
        "prefix": f"test-{uuid4().hex}",
        # The machine may be busy; what is proven is never how fast the server is.
        "timeout": 10.0,
        "connect_timeout": 10.0,
    }
    return RedisConfig(**{**given, **settings})  # type: ignore[arg-type]


@pytest.fixture
async def config(redis_server: RedisAt) -> AsyncIterator[RedisConfig]:
    """An empty part of the server, emptied again after the test."""
    config = config_of(redis_server.url)
    yield config
    async with open_cache(config) as cache:
        await cache.clear()


@pytest.fixture
async def cache(config: RedisConfig) -> AsyncIterator[RedisCache]:
    """An empty cache."""
    async with open_cache(config) as opened:
        yield opened
