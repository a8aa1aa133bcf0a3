"""What the engine in process is asked, in its own types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qdrant_edge as q

from sfm_core.ports.vectors import Space
from sfm_qdrant.conditions import AllOf, AnyOf, Condition, Ids, Inside, Match, NoneOf, Present, Range
from sfm_qdrant.engine import DENSE, WORDS, Ask, Found, Row, Sparse

__all__ = ["filter_of", "found_in", "index_schema", "point_of", "query_of", "shard_config"]


def filter_of(condition: Condition) -> Any:
    """Return the filter for a condition."""
    clause = _clause(condition)
    return clause if isinstance(clause, q.Filter) else q.Filter(must=[clause])


def _clause(condition: Condition) -> Any:
    match condition:
        case Match(key, values):
            known: Any = q.MatchValue(values[0]) if len(values) == 1 else q.MatchAny(list(values))
            return q.FieldCondition(key, match=known)
        case Range(key, gt, gte, lt, lte):
            return q.FieldCondition(key, range=q.RangeFloat(gt=gt, gte=gte, lt=lt, lte=lte))
        case Present(key):
            return q.Filter(must_not=[q.IsEmptyCondition(key)])
        case Ids(ids):
            return q.HasIdCondition(set(ids))
        case Inside(key, parts):
            return q.NestedCondition(key, q.Filter(must=[_clause(part) for part in parts]))
        case NoneOf(part):
            return q.Filter(must_not=[_clause(part)])
        case AllOf(parts):
            return q.Filter(must=[_clause(part) for part in parts])
        case AnyOf(parts):
            return q.Filter(should=[_clause(part) for part in parts])


def point_of(row: Row) -> Any:
    """Return the point for a row."""
    vectors: dict[str, Any] = {}
    if row.dense is not None:
        vectors[DENSE] = row.dense
    if row.words is not None:
        vectors[WORDS] = q.SparseVector(row.words.indices, row.words.values)
    return q.Point(row.id, vectors, row.payload)


def query_of(ask: Ask) -> Any:
    """Return the request for a search: a full scan, since no graph is ever built."""
    vector: Any = ask.vector
    if isinstance(vector, Sparse):
        vector = q.SparseVector(vector.indices, vector.values)
    return q.QueryRequest(
        query=q.Query.Nearest(vector, ask.using),
        filter=filter_of(ask.where),
        limit=ask.limit,
        with_payload=list(ask.fields) if ask.fields else False,
        with_vector=[WORDS] if ask.with_words else False,
    )


def found_in(answer: Sequence[Any]) -> list[Found]:
    """Return what a search found."""
    return [Found(str(hit.id), hit.score, hit.payload or {}, _words(hit.vector)) for hit in answer]


def _words(vector: Any) -> Sparse | None:
    words = vector.get(WORDS) if isinstance(vector, dict) else None
    return None if words is None else Sparse(list(words.indices), list(words.values))


def shard_config(space: Space | None) -> Any:
    """Return how a shard is created."""
    dense = None if space is None else {DENSE: q.EdgeVectorParams(space.dimension, q.Distance.Cosine)}
    words = {WORDS: q.EdgeSparseVectorParams(modifier=q.Modifier.Idf)}
    return q.EdgeConfig(vectors=dense, sparse_vectors=words, wal_enabled=False)


def index_schema(kind: str) -> Any:
    """Return the payload index of a kind of `sfm_qdrant.payload.INDEXES`."""
    match kind:
        case "tenant":
            return q.KeywordIndexParams(is_tenant=True)
        case "integer":
            return q.IntegerIndexParams(lookup=False, range=True)
        case "float":
            return q.PayloadSchemaType.Float
        case _:
            return q.PayloadSchemaType.Keyword
