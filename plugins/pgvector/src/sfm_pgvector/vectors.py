"""The vectors port on PostgreSQL with pgvector."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from psycopg import errors as pg

from sfm_core.errors import BackendUnavailable, CapabilityNotSupported, ConfigError
from sfm_core.model.filter import Filter
from sfm_core.model.namespace import Scope
from sfm_core.plugins.types import OpenContext
from sfm_core.ports.vectors import Point, Space, VectorHit
from sfm_pgvector import statements
from sfm_pgvector.config import PgvectorConfig
from sfm_pgvector.index import WHERE, clear, greet, mismatch
from sfm_pgvector.layout import Index
from sfm_pgvector.statements import Statement
from sfm_pgvector.watch import Watch
from sfm_postgres.adapt import plain_id
from sfm_postgres.database import Database, Row
from sfm_postgres.pool import Connection

__all__ = ["PgvectorVectors", "open_vectors"]

_log = logging.getLogger("sfm.pgvector")

_MOST_CANDIDATES = 1_000
"""So many HNSW looks at, at most."""
_ATTEMPTS = 3
_NO_ROWS: list[Row] = []
_SIZE_SECONDS = 20.0
_MOST_SIZES = 1_000

T = TypeVar("T")


class _ReplacedError(Exception):
    """The table was replaced by another process."""


class PgvectorVectors:
    """The vectors port: exact in small namespaces and among named ids, by HNSW elsewhere; durable and shared.

    The handshake with the server is made at first contact: opening does not need the server, and every call after an outage
    simply works again.
    """

    def __init__(self, database: Database, config: PgvectorConfig, context: OpenContext) -> None:
        self._database = database
        self._config = config
        self._space = context.space
        self._any_space = context.rebuild
        self._create = context.create and not context.read_only
        self._index: Index | None = None
        self._greeting: asyncio.Task[Index] | None = None
        self._sizes: dict[Scope, tuple[float, bool]] = {}
        self._watch = Watch(database.check)

    async def greet(self) -> Index:
        """Return the index in force, after the handshake when there was none yet; concurrent callers share one.

        Raises:
            ConfigError: server, extension, schema or space of the index cannot be used.
            BackendUnavailable: the server is not at hand.
        """
        if self._index is not None:
            return self._index
        if self._greeting is None:
            asked = None if self._any_space else self._space
            self._greeting = asyncio.ensure_future(greet(self._database, self._config, asked, create=self._create))
            self._greeting.add_done_callback(self._greeted)
        index = await asyncio.shield(self._greeting)
        self._require_space(index)
        self._index = index
        return index

    async def upsert(self, points: Sequence[Point]) -> None:
        """Store points; older versions than the stored or deleted one change nothing."""
        newest: dict[str, Point] = {}
        for point in points:
            if point.vector is None:
                raise CapabilityNotSupported(f"{WHERE}: a point without a vector; words are not indexed here")
            if point.id not in newest or newest[point.id].version < point.version:
                newest[point.id] = point
        if newest:
            # In the order of the ids, as every other process: so none waits for a row that waits for its own.
            ordered = [newest[id] for id in sorted(newest)]

            async def store(index: Index) -> bool:
                for statement in statements.upserts(index, ordered):
                    await self._rows(statement)
                return True

            await self._on_table(store)

    async def delete(self, ids: Sequence[tuple[str, int]]) -> None:
        """Remove points and remember at which version; a newer point stays."""
        newest: dict[str, int] = {}
        for id, version in ids:
            newest[id] = max(version, newest.get(id, 0))
        if newest:
            ordered = sorted(newest.items())

            async def remove(index: Index) -> bool:
                await self._rows(statements.delete(index, ordered))
                return True

            await self._on_table(remove)

    async def search(
        self,
        scope: Scope,
        vector: Sequence[float],
        *,
        limit: int,
        among: Sequence[str] | None = None,
        filter: Filter | None = None,
    ) -> list[VectorHit]:
        """Return the nearest points: see the port."""
        if limit < 1:
            return []
        ids = None if among is None else list(dict.fromkeys(id for id in among if plain_id(id)))

        async def find(index: Index) -> list[VectorHit]:
            if ids is None and self._suits_hnsw(index, limit) and await self._is_large(index, scope):
                statement = statements.approximate(index, scope, vector, limit, filter)
                rows = await self._walk(statement, _settings(index, self._config, limit, filter))
                if len(rows) == limit:
                    return _hits(rows)
            return _hits(await self._rows(statements.exact(index, scope, vector, limit, filter, ids)))

        return await self._on_index(find, [])

    async def versions(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the stored version of each of `ids` that has a point."""
        known = [id for id in ids if plain_id(id)]
        if not known:
            return {}
        return dict(await self._on_index(lambda index: self._rows(statements.versions(index, known)), _NO_ROWS))

    async def count(self, scope: Scope) -> int:
        """Return the number of points in `scope`."""
        [(number,)] = await self._on_index(lambda index: self._rows(statements.count(index, scope)), [(0,)])
        return int(number)

    async def flush(self) -> None:
        """Nothing waits: every write is durable when it returns."""

    async def clear(self, space: Space | None = None) -> None:
        """Throw away all points, and change to `space` when given."""
        index = await self._usable()
        self._index = await self._spoken(lambda: clear(self._database, self._config, index, space))
        self._space = space or self._space
        self._any_space = False
        self._sizes.clear()

    async def check(self) -> None:
        """Ask the server, and see whether the index can be used."""
        await self._database.check()
        self._watch.is_well()
        await self._usable()

    async def close(self) -> None:
        """Close all connections."""
        if self._greeting is not None:
            self._greeting.cancel()
        await self._watch.close()
        await self._database.close()

    def _greeted(self, done: asyncio.Task[Index]) -> None:
        self._greeting = None
        if not done.cancelled():
            done.exception()  # whoever waits gets it; if nobody does, it is no loss

    def _require_space(self, index: Index) -> None:
        if not self._any_space and self._space is not None and index.space is not None and index.space != self._space:
            raise ConfigError(mismatch(index.space, self._space))

    async def _spoken(self, call: Callable[[], Awaitable[T]]) -> T:
        """Run `call`; what makes the index unusable while the system runs is an outage of the index alone."""
        self._watch.require()
        try:
            return await call()
        except ConfigError as error:
            raise BackendUnavailable(str(error)) from None
        except BackendUnavailable:
            self._watch.suspect()
            raise

    async def _usable(self) -> Index:
        return await self._spoken(self.greet)

    async def _on_table(self, work: Callable[[Index], Awaitable[bool]]) -> None:
        """Run `work` on an index that has a table."""
        if not await self._on_index(work, False):
            raise ConfigError(f"{WHERE}: no embedding says what the vectors of this index are")

    async def _on_index(self, work: Callable[[Index], Awaitable[T]], without: T) -> T:
        """Run `work`, once more on the new table when the one in force was replaced; `without` when there is none."""
        for _ in range(_ATTEMPTS):
            index = await self._usable()
            if index.space is None:
                return without
            try:
                return await work(index)
            except _ReplacedError:
                self._index = None
                self._sizes.clear()
        raise BackendUnavailable(f"{WHERE}: the index is being made anew")

    def _suits_hnsw(self, index: Index, limit: int) -> bool:
        """Tell whether so many hits are few enough for HNSW; else looking at everything costs no more."""
        most = (
            max(_MOST_CANDIDATES, self._config.max_scan_tuples // 4) if index.extension.iterates else _MOST_CANDIDATES
        )
        return index.hnsw and limit * statements.OVERFETCH <= most

    async def _is_large(self, index: Index, scope: Scope) -> bool:
        """Tell whether `scope` holds more points than are searched exactly; the answer is believed for a while."""
        now = time.monotonic()
        until, large = self._sizes.get(scope, (0.0, False))
        if until > now:
            return large
        [(number,)] = await self._rows(statements.count(index, scope, most=self._config.exact_below + 1))
        large = bool(number > self._config.exact_below)
        if len(self._sizes) >= _MOST_SIZES:
            self._sizes.clear()
        self._sizes[scope] = (now + _SIZE_SECONDS, large)
        return large

    async def _rows(self, statement: Statement) -> list[Row]:
        """Run one statement in one round trip; it must do no harm twice."""
        text = self._database.text(statement.sql)

        async def run(connection: Connection) -> list[Row]:
            cursor = await connection.execute(text, statement.values, binary=True)
            return await cursor.fetchall() if cursor.description is not None else []

        return await self._use(run)

    async def _walk(self, statement: Statement, settings: Statement) -> list[Row]:
        """Run a search of HNSW with the settings for it, in one round trip."""
        text = self._database.text(statement.sql)

        async def run(connection: Connection) -> list[Row]:
            async with connection.pipeline():
                await self._database.begin(connection)
                await connection.execute(settings.sql.encode(), settings.values)
                cursor = await connection.execute(text, statement.values, binary=True)
                await self._database.commit(connection)
            return await cursor.fetchall()

        return await self._use(run)

    async def _use(self, run: Callable[[Connection], Awaitable[list[Row]]]) -> list[Row]:
        async def on_table(connection: Connection) -> list[Row]:
            try:
                return await run(connection)
            except pg.UndefinedTable:
                raise _ReplacedError from None

        return await self._spoken(lambda: self._database.use(on_table))


def _settings(index: Index, config: PgvectorConfig, limit: int, filter: Filter | None) -> Statement:
    """Set what a search of HNSW does, until the end of the transaction.

    Not in strict order: that leaves out whatever comes up after something farther, a tenth of the best under a filter.
    With a filter it is planned for its values: where few points pass, looking at those is several times faster than the
    graph, which a plan for any value always takes.
    """
    settings = {"hnsw.ef_search": str(min(max(config.ef_search, statements.OVERFETCH * limit), _MOST_CANDIDATES))}
    if index.extension.iterates:
        settings |= {"hnsw.iterative_scan": "relaxed_order", "hnsw.max_scan_tuples": str(config.max_scan_tuples)}
    if filter is not None:
        settings["plan_cache_mode"] = "force_custom_plan"
    calls = ", ".join("set_config(%s, %s, true)" for _ in settings)
    return Statement(f"SELECT {calls}", tuple(text for pair in settings.items() for text in pair))


def _hits(rows: Sequence[Row]) -> list[VectorHit]:
    return [VectorHit(id, version, 1.0 - distance) for id, version, distance in rows]


@asynccontextmanager
async def open_vectors(config: PgvectorConfig, context: OpenContext) -> AsyncIterator[PgvectorVectors]:
    """Open the index; a server that is not at hand is waited for by the calls, not here.

    Raises:
        ConfigError: the server is at hand, and it, its extension, the schema or the space of the index cannot be used.
    """
    vectors = PgvectorVectors(Database(config, WHERE), config, context)
    try:
        try:
            await vectors.greet()
        except BackendUnavailable as error:
            _log.warning("the index is not at hand: %s", error)
        yield vectors
    finally:
        await vectors.close()
