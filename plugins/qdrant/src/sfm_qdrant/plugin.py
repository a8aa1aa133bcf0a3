"""Registration of the Qdrant backends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sfm_core.errors import ConfigError
from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import API_VERSION, BackendSpec, OpenContext, PluginInfo, Port, Security
from sfm_core.ports.vectors import VectorsCapability
from sfm_qdrant.config import QdrantConfig

__all__ = ["sfm_plugin_info", "sfm_vectors"]

_SERVER = frozenset(
    {
        VectorsCapability.AMONG,
        VectorsCapability.FILTER,
        VectorsCapability.DURABLE,
        VectorsCapability.SHARED,
        VectorsCapability.FULL_TEXT,
    }
)
_ENV = {
    "QDRANT_HOST": "host",
    "QDRANT_PORT": "port",
    "QDRANT_GRPC_PORT": "grpc_port",
    "QDRANT_API_KEY": "api_key",
    "QDRANT_PATH": "path",
}
_EDGE = _SERVER - {VectorsCapability.SHARED} | {VectorsCapability.EXACT}


@asynccontextmanager
async def _open(config: QdrantConfig, context: OpenContext) -> AsyncIterator[Any]:
    if config.path is not None:
        async with _open_edge(config, context) as vectors:
            yield vectors
        return
    from sfm_qdrant.opening import open_remote

    async with open_remote(config, context) as vectors:
        yield vectors


@asynccontextmanager
async def _open_edge(config: QdrantConfig, context: OpenContext) -> AsyncIterator[Any]:
    if config.path is None and context.data_dir is None:
        raise ConfigError(
            "SFM_QDRANT__PATH or QDRANT_PATH: not set, allowed: a folder; qdrant/vectors needs it in process"
        )
    try:
        from sfm_qdrant.edge import open_edge
    except ImportError as error:
        if error.name != "qdrant_edge":
            raise
        raise ConfigError(
            "qdrant/vectors: the engine in process is not installed: pip install 'sfm-plugin-qdrant[edge]'"
        ) from error
    async with open_edge(config, context) as vectors:
        yield vectors


def _security(config: QdrantConfig) -> Security:
    if config.path is not None:
        return Security()
    return Security(
        tls=None if config.tls else "SFM_QDRANT__TLS: false, allowed: true",
        credentials=None if config.api_key is not None else "SFM_QDRANT__API_KEY: not set, allowed: an API key",
    )


@hookimpl
def sfm_plugin_info() -> PluginInfo:
    """Say who this plugin is."""
    return PluginInfo(name="qdrant", version="0.10.0", api=API_VERSION, summary="vector and word search on Qdrant")


@hookimpl
def sfm_vectors() -> Sequence[BackendSpec]:
    """Offer the index on a server (or in process, when a path is set), and the one that is always in process."""
    server = BackendSpec(
        port=Port.VECTORS,
        name="qdrant",
        config=QdrantConfig,
        open=_open,
        capabilities=_SERVER,
        env=_ENV,
        security=_security,
    )
    edge = BackendSpec(
        port=Port.VECTORS, name="edge", config=QdrantConfig, open=_open_edge, capabilities=_EDGE, env=_ENV
    )
    return [server, edge]
