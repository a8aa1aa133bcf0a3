"""What the engine is asked, in the words of qdrant-client's models (the same over HTTP, gRPC and in its local mode)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qdrant_client import models
from qdrant_client.http.models import QueryResponse

from sfm_core.ports.vectors import Space
from sfm_qdrant.conditions import AllOf, AnyOf, Condition, Ids, Inside, Match, NoneOf, Present, Range
from sfm_qdrant.engine import DENSE, WORDS, Ask, Found, Row, Sparse

__all__ = ["collection", "filter_of", "found_in", "index_schema", "point_of", "query_of", "upserts"]


def filter_of(condition: Condition) -> models.Filter:
    """Return the filter for a condition."""
    clause = _clause(condition)
    return clause if isinstance(clause, models.Filter) else models.Filter(must=[clause])


def _clause(condition: Condition) -> Any:
    match condition:
        case Match(key, values):
            known: Any = models.MatchValue(value=values[0]) if len(values) == 1 else models.MatchAny(any=list(values))
            return models.FieldCondition(key=key, match=known)
        case Range(key, gt, gte, lt, lte):
            return models.FieldCondition(key=key, range=models.Range(gt=gt, gte=gte, lt=lt, lte=lte))
        case Present(key):
            return models.Filter(must_not=[models.IsEmptyCondition(is_empty=models.PayloadField(key=key))])
        case Ids(ids):
            return models.HasIdCondition(has_id=list(ids))
        case Inside(key, parts):
            nested = models.Nested(key=key, filter=models.Filter(must=[_clause(part) for part in parts]))
            return models.NestedCondition(nested=nested)
        case NoneOf(part):
            return models.Filter(must_not=[_clause(part)])
        case AllOf(parts):
            return models.Filter(must=[_clause(part) for part in parts])
        case AnyOf(parts):
            return models.Filter(should=[_clause(part) for part in parts])


def point_of(row: Row) -> models.PointStruct:
    """Return the point for a row."""
    vectors: dict[str, Any] = {}
    if row.dense is not None:
        vectors[DENSE] = row.dense
    if row.words is not None:
        vectors[WORDS] = models.SparseVector(indices=row.words.indices, values=row.words.values)
    return models.PointStruct(id=row.id, vector=vectors, payload=row.payload)


def upserts(rows: Sequence[Row], *, deletions: bool, guarded: bool) -> list[Any]:
    """Return one operation for each version among `rows`: it leaves points alone that are of that version or a later one.

    With `deletions` it leaves only later ones alone; with `guarded` False none.
    """
    by_version: dict[int, list[Row]] = {}
    for row in rows:
        by_version.setdefault(row.version, []).append(row)
    return [
        models.UpsertOperation(
            upsert=models.PointsList(
                points=[point_of(row) for row in same], update_filter=_older(version, deletions) if guarded else None
            )
        )
        for version, same in by_version.items()
    ]


def _older(version: int, deletions: bool) -> models.Filter:
    return filter_of(Range("version", lte=version) if deletions else Range("version", lt=version))


def query_of(ask: Ask, params: models.SearchParams | None) -> models.QueryRequest:
    """Return the request for a search."""
    vector: Any = ask.vector
    if isinstance(vector, Sparse):
        vector = models.SparseVector(indices=vector.indices, values=vector.values)
    return models.QueryRequest(
        query=vector,
        using=ask.using,
        filter=filter_of(ask.where),
        limit=ask.limit,
        with_payload=list(ask.fields) if ask.fields else False,
        with_vector=[WORDS] if ask.with_words else False,
        params=_params(ask, params),
    )


def _params(ask: Ask, params: models.SearchParams | None) -> models.SearchParams | None:
    """Return how to search: by a graph as the settings say, or without one."""
    if ask.using != DENSE:
        return None
    return models.SearchParams(exact=True) if ask.exact else params


def found_in(response: QueryResponse) -> list[Found]:
    """Return what a search found."""
    return [Found(str(hit.id), hit.score, hit.payload or {}, _words(hit.vector)) for hit in response.points]


def _words(vector: Any) -> Sparse | None:
    words = vector.get(WORDS) if isinstance(vector, Mapping) else None
    return None if words is None else Sparse(list(words.indices), list(words.values))


def collection(space: Space | None, *, shards: int | None = None, replicas: int | None = None) -> dict[str, Any]:
    """Return how a collection is created: vectors of the space, words, and a graph for each tenant instead of one for all."""
    dense = {} if space is None else {DENSE: models.VectorParams(size=space.dimension, distance=models.Distance.COSINE)}
    return {
        "vectors_config": dense,
        "sparse_vectors_config": {WORDS: models.SparseVectorParams(modifier=models.Modifier.IDF)},
        "hnsw_config": models.HnswConfigDiff(m=0, payload_m=16),
        "on_disk_payload": True,
        "shard_number": shards,
        "replication_factor": replicas,
    }


def index_schema(kind: str, version: tuple[int, int]) -> Any:
    """Return the payload index of a kind of `sfm_qdrant.payload.INDEXES`.

    Only namespaces and subtrees get graphs of their own, where the server (1.17) can be told so. Whole numbers are asked for by
    range only.
    """
    graph = None if version < (1, 17) else kind in ("tenant", "graph")
    match kind:
        case "tenant":
            return models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True, enable_hnsw=graph)
        case "integer":
            return models.IntegerIndexParams(
                type=models.IntegerIndexType.INTEGER, lookup=False, range=True, enable_hnsw=graph
            )
        case "float":
            return models.FloatIndexParams(type=models.FloatIndexType.FLOAT, enable_hnsw=graph)
        case _:
            return models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, enable_hnsw=graph)
