"""Registration of the PostgreSQL storage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import API_VERSION, BackendSpec, OpenContext, PluginInfo, Port, Security
from sfm_core.ports.storage import StorageCapability
from sfm_postgres.config import PostgresConfig

__all__ = ["sfm_plugin_info", "sfm_storage"]


@asynccontextmanager
async def _open_storage(config: PostgresConfig, context: OpenContext) -> AsyncIterator[Any]:
    from sfm_postgres.storage import open_storage

    async with open_storage(config, context) as storage:
        yield storage


def _security(config: PostgresConfig) -> Security:
    from sfm_postgres.security import security

    return security(config, prefix="SFM_POSTGRES__")


@hookimpl
def sfm_plugin_info() -> PluginInfo:
    """Say who this plugin is."""
    return PluginInfo(name="postgres", version="0.10.0", api=API_VERSION, summary="storage on PostgreSQL 14 and newer")


@hookimpl
def sfm_storage() -> Sequence[BackendSpec]:
    """Offer the storage, with every ability."""
    return [
        BackendSpec(
            port=Port.STORAGE,
            name="postgres",
            config=PostgresConfig,
            open=_open_storage,
            capabilities=frozenset(StorageCapability),
            env={"POSTGRES_URL": "url"},
            security=_security,
        )
    ]
