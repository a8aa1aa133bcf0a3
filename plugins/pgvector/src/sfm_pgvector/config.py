"""Settings of the pgvector backend."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from sfm_postgres.config import ConnectionConfig, Seconds

__all__ = ["PgvectorConfig"]


class PgvectorConfig(ConnectionConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the index reaches its server (`ConnectionConfig`; `url` may be that of the storage), is built and is searched.

    Attributes:
        hnsw: whether the index is made with HNSW. Without it every search is exact and writes cost far less: right as long as
            no namespace (or subtree that is searched) holds many more points than `exact_below`.
        precision: `half` stores 16 bits a number, `full` 32. HNSW itself takes half precision and up to 4,000 dimensions;
            beyond these every search is exact.
        exact_below: namespaces and subtrees of at most so many points are searched exactly.
        ef_search: how many candidates a search of HNSW looks at, at least.
        max_scan_tuples: a filtered search that finds too little among so many points goes on exactly.
        m, ef_construction: of HNSW. Like `hnsw` and `precision` they count when the index is made (`sfm reindex` does anew).
    """

    schema: str = "sfm_vectors"
    pool_size: Annotated[int, Meta(ge=1, le=1000)] = 4
    connect_timeout: Seconds = 2.0
    statement_timeout: Seconds = 5.0
    hnsw: bool = True
    precision: Literal["full", "half"] = "half"
    exact_below: Annotated[int, Meta(ge=0)] = 20_000
    ef_search: Annotated[int, Meta(ge=1, le=1000)] = 100
    max_scan_tuples: Annotated[int, Meta(ge=1, le=2**31 - 1)] = 20_000
    m: Annotated[int, Meta(ge=2, le=100)] = 16
    ef_construction: Annotated[int, Meta(ge=4, le=1000)] = 64
