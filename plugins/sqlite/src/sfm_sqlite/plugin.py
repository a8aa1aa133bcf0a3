"""Registration of the SQLite backends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import API_VERSION, BackendSpec, OpenContext, PluginInfo, Port
from sfm_core.ports.storage import StorageCapability
from sfm_core.ports.vectors import VectorsCapability
from sfm_sqlite.config import SqliteConfig

__all__ = ["sfm_plugin_info", "sfm_storage", "sfm_vectors"]


@asynccontextmanager
async def _open_storage(config: SqliteConfig, context: OpenContext) -> AsyncIterator[Any]:
    from sfm_sqlite.storage import open_storage

    async with open_storage(config, context) as storage:
        yield storage


@asynccontextmanager
async def _open_vectors(config: SqliteConfig, context: OpenContext) -> AsyncIterator[Any]:
    from sfm_sqlite.vectors import open_vectors

    async with open_vectors(config, context) as vectors:
        yield vectors


@hookimpl
def sfm_plugin_info() -> PluginInfo:
    """Say who this plugin is."""
    return PluginInfo(name="sqlite", version="0.10.0", api=API_VERSION, summary="durable storage and vectors in files")


@hookimpl
def sfm_storage() -> Sequence[BackendSpec]:
    """Offer the storage, with every ability."""
    able = frozenset(StorageCapability)
    return [BackendSpec(port=Port.STORAGE, name="sqlite", config=SqliteConfig, open=_open_storage, capabilities=able)]


@hookimpl
def sfm_vectors() -> Sequence[BackendSpec]:
    """Offer the exact vector search; whole filters and words are the storage's matter."""
    able = frozenset(VectorsCapability) - {VectorsCapability.FILTER, VectorsCapability.FULL_TEXT}
    return [BackendSpec(port=Port.VECTORS, name="sqlite", config=SqliteConfig, open=_open_vectors, capabilities=able)]
