"""For tests: Qdrant's engine in this process behind the client's methods, as strict as a server is.

Not a server: filters, scores, graphs and conditional writes are those of the real engine, which the stubs of the tests put
behind HTTP and gRPC; names, aliases and refusals are made up here. As a server in strict mode it refuses filters on what has no
payload index, and a write that does not wait is seen a moment later.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import qdrant_edge as q
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.models import QueryResponse

__all__ = ["EngineCollections", "Refused"]

_LATER = 0.05


class Refused(Exception):
    """What a server answers with this status instead."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class EngineCollections:
    """Collections and aliases; each collection is one shard in a folder of its own.

    Args:
        folder: empty, and removed by `close`.

    Attributes:
        slow: seconds in which a collection that is being made is known already, but cannot answer.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names = AsyncQdrantClient(":memory:")
        self._shards: dict[str, Any] = {}
        self._indexes: dict[str, dict[str, str]] = {}
        self._unready: set[str] = set()
        self._later: set[asyncio.Task[None]] = set()
        self.slow = 0.0
        self.get_aliases = self._names.get_aliases
        self.get_collections = self._names.get_collections
        self.update_collection_aliases = self._names.update_collection_aliases
        self.collection_exists = self._names.collection_exists

    def close(self) -> None:
        """Close and remove everything."""
        for shard in self._shards.values():
            shard.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def create_collection(
        self, name: str, vectors_config: Any, sparse_vectors_config: Any = None, hnsw_config: Any = None
    ) -> bool:
        """Make a collection whose graphs are built of very few points."""
        if await self._names.collection_exists(name):
            raise Refused(409, f"Collection `{name}` already exists!")
        await self._names.create_collection(
            name, vectors_config=vectors_config, sparse_vectors_config=sparse_vectors_config
        )
        if self.slow:
            self._unready.add(name)
            await asyncio.sleep(self.slow)
            self._unready.discard(name)
        dense = {key: q.EdgeVectorParams(one.size, q.Distance.Cosine) for key, one in vectors_config.items()}
        sparse = {key: q.EdgeSparseVectorParams(modifier=q.Modifier.Idf) for key in sparse_vectors_config or {}}
        m, payload_m = (hnsw_config.m, hnsw_config.payload_m) if hnsw_config else (16, None)
        config = q.EdgeConfig(
            vectors=dense or None,
            sparse_vectors=sparse,
            hnsw_config=q.HnswIndexConfig(m=m, payload_m=payload_m, ef_construct=100, full_scan_threshold=10),
            optimizers=q.EdgeOptimizersConfig(indexing_threshold=10, default_segment_number=1),
            wal_enabled=False,
        )
        path = self._folder / uuid4().hex
        path.mkdir(parents=True)
        self._shards[name] = q.EdgeShard.create(str(path), config)
        self._indexes[name] = {}
        return True

    async def delete_collection(self, name: str) -> bool:
        """Remove a collection and its aliases."""
        if name in self._shards:
            self._shards.pop(name).close()
        return bool(await self._names.delete_collection(name))

    async def get_collection(self, name: str) -> models.CollectionInfo:
        """Tell what a collection is."""
        _, known = await self._found(name)
        info = await self._names.get_collection(known)
        schema = {
            key: models.PayloadIndexInfo(data_type=models.PayloadSchemaType(kind), points=0)
            for key, kind in self._indexes[known].items()
        }
        return info.model_copy(update={"payload_schema": schema})

    async def create_payload_index(self, name: str, key: str, schema: Any, *, wait: bool) -> None:
        """Index a field."""
        shard, known = await self._found(name)
        params: Any
        match schema:
            case models.KeywordIndexParams():
                params = q.KeywordIndexParams(is_tenant=schema.is_tenant, enable_hnsw=schema.enable_hnsw)
            case models.IntegerIndexParams():
                params = q.IntegerIndexParams(lookup=schema.lookup, range=schema.range, enable_hnsw=schema.enable_hnsw)
            case _:
                params = q.FloatIndexParams(enable_hnsw=schema.enable_hnsw)
        self._indexes[known][key] = str(schema.type.value)
        self._write(lambda: shard.update(q.UpdateOperation.create_field_index(key, params)), wait)

    async def upsert(self, name: str, points: Sequence[Any], condition: Any = None, *, wait: bool) -> None:
        """Store points, those that exist only where they pass `condition`."""
        if not points:
            raise Refused(400, "Empty update request")
        shard, known = await self._found(name)
        self._check(known, condition)
        made = [q.Point(one.id, _vectors(one.vector), one.payload) for one in points]
        filter = None if condition is None else _filter(condition)
        self._write(lambda: shard.update(q.UpdateOperation.upsert_points(made, filter)), wait)

    async def batch_update_points(self, name: str, operations: Sequence[Any], *, wait: bool) -> None:
        """Store one batch after another."""
        for operation in operations:
            listed = operation.upsert
            await self.upsert(name, listed.points, listed.update_filter, wait=wait)

    async def query_batch_points(self, name: str, asked: Sequence[Any]) -> list[QueryResponse]:
        """Answer searches."""
        shard, known = await self._found(name)
        requests = []
        for one in asked:
            if (one.limit or 0) < 1:
                raise Refused(422, "limit: value 0 invalid, must be 1 or larger")
            self._check(known, one.filter)
            requests.append(_request(one))
        answers = _asked(lambda: shard.query_batch(q.QueryBatchRequest(requests)))
        return [QueryResponse(points=[_scored(hit) for hit in answer]) for answer in answers]

    async def retrieve(self, name: str, ids: Sequence[Any], payload: Any, vectors: Any = None) -> list[models.Record]:
        """Return points by id."""
        shard, _ = await self._found(name)
        found = _asked(lambda: shard.retrieve(list(ids), _selected(payload), _selected(vectors)))
        return [models.Record(id=str(one.id), payload=one.payload, vector=_plain(one.vector)) for one in found]

    async def count(self, name: str, filter: Any) -> models.CountResult:
        """Count points."""
        shard, known = await self._found(name)
        self._check(known, filter)
        where = None if filter is None else _filter(filter)
        return models.CountResult(count=_asked(lambda: shard.count(q.CountRequest(filter=where, exact=True))))

    async def optimize(self, name: str) -> bool:
        """Build the graphs, as a server does by itself some time after the writes."""
        shard, _ = await self._found(name)
        return bool(shard.optimize())

    async def _found(self, name: str) -> tuple[Any, str]:
        aliases = (await self._names.get_aliases()).aliases
        known = next((one.collection_name for one in aliases if one.alias_name == name), name)
        if known in self._unready:
            raise Refused(500, "Service internal error: 0 of 0 read operations failed")
        if known not in self._shards:
            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")
        return self._shards[known], known

    def _check(self, known: str, filter: Any) -> None:
        missing = set(_keys(filter)) - set(self._indexes[known])
        if missing:
            raise Refused(400, f"Index required but not found for {sorted(missing)}")

    def _write(self, call: Callable[[], object], wait: bool) -> None:
        if wait:
            _asked(call)
            return

        async def later() -> None:
            await asyncio.sleep(_LATER)
            call()

        task = asyncio.create_task(later())
        self._later.add(task)
        task.add_done_callback(self._later.discard)


def _asked(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        raise Refused(400, str(error)) from error


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _keys(filter: Any, prefix: str = "") -> Iterator[str]:
    """Return the keys that a filter looks at."""
    if filter is None:
        return
    for part in (*_listed(filter.must), *_listed(filter.should), *_listed(filter.must_not)):
        match part:
            case models.FieldCondition():
                yield prefix + part.key
            case models.IsEmptyCondition():
                yield prefix + part.is_empty.key
            case models.NestedCondition():
                yield from _keys(part.nested.filter, f"{prefix}{part.nested.key}[].")
            case models.Filter():
                yield from _keys(part, prefix)


def _filter(filter: Any) -> Any:
    must, should, must_not = (
        [_condition(part) for part in _listed(parts)] for parts in (filter.must, filter.should, filter.must_not)
    )
    return q.Filter(must=must or None, should=should or None, must_not=must_not or None)


def _condition(part: Any) -> Any:
    match part:
        case models.FieldCondition(match=models.MatchValue(value=value)):
            return q.FieldCondition(part.key, match=q.MatchValue(value))
        case models.FieldCondition(match=models.MatchAny(any=values)):
            return q.FieldCondition(part.key, match=q.MatchAny(values))
        case models.FieldCondition(range=models.Range() as bounds):
            numbers: Any = bounds.model_dump()
            return q.FieldCondition(part.key, range=q.RangeFloat(**numbers))
        case models.IsEmptyCondition():
            return q.IsEmptyCondition(part.is_empty.key)
        case models.HasIdCondition():
            return q.HasIdCondition(set(part.has_id))
        case models.NestedCondition():
            return q.NestedCondition(part.nested.key, _filter(part.nested.filter))
        case models.Filter():
            return _filter(part)
    raise Refused(400, f"the stub has no {type(part).__name__}")


def _request(asked: Any) -> Any:
    vector: Any = asked.query.nearest if isinstance(asked.query, models.NearestQuery) else asked.query
    if isinstance(vector, models.SparseVector):
        vector = q.SparseVector(vector.indices, vector.values)
    params = asked.params
    return q.QueryRequest(
        query=q.Query.Nearest(vector, asked.using),
        filter=None if asked.filter is None else _filter(asked.filter),
        limit=asked.limit,
        with_payload=_selected(asked.with_payload),
        with_vector=_selected(asked.with_vector),
        params=None if params is None else q.SearchParams(hnsw_ef=params.hnsw_ef, exact=bool(params.exact)),
    )


def _selected(selector: Any) -> Any:
    if isinstance(selector, models.PayloadSelectorInclude):
        return selector.include
    return False if selector is None else selector


def _vectors(given: Any) -> Any:
    return {
        name: q.SparseVector(one.indices, one.values) if isinstance(one, models.SparseVector) else one
        for name, one in given.items()
    }


def _plain(vectors: Any) -> Any:
    if vectors is None:
        return None
    return {
        name: models.SparseVector(indices=list(one.indices), values=list(one.values))
        if isinstance(one, q.SparseVector)
        else list(one)
        for name, one in vectors.items()
    }


def _scored(hit: Any) -> models.ScoredPoint:
    return models.ScoredPoint(
        id=str(hit.id), version=0, score=hit.score, payload=hit.payload, vector=_plain(hit.vector)
    )
