"""The table of an index: one row for every id that has a point or is remembered as deleted."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from sfm_core.ports.vectors import Space
from sfm_pgvector.config import PgvectorConfig
from sfm_pgvector.packing import HALF, SINGLE

__all__ = ["FIELDS", "Extension", "Index", "has_hnsw", "kind_of", "table_of"]

FIELDS = {
    "namespace": 'text COLLATE "C"',
    "kind": 'text COLLATE "C"',
    "payload": "jsonb",
    "coordinate": "float8[]",
    "author": 'text COLLATE "C"',
    "thread": 'text COLLATE "C"',
    "position": "bigint",
    "importance": "float8",
    "tags": "text[]",
    "source": 'text COLLATE "C"',
    "pinned": "boolean",
    "occurred_at": "timestamptz",
    "valid_from": "timestamptz",
    "valid_to": "timestamptz",
    "expires_at": "timestamptz",
    "derived_from": "text[]",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
}
"""What filters ask for and its types, apart from `id` and `version`; the content stays in the storage."""

_ITERATES = (0, 8)
_MOST_IN_HNSW = 4_000
"""So many dimensions HNSW takes, in half precision."""
_MOST_INLINE = 7_000
_BESIDE = 1_000
"""A row lies in one page of 8 KB: the vector when it is no longer than the first, and so many bytes of all the rest."""


class Extension(Struct, frozen=True):
    """The pgvector of a database: its version, and the quoted schema where it is installed."""

    version: tuple[int, ...]
    schema: str

    @property
    def iterates(self) -> bool:
        """Whether a search of HNSW goes on until a filter has let enough through."""
        return self.version >= _ITERATES


class Index(Struct, frozen=True):
    """The index in force.

    Attributes:
        extension: what runs it.
        generation: the number of its table.
        space: what its vectors are; None when nobody has said so yet: then there is no table.
        kind: the type of its vectors.
        oid: that type's number in this database.
        half_oid: that of half precision, which HNSW is made of.
        hnsw: whether it has an HNSW index.
    """

    extension: Extension
    generation: int
    space: Space | None = None
    kind: str = SINGLE
    oid: int = 0
    half_oid: int = 0
    hnsw: bool = False

    @property
    def table(self) -> str:
        """The table, `{s}` for its schema."""
        return f"{{s}}.points_{self.generation}"

    @property
    def type(self) -> str:
        """The type of its vectors, qualified."""
        return f"{self.extension.schema}.{self.kind}"

    @property
    def half(self) -> str:
        """The type of half precision, qualified."""
        return f"{self.extension.schema}.{HALF}"


def kind_of(config: PgvectorConfig) -> str:
    """Return the type that vectors of a new index get."""
    return HALF if config.precision == "half" else SINGLE


def has_hnsw(config: PgvectorConfig, dimension: int) -> bool:
    """Tell whether a new index gets HNSW."""
    return config.hnsw and dimension <= _MOST_IN_HNSW


def table_of(index: Index, config: PgvectorConfig) -> Iterator[str]:
    """Return the statements that make the table of `index`.

    `embedding` is the vector; `walk`, which is all that HNSW sees, a copy of it that lies a little beside (`nudged`). A row is
    small and its `embedding` in it where that is possible: one elsewhere costs a second read for each row of an exact search.
    """
    assert index.space is not None
    dimension = index.space.dimension
    size = dimension * (4 if index.kind == SINGLE else 2)
    columns = ", ".join(f"{name} {kind}" for name, kind in FIELDS.items())
    walk = f"walk {index.half}({dimension}), " if index.hnsw else ""
    inline = size <= _MOST_INLINE
    options = f" WITH (toast_tuple_target = {max(2_000, size + _BESIDE)})" if inline else ""
    yield (
        f"CREATE TABLE {index.table} "
        f"(id uuid PRIMARY KEY, version bigint NOT NULL, embedding {index.type}({dimension}), {walk}{columns}){options}"
    )
    if inline:
        yield f"ALTER TABLE {index.table} ALTER COLUMN embedding SET STORAGE MAIN"
    yield f"CREATE INDEX ON {index.table} (namespace) WHERE embedding IS NOT NULL"
    if index.hnsw:
        how = f"m = {config.m}, ef_construction = {max(config.ef_construction, 2 * config.m)}"
        operators = f"{index.extension.schema}.{HALF}_cosine_ops"
        yield f"CREATE INDEX ON {index.table} USING hnsw (walk {operators}) WITH ({how})"
