"""For tests: the client's local mode as a plugin of its own, and the server that `TEST_QDRANT_URL` names.

The local mode takes the very requests that a server gets, without a server, in memory, and forgets them when it is closed:

    async with open_memory(plugins=[sfm_qdrant.testing], settings={"vectors": "qdrant-local"}) as memory: ...

There is no Qdrant server in any package registry, so the tests that need one run where `TEST_QDRANT_URL` names it
(http://127.0.0.1:6333), over HTTP and over gRPC (`TEST_QDRANT_GRPC_PORT`, else `QDRANT_GRPC_PORT`, else the port above; the
API key is `TEST_QDRANT_API_KEY`).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from sfm_core.config.secret import Secret
from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import API_VERSION, BackendSpec, OpenContext, PluginInfo, Port, Stability
from sfm_core.ports.vectors import VectorsCapability
from sfm_qdrant.config import QdrantConfig

__all__ = ["LOCAL", "drop_collections", "server_config", "sfm_plugin_info", "sfm_vectors", "wires"]


@asynccontextmanager
async def _open_local(config: QdrantConfig, context: OpenContext) -> AsyncIterator[Any]:
    from qdrant_client import AsyncQdrantClient

    from sfm_qdrant.opening import opened
    from sfm_qdrant.remote import RemoteEngine

    class Local(AsyncQdrantClient):
        async def query_batch_points(self, *args: Any, **kwargs: Any) -> Any:
            with warnings.catch_warnings():
                # That a local search is exact whatever the request says of the graph.
                warnings.simplefilter("ignore")
                return await super().query_batch_points(*args, **kwargs)

    engine = RemoteEngine(Local(":memory:"), config, context)
    try:
        await engine.meet()
        yield opened(engine, config, context)
    finally:
        await engine.close()


LOCAL = BackendSpec(
    port=Port.VECTORS,
    name="qdrant-local",
    config=QdrantConfig,
    open=_open_local,
    capabilities=frozenset(VectorsCapability) - {VectorsCapability.DURABLE, VectorsCapability.SHARED},
    stability=Stability.EXPERIMENTAL,
)
"""The client's local mode: a plain scan in Python."""


@hookimpl
def sfm_plugin_info() -> PluginInfo:
    """Say who this plugin is."""
    return PluginInfo(name="qdrant-local", version="0.10.0", api=API_VERSION, summary="Qdrant's local mode, for tests")


@hookimpl
def sfm_vectors() -> Sequence[BackendSpec]:
    """Offer the local mode."""
    return [LOCAL]


def wires() -> tuple[str, ...]:
    """Return the ways in which a server can be asked: `http` and `grpc`, or none when no server is named."""
    return ("http", "grpc") if os.environ.get("TEST_QDRANT_URL") else ()


def server_config(wire: str, collection: str, **fields: Any) -> QdrantConfig:
    """Return the settings for the server of `TEST_QDRANT_URL`.

    Args:
        wire: one of `wires()`.
        collection: the name of the index.
        fields: other settings.
    """
    url = os.environ["TEST_QDRANT_URL"]
    parts = urlsplit(url if "//" in url else f"//{url}")
    port = parts.port or 6333
    grpc_port = os.environ.get("TEST_QDRANT_GRPC_PORT") or os.environ.get("QDRANT_GRPC_PORT") or port + 1
    key = os.environ.get("TEST_QDRANT_API_KEY")
    patient: dict[str, Any] = {"timeout": 10.0, "write_timeout": 60.0}
    return QdrantConfig(
        host=parts.hostname or "127.0.0.1",
        port=port,
        grpc_port=int(grpc_port) if wire == "grpc" else None,
        tls=parts.scheme == "https",
        api_key=Secret(key) if key else None,
        collection=collection,
        **(patient | fields),
    )


async def drop_collections(config: QdrantConfig) -> None:
    """Remove every collection of an index from its server."""
    from sfm_qdrant.client import connect

    client = connect(config)
    for known in (await client.get_collections()).collections:
        if known.name.startswith(config.collection):
            await client.delete_collection(known.name)
    await client.close()
