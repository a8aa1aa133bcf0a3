"""Registration of the in-memory backends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import BackendSpec, OpenContext, PluginInfo, Port
from sfm_core.ports.events import EventsCapability
from sfm_core.ports.storage import StorageCapability
from sfm_core.ports.vectors import VectorsCapability
from sfm_inmemory.config import InmemoryConfig

__all__ = ["sfm_cache", "sfm_events", "sfm_plugin_info", "sfm_storage", "sfm_vectors"]


@asynccontextmanager
async def _open_storage(config: InmemoryConfig, context: OpenContext) -> AsyncIterator[Any]:
    from sfm_inmemory.storage import InmemoryStorage

    yield InmemoryStorage()


@asynccontextmanager
async def _open_vectors(config: InmemoryConfig, context: OpenContext) -> AsyncIterator[Any]:
    from sfm_inmemory.vectors import InmemoryVectors

    yield InmemoryVectors(context.space)


@asynccontextmanager
async def _open_cache(config: InmemoryConfig, context: OpenContext) -> AsyncIterator[Any]:
    from sfm_inmemory.cache import InmemoryCache

    yield InmemoryCache(entries=config.cache_entries)


@asynccontextmanager
async def _open_events(config: InmemoryConfig, context: OpenContext) -> AsyncIterator[Any]:
    from sfm_inmemory.events import InmemoryEvents

    yield InmemoryEvents(retained=config.events_retained)


@hookimpl
def sfm_plugin_info() -> PluginInfo:
    """Say who this plugin is."""
    return PluginInfo(name="inmemory", version="0.10.0", api="1.0", summary="every port in memory, for tests")


@hookimpl
def sfm_storage() -> Sequence[BackendSpec]:
    """Offer the storage: all abilities but durability and sharing."""
    able = frozenset(StorageCapability) - {StorageCapability.DURABLE, StorageCapability.SHARED}
    return [
        BackendSpec(port=Port.STORAGE, name="inmemory", config=InmemoryConfig, open=_open_storage, capabilities=able)
    ]


@hookimpl
def sfm_vectors() -> Sequence[BackendSpec]:
    """Offer the exact vector search: all abilities but durability and sharing."""
    able = frozenset(VectorsCapability) - {VectorsCapability.DURABLE, VectorsCapability.SHARED}
    return [
        BackendSpec(port=Port.VECTORS, name="inmemory", config=InmemoryConfig, open=_open_vectors, capabilities=able)
    ]


@hookimpl
def sfm_cache() -> Sequence[BackendSpec]:
    """Offer the cache."""
    return [BackendSpec(port=Port.CACHE, name="inmemory", config=InmemoryConfig, open=_open_cache)]


@hookimpl
def sfm_events() -> Sequence[BackendSpec]:
    """Offer the in-process bus."""
    able = frozenset({EventsCapability.DEAD_LETTERS})
    return [BackendSpec(port=Port.EVENTS, name="inmemory", config=InmemoryConfig, open=_open_events, capabilities=able)]
