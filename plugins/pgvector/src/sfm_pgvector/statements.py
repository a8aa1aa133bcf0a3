"""The statements on the table of the index: texts of this module around names of the schema; values travel apart."""

# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from sfm_core.model.filter import Filter
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope
from sfm_core.ports.vectors import Point
from sfm_pgvector.layout import FIELDS, Index
from sfm_pgvector.packing import HALF, nudged, pack, pack_all
from sfm_postgres.adapt import escape
from sfm_postgres.filters import canonical_json, columns_of, compile_filter

__all__ = ["OVERFETCH", "Statement", "approximate", "count", "delete", "exact", "upserts", "versions"]

OVERFETCH = 2
"""HNSW finds a few of the best only after worse ones: it is asked for so many times the points that are wanted."""
_MOST_BYTES = 8 * 2**20
"""An upsert of more is sent in parts."""
_MOST_WALKED = 100
"""So is one of more points for HNSW, which takes milliseconds for each: a slow server must manage within the timeout."""
_COLUMNS = columns_of("p", content="NULL::text")
_RECORD = ", ".join(f"{name} {kind}" for name, kind in {"id": "uuid", "version": "bigint", **FIELDS}.items())
_NAMES = ", ".join(FIELDS)
_encode = msgspec.json.Encoder().encode


class Statement(Struct, frozen=True):
    """A statement with its values; `{s}` in it stands for the schema."""

    sql: str
    values: tuple[Any, ...]


def upserts(index: Index, points: Sequence[Point]) -> Iterator[Statement]:
    """Store points of distinct ids, in their order, unless something as new is known of them."""
    part: list[_Row] = []
    size = 0
    for point in points:
        assert point.vector is not None
        row = _Row(point.id, _fields(point), point.vector)
        if part and (size + len(row.fields) > _MOST_BYTES or (index.hnsw and len(part) == _MOST_WALKED)):
            yield _upsert(index, part)
            part, size = [], 0
        part.append(row)
        size += len(row.fields) + 4 * len(point.vector)
    yield _upsert(index, part)


class _Row(Struct, frozen=True):
    """A point as it is sent: its id, its fields as JSON and its vector."""

    id: str
    fields: bytes
    vector: Sequence[float]


def _upsert(index: Index, part: Sequence[_Row]) -> Statement:
    vectors = {"embedding": index.type} | ({"walk": index.half} if index.hnsw else {})
    taken = ", ".join(f"{name} = excluded.{name}" for name in ("version", *FIELDS, *vectors))
    sql = (
        f"INSERT INTO {index.table} AS p (id, version, {_NAMES}, {', '.join(vectors)}) SELECT * FROM ROWS FROM "
        f"(jsonb_to_recordset(%s::jsonb) AS ({_RECORD}), {', '.join(f'unnest(%b::{kind}[])' for kind in vectors.values())}) "
        f"ON CONFLICT (id) DO UPDATE SET {taken} WHERE p.version < excluded.version"
    )
    rows = b"[" + b",".join(row.fields for row in part) + b"]"
    values = [rows.decode(), pack_all(index.kind, index.oid, [row.vector for row in part])]
    if index.hnsw:
        values.append(pack_all(HALF, index.half_oid, [nudged(row.id, row.vector) for row in part]))
    return Statement(sql, tuple(values))


def _fields(point: Point) -> bytes:
    memory = point.memory
    fields: dict[str, Any] = {"id": point.id, "version": point.version}
    for name in FIELDS:
        fields[name] = _stored(name, memory)
    fields["namespace"] = point.namespace
    return _encode(fields)


def _stored(name: str, memory: Memory) -> Any:
    value = getattr(memory, name)
    if name == "payload":
        return msgspec.Raw(canonical_json(value).encode()) if value else None
    if isinstance(value, str):
        return escape(value)
    return [escape(text) for text in value] if name == "tags" else value


