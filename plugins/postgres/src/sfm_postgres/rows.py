"""Memories as rows and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope
from sfm_core.ports.writes import Analysis
from sfm_postgres.adapt import encode_json, escape_json, unescape
from sfm_postgres.filters import canonical_json
from sfm_postgres.keys import author_key, marks_of, terms_of, twin_key
from sfm_postgres.packing import (
    BIGINT,
    BIGINTS,
    BOOLEAN,
    FLOAT,
    FLOATS,
    INTEGER,
    INTEGERS,
    JSON,
    JSONB,
    NULL,
    TEXT,
    TEXTS,
    TIME,
    UUID,
    array,
    bigint,
    boolean,
    float8,
    integer,
    json,
    jsonb,
    text,
    texts,
    time,
    uuid,
)

__all__ = [
    "ALL_COLUMNS",
    "SEQUENCE",
    "STORED",
    "TYPES",
    "Content",
    "columns",
    "json_text",
    "live",
    "memory_of",
    "row_of",
    "within",
]

_FIELDS = (
    "id", "namespace", "kind", "content", "payload", "coordinate", "author", "thread", "position", "importance", "tags",
    "source", "pinned", "occurred_at", "valid_from", "valid_to", "expires_at", "derived_from", "created_at", "updated_at",
    "version",
)  # fmt: skip
ALL_COLUMNS = (
    *_FIELDS, "deleted", "operation", "data", "twin", "place", "terms", "words", "author_key", "length", "asks", "has_time",
    "has_duration",
)  # fmt: skip
"""The columns of a stored memory, in the order of the table and of `row_of`."""

TYPES = (
    UUID, TEXT, TEXT, TEXT, JSON, FLOATS, TEXT, TEXT, BIGINT, FLOAT, TEXTS,
    TEXT, BOOLEAN, TIME, TIME, TIME, TIME, TEXTS, TIME, TIME,
    BIGINT, BOOLEAN, TEXT, JSONB, UUID, UUID, BIGINTS, INTEGERS, BIGINT, INTEGER, FLOAT, BOOLEAN,
    BOOLEAN,
)  # fmt: skip
"""Their types."""

SEQUENCE = """(SELECT min(c.sequence) FROM {s}.changes c
    WHERE c.memory_id = m.id AND c.version >= m.version AND c.target IS NULL)"""
"""The sequence of the change that made the version of row `m`; of an imported one that of the import."""

_FIRST_OF = len(_FIELDS)


def columns(table: str) -> str:
    """Return the columns of a memory in `table` (an alias), for `memory_of`."""
    return ", ".join(f"{table}.{field}" for field in _FIELDS)


STORED = f"{columns('m')}, m.deleted, {SEQUENCE}"
"""A version with whether it is a tombstone and its sequence."""


def live(table: str) -> str:
    """Return the SQL test that a row of `table` is neither a tombstone nor expired; takes `now`."""
    return f"NOT {table}.deleted AND ({table}.expires_at IS NULL OR {table}.expires_at > %s)"


class Content(Struct, frozen=True):
    """What is stored with a version besides the memory: what its text says, and the digest of content and payload."""

    analysis: Analysis
    digest: bytes


def memory_of(row: Sequence[Any]) -> Memory:
    """Return the memory of a row that begins with `columns`."""
    (id, namespace, kind, content, payload, coordinate, author, thread, position, importance, tags, source, pinned) = (
        row[:13]
    )
    return Memory(
        id=id,
        namespace=namespace,
        kind=kind,
        content=unescape(content) if content is not None else None,
        payload=payload if payload is not None else {},
        coordinate=tuple(coordinate) if coordinate is not None else None,
        author=unescape(author) if author is not None else None,
        thread=unescape(thread) if thread is not None else None,
        position=position,
        importance=importance,
        tags=tuple(map(unescape, tags)) if tags else (),
        source=unescape(source) if source is not None else None,
        pinned=pinned,
        occurred_at=row[13],
        valid_from=row[14],
        valid_to=row[15],
        expires_at=row[16],
        derived_from=tuple(map(unescape, row[17])) if row[17] else (),
        created_at=row[18],
        updated_at=row[19],
        version=row[20],
    )


def row_of(
    memory: Memory, content: Content, *, deleted: bool = False, operation: str | None = None, place: str | None = None
) -> tuple[bytes, ...]:
    """Return the packed values of `ALL_COLUMNS` of a memory.

    Raises:
        InvalidInput: its id is no UUID.
    """
    analysis = content.analysis
    return (
        uuid(memory.id),
        text(memory.namespace),
        text(memory.kind),
        text(memory.content),
        json(json_text(memory.payload)) if memory.payload else NULL,
        array(FLOAT, list(map(float8, memory.coordinate))) if memory.coordinate is not None else NULL,
        text(memory.author),
        text(memory.thread),
        bigint(memory.position),
        float8(memory.importance),
        texts(memory.tags),
        text(memory.source),
        boolean(memory.pinned),
        time(memory.occurred_at),
        time(memory.valid_from),
        time(memory.valid_to),
        time(memory.expires_at),
        texts(memory.derived_from),
        time(memory.created_at),
        time(memory.updated_at),
        bigint(memory.version),
        boolean(deleted),
        text(operation),
        jsonb(canonical_json(memory.payload)) if memory.payload else NULL,
        uuid(twin_key(memory.namespace, content.digest)),
        uuid(place),
        terms_of(memory.namespace, analysis.stems),
        marks_of(analysis.words),
        bigint(author_key(analysis.author_key)),
        integer(analysis.length),
        float8(analysis.asks),
        boolean(analysis.time),
        boolean(analysis.duration),
    )


def within(scope: Scope, column: str = "m.namespace") -> tuple[str, list[Any]]:
    """Return the SQL test, with its values, that a namespace lies in `scope`; fit for an index on the column."""
    if not scope.subtree:
        return f"{column} = %s", [scope.namespace]
    if not scope.namespace:
        return "TRUE", []
    # "0" follows "/" in the order of code points, so this is every name that begins with "<namespace>/".
    name = scope.namespace
    return f"({column} = %s OR ({column} >= %s AND {column} < %s))", [name, name + "/", name + "0"]


def json_text(value: Any) -> str:
    r"""Return JSON as the server can hold it."""
    raw = encode_json(value)
    return (encode_json(escape_json(value)) if b"\\u000" in raw else raw).decode()
