"""What the database holds: the handshake, the space of the index, and the making of its table.

`space` has one row: the number of the table in force (`points_<n>`) and what its vectors are. A rebuild makes the next table,
names it there and drops the one before, in one transaction: who still reads the old one is waited for, and who comes too late
finds it missing and reads the row again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace
from psycopg import errors as pg

from sfm_core.errors import ConfigError
from sfm_core.ports.vectors import Space
from sfm_pgvector.config import PgvectorConfig
from sfm_pgvector.layout import Extension, Index, has_hnsw, kind_of, table_of
from sfm_postgres.database import Database
from sfm_postgres.migrations import migrate
from sfm_postgres.pool import Connection

__all__ = ["WHERE", "clear", "greet", "mismatch"]

WHERE = "pgvector/vectors"

_OLDEST = (0, 7)
_MOST_DIMENSIONS = 16_000

_EXTENSION = """SELECT x.extversion, quote_ident(n.nspname)
    FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace WHERE x.extname = 'vector'"""
_OIDS = "SELECT %s::regtype::oid::bigint, %s::regtype::oid::bigint"
_SPACE = "SELECT generation, dimension, fingerprint, kind, hnsw FROM {s}.space"
_NAME_SPACE = "UPDATE {s}.space SET generation = %s, dimension = %s, fingerprint = %s, kind = %s, hnsw = %s"


async def greet(database: Database, config: PgvectorConfig, asked: Space | None, *, create: bool) -> Index:
    """See whether server, extension and schema can be used, making what is missing and may be made; return the index.

    Args:
        database, config: of the index.
        asked: the space that a new index gets.
        create: whether schema may be made.

    Raises:
        ConfigError: they cannot; the message names the command that helps.
        BackendError: the server does not answer or refuses.
    """
    await database.handshake()
    extension = await _extension(database, create=create)
    await migrate(database, "sfm_pgvector.sql", component="pgvector", create=create)
    index = await _read(database, extension)
    if index.space is None and asked is not None:
        if not create:
            raise ConfigError(f"{WHERE}: the index is not made yet; run `sfm migrate`")
        index = await _make(database, config, extension, asked, only_first=True)
    return index


async def clear(database: Database, config: PgvectorConfig, index: Index, space: Space | None) -> Index:
    """Put an empty table of `space` (None: as it is) in the place of the one in force; return the index."""
    return await _make(database, config, index.extension, space, only_first=False)


def mismatch(stored: Space, asked: Space) -> str:
    """Say that the index holds another space than the embedding makes."""
    return (
        f"{WHERE}: the index holds vectors of {_named(stored)}, the embedding makes {_named(asked)}; "
        "run `sfm reindex` to embed all memories anew"
    )


def _named(space: Space) -> str:
    return f"{space.fingerprint!r} ({space.dimension} dimensions)"


async def _extension(database: Database, *, create: bool) -> Extension:
    found = await database.rows(_EXTENSION)
    if not found:
        await _install(database, create=create)
        found = await database.rows(_EXTENSION)
    [(version, schema)] = found
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if numbers < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise ConfigError(
            f"{WHERE}: the extension vector is of version {version}, allowed: {oldest} or newer; install it on the server and "
            "run `ALTER EXTENSION vector UPDATE` in the database"
        )
    return Extension(numbers, schema)


async def _install(database: Database, *, create: bool) -> None:
    """Create the extension, or say who has to."""
    order = "run `CREATE EXTENSION vector` in the database"
    if not create:
        raise ConfigError(f"{WHERE}: the extension vector is missing; {order}")

    async def run(connection: Connection) -> str:
        try:
            await connection.execute(b"CREATE EXTENSION IF NOT EXISTS vector")
        except pg.InsufficientPrivilege:
            return f"may not be created by this user; {order} as its owner or a superuser"
        except (pg.UndefinedFile, pg.FeatureNotSupported):
            return f"is not installed on the server; install pgvector there (0.7 or later) and {order}"
        except (pg.UniqueViolation, pg.DuplicateObject):  # another process was faster
            return ""
        return ""

    if refused := await database.use(run):
        raise ConfigError(f"{WHERE}: the extension vector {refused}")


async def _read(database: Database, extension: Extension) -> Index:
    return await _index_of((await database.rows(_SPACE))[0], database, extension)


async def _index_of(row: Sequence[Any], database: Database, extension: Extension) -> Index:
    generation, dimension, fingerprint, kind, hnsw = row
    if dimension is None:
        return Index(extension, generation)
    index = Index(extension, generation, Space(dimension, fingerprint), kind, hnsw=hnsw)
    [(oid, half_oid)] = await database.rows(_OIDS, (index.type, index.half))
    return replace(index, oid=oid, half_oid=half_oid)


async def _make(
    database: Database, config: PgvectorConfig, extension: Extension, space: Space | None, *, only_first: bool
) -> Index:
    """Make the next table and name it, under a lock on the row; with `only_first` unless there is one by now."""

    async def run(connection: Connection) -> None:
        cursor = await connection.execute(database.text(_SPACE + " FOR UPDATE"), binary=True)
        [(generation, dimension, fingerprint, _, _)] = await cursor.fetchall()
        new = space or (None if dimension is None else Space(dimension, fingerprint))
        if new is None or (only_first and dimension is not None):
            return
        if new.dimension > _MOST_DIMENSIONS:
            raise ConfigError(f"{WHERE}: vectors of {new.dimension} dimensions, allowed: at most {_MOST_DIMENSIONS}")
        kind = kind_of(config)
        hnsw = has_hnsw(config, new.dimension)
        made = Index(extension, generation + 1, new, kind, hnsw=hnsw)
        for statement in table_of(made, config):
            await connection.execute(database.text(statement))
        await connection.execute(
            database.text(_NAME_SPACE), (made.generation, new.dimension, new.fingerprint, kind, hnsw)
        )
        await connection.execute(database.text(f"DROP TABLE IF EXISTS {Index(extension, generation).table}"))

    await database.transaction(run)
    return await _read(database, extension)