def delete(index: Index, ids: Sequence[tuple[str, int]]) -> Statement:
    """Remove points of distinct ids, in their order, unless something newer is known of them; remember the versions."""
    emptied = ", ".join(f"{name} = NULL" for name in ("embedding", *(["walk"] if index.hnsw else []), *FIELDS))
    sql = (
        f"INSERT INTO {index.table} AS p (id, version) SELECT * FROM unnest(%s::uuid[], %s::bigint[]) "
        f"ON CONFLICT (id) DO UPDATE SET version = excluded.version, {emptied} "
        "WHERE p.version < excluded.version OR (p.version = excluded.version AND p.embedding IS NOT NULL)"
    )
    return Statement(sql, ([id for id, _ in ids], [version for _, version in ids]))


def exact(
    index: Index,
    scope: Scope,
    vector: Sequence[float],
    limit: int,
    filter: Filter | None,
    among: Sequence[str] | None,
) -> Statement:
    """Find the nearest points by looking at all that pass."""
    where, values = _where(scope, filter, among)
    sql = (
        f"SELECT p.id, p.version, p.embedding {_distance(index)} %b::{index.type} AS distance FROM {index.table} p "
        f"WHERE {where} ORDER BY distance, id LIMIT %s"
    )
    return Statement(sql, (pack(index.kind, vector), *values, limit))


def approximate(index: Index, scope: Scope, vector: Sequence[float], limit: int, filter: Filter | None) -> Statement:
    """Find points among the nearest by HNSW, in the order of their distance."""
    where, values = _where(scope, filter, None)
    operator = _distance(index)
    near = (
        f"SELECT p.id, p.version, p.embedding {operator} %b::{index.type} AS distance FROM {index.table} p "
        f"WHERE {where} ORDER BY p.walk {operator} %b::{index.half} LIMIT %s"
    )
    sql = f"WITH near AS MATERIALIZED ({near}) SELECT id, version, distance FROM near ORDER BY distance, id LIMIT %s"
    return Statement(sql, (pack(index.kind, vector), *values, pack(HALF, vector), OVERFETCH * limit, limit))


def versions(index: Index, ids: Sequence[str]) -> Statement:
    """Return id and version of each of `ids` that has a point."""
    sql = f"SELECT id, version FROM {index.table} WHERE id = ANY(%s::uuid[]) AND embedding IS NOT NULL"
    return Statement(sql, (list(ids),))


def count(index: Index, scope: Scope, *, most: int | None = None) -> Statement:
    """Count the points of `scope`, not further than `most`."""
    where, values = _where(scope, None, None)
    if most is None:
        return Statement(f"SELECT count(*) FROM {index.table} p WHERE {where}", tuple(values))
    sql = f"SELECT count(*) FROM (SELECT FROM {index.table} p WHERE {where} LIMIT %s) AS few"
    return Statement(sql, (*values, most))


def _distance(index: Index) -> str:
    return f"OPERATOR({index.extension.schema}.<=>)"


def _where(scope: Scope, filter: Filter | None, among: Sequence[str] | None) -> tuple[str, list[Any]]:
    """Return the condition for points of `scope` that pass `filter` and are in `among`."""
    tests = ["p.embedding IS NOT NULL"]
    values: list[Any] = []
    if not scope.subtree:
        tests.append("p.namespace = %s")
        values.append(scope.namespace)
    elif scope.namespace:
        # "0" follows "/": these are all names that begin with "<namespace>/".
        tests.append("(p.namespace = %s OR (p.namespace >= %s AND p.namespace < %s))")
        values += [scope.namespace, scope.namespace + "/", scope.namespace + "0"]
    if among is not None:
        tests.append("p.id = ANY(%s::uuid[])")
        values.append(list(among))
    if filter is not None:
        sql, more = compile_filter(filter, _COLUMNS)
        tests.append(sql)
        values += more
    return " AND ".join(tests), values
