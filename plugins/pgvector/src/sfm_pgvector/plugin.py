"""Registration of the vector search in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import API_VERSION, BackendSpec, OpenContext, PluginInfo, Port, Security
from sfm_core.ports.vectors import VectorsCapability
from sfm_pgvector.config import PgvectorConfig

__all__ = ["sfm_plugin_info", "sfm_vectors"]

_ABLE = frozenset(
    {VectorsCapability.AMONG, VectorsCapability.DURABLE, VectorsCapability.FILTER, VectorsCapability.SHARED}
)


@asynccontextmanager
async def _open_vectors(config: PgvectorConfig, context: OpenContext) -> AsyncIterator[Any]:
    from sfm_pgvector.vectors import open_vectors

    async with open_vectors(config, context) as vectors:
        yield vectors


def _security(config: PgvectorConfig) -> Security:
    from sfm_postgres.security import security

    return security(config, prefix="SFM_PGVECTOR__")


@hookimpl
def sfm_plugin_info() -> PluginInfo:
    """Say who this plugin is."""
    return PluginInfo(name="pgvector", version="0.10.0", api=API_VERSION, summary="vector search in PostgreSQL")


@hookimpl
def sfm_vectors() -> Sequence[BackendSpec]:
    """Offer the index: approximate in large namespaces, exact in small ones."""
    return [
        BackendSpec(
            port=Port.VECTORS,
            name="pgvector",
            config=PgvectorConfig,
            open=_open_vectors,
            capabilities=_ABLE,
            env={"POSTGRES_URL": "url"},
            security=_security,
        )
    ]
