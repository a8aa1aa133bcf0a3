"""Registration of the near words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import BackendSpec, OpenContext, PluginInfo, Port
from sfm_core.ports.embedding import EmbeddingCapability, WordVectors
from sfm_nearwords.config import NearwordsConfig

__all__ = ["sfm_embedding", "sfm_plugin_info"]


@asynccontextmanager
async def _open(config: NearwordsConfig, context: OpenContext) -> AsyncIterator[WordVectors]:
    from sfm_nearwords.table import SHIPPED, load
    from sfm_nearwords.words import TableWords

    yield TableWords(load(config.table or SHIPPED))


@hookimpl
def sfm_plugin_info() -> PluginInfo:
    """Say who this plugin is."""
    return PluginInfo(name="nearwords", version="0.10.0", api="1.0", summary="near words from a static table, no model")


@hookimpl
def sfm_embedding() -> Sequence[BackendSpec]:
    """Offer the vectors of single words."""
    able = frozenset({EmbeddingCapability.WORDS})
    return [
        BackendSpec(port=Port.EMBEDDING, name="nearwords", config=NearwordsConfig, open=_open, capabilities=able),
    ]
