"""Settings of the Qdrant backends."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from sfm_core.config.secret import Secret

__all__ = ["QdrantConfig"]

_Port = Annotated[int, Meta(ge=1, le=65535)]
_Seconds = Annotated[float, Meta(gt=0, le=3600)]


class QdrantConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the index is, how to log in, and how patient to be.

    Attributes:
        host, port: of the server's HTTP interface (`QDRANT_HOST`, `QDRANT_PORT`).
        grpc_port: of its gRPC interface; when set, everything goes over gRPC (`QDRANT_GRPC_PORT`).
        path: a folder: the engine runs in this process instead and keeps its index there (`QDRANT_PATH`); one process at
            a time.
        api_key: to log in with (`QDRANT_API_KEY`).
        tls: speak TLS; the server's certificate is verified.
        tls_ca_file: certificates to trust instead of the system's.
        collection: name of the alias that is asked; the collections behind it begin with it. Installations that share a server
            need different ones.
        timeout: seconds that a search or another read may take, connecting included.
        write_timeout: seconds that a batch of points may take.
        connections: most HTTP connections of one process.
        batch_bytes: about how large one request of points may be; the server's own bound is 32 MB by default.
        shards, replicas: of a collection when it is made, on a cluster. None: the server's default.
        average_terms: how many index terms a memory has on average, for the length normalisation of BM25.
        exact: search without the graph: exact, and slower in large namespaces.
        search_ef: how much of the graph a search looks at; more is more exact and slower. None: the server's default.
    """

    host: str = "127.0.0.1"
    port: _Port = 6333
    grpc_port: _Port | None = None
    path: Path | None = None
    api_key: Secret | None = None
    tls: bool = False
    tls_ca_file: Path | None = None
    collection: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "sfm_memories"
    timeout: _Seconds = 2.0
    write_timeout: _Seconds = 10.0
    connections: Annotated[int, Meta(ge=1, le=1000)] = 16
    batch_bytes: Annotated[int, Meta(ge=10_000, le=32_000_000)] = 8_000_000
    shards: Annotated[int, Meta(ge=1)] | None = None
    replicas: Annotated[int, Meta(ge=1)] | None = None
    average_terms: Annotated[float, Meta(gt=0)] = 20.0
    exact: bool = False
    search_ef: Annotated[int, Meta(ge=1)] | None = None
