"""Opening the index on a server: met at once when it answers, else at the first call."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sfm_core.errors import BackendUnavailable
from sfm_core.plugins.types import OpenContext
from sfm_qdrant.client import connect
from sfm_qdrant.config import QdrantConfig
from sfm_qdrant.engine import Engine
from sfm_qdrant.failures import bounded
from sfm_qdrant.remote import RemoteEngine
from sfm_qdrant.vectors import QdrantVectors

__all__ = ["open_remote", "opened"]

_PATIENCE = 5.0
_log = logging.getLogger("sfm.qdrant")


@asynccontextmanager
async def open_remote(config: QdrantConfig, context: OpenContext) -> AsyncIterator[QdrantVectors]:
    """Yield the index on the server that `config` names.

    Raises:
        ConfigError: the server answers, and is too old or holds something else.
    """
    engine = RemoteEngine(connect(config), config, context)
    try:
        await _greet(engine)
        yield opened(engine, config, context)
    finally:
        await engine.close()


def opened(engine: Engine, config: QdrantConfig, context: OpenContext) -> QdrantVectors:
    """Return the port over an engine."""
    return QdrantVectors(engine, space=context.space, average_terms=config.average_terms)


async def _greet(engine: RemoteEngine) -> None:
    try:
        async with bounded(_PATIENCE):
            await engine.meet()
    except BackendUnavailable as error:
        _log.warning("starting without the vector index: %s", error)
