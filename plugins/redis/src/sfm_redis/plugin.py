"""Registration of the Redis cache."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import API_VERSION, BackendSpec, OpenContext, PluginInfo, Port, Security
from sfm_core.ports.cache import CacheCapability
from sfm_redis.config import RedisConfig

__all__ = ["sfm_cache", "sfm_plugin_info"]

_ENV = {"REDIS_HOST": "host", "REDIS_PORT": "port"}


@asynccontextmanager
async def _open_cache(config: RedisConfig, context: OpenContext) -> AsyncIterator[Any]:
    from sfm_redis.cache import open_cache

    async with open_cache(config) as cache:
        yield cache


def _security(config: RedisConfig) -> Security:
    return Security(
        tls=None if config.tls else "SFM_REDIS__TLS: false, allowed: true",
        credentials=None if config.password is not None else "SFM_REDIS__PASSWORD: not set, allowed: a password",
    )


@hookimpl
def sfm_plugin_info() -> PluginInfo:
    """Say who this plugin is."""
    return PluginInfo(name="redis", version="0.10.0", api=API_VERSION, summary="a cache shared through Redis or Valkey")


@hookimpl
def sfm_cache() -> Sequence[BackendSpec]:
    """Offer the cache."""
    able = frozenset({CacheCapability.SHARED})
    spec = BackendSpec(
        port=Port.CACHE,
        name="redis",
        config=RedisConfig,
        open=_open_cache,
        capabilities=able,
        env=_ENV,
        security=_security,
    )
    return [spec]
