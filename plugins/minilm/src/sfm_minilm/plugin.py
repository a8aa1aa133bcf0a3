"""Registration of the sentence embeddings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import BackendSpec, OpenContext, PluginInfo, Port
from sfm_core.ports.embedding import Embedding, EmbeddingCapability
from sfm_minilm.config import MinilmConfig

__all__ = ["sfm_embedding", "sfm_plugin_info"]


@asynccontextmanager
async def _open(config: MinilmConfig, context: OpenContext) -> AsyncIterator[Embedding]:
    from sfm_minilm.embedding import open_embedding

    async with open_embedding(config) as embedding:
        yield embedding


@hookimpl
def sfm_plugin_info() -> PluginInfo:
    """Say who this plugin is."""
    return PluginInfo(name="minilm", version="0.10.0", api="1.0", summary="sentence embeddings by a small local model")


@hookimpl
def sfm_embedding() -> Sequence[BackendSpec]:
    """Offer the vectors of whole texts."""
    able = frozenset({EmbeddingCapability.TEXTS})
    return [BackendSpec(port=Port.EMBEDDING, name="minilm", config=MinilmConfig, open=_open, capabilities=able)]
