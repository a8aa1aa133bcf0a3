"""The storage port on one SQLite file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from sqlite3 import Error as SqliteError
from typing import TYPE_CHECKING, TypeVar

from sfm_core.errors import BackendError
from sfm_core.model.event import Change
from sfm_core.model.filter import Filter
from sfm_core.model.link import Direction, Link
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope
from sfm_core.plugins.types import OpenContext
from sfm_core.ports.storage import (
    ApiKey,
    Candidate,
    Lease,
    Listing,
    NamespaceStats,
    Order,
    Result,
    Stored,
    TextHit,
    TextQuery,
)
from sfm_core.ports.writes import Idempotency, Operation, Replayed, Write
from sfm_sqlite import api_keys, leases, lists, operations, reads, vocabulary
from sfm_sqlite.aside import Aside
from sfm_sqlite.candidates import Candidates, authors
from sfm_sqlite.codec import micros, micros_or_none
from sfm_sqlite.config import SqliteConfig
from sfm_sqlite.connect import connect, file_path, meaning, migrate, prepare_file
from sfm_sqlite.ledger import WHERE
from sfm_sqlite.links import links_in, links_of
from sfm_sqlite.migrations import APPLICATION_ID, STEPS
from sfm_sqlite.notes import Notes
from sfm_sqlite.readers import Reader, Readers
from sfm_sqlite.writer import Writer

if TYPE_CHECKING:
    from sfm_sqlite.textsearch import TextSearch

__all__ = ["SqliteStorage", "open_storage"]

T = TypeVar("T")

_SHORT = 200
"""Rows that are read on the event loop's thread; more go to another thread."""


class SqliteStorage:
    """The storage port with full text, matching, vocabulary, leases and API keys; durable, and shared between processes.

    BM25 is computed exactly, by the port's formula, by scanning the terms of the namespace in memory.
    """

    def __init__(self, readers: Readers, writer: Writer | None, notes: Notes, aside: Aside, *, word_bytes: int) -> None:
        self._readers = readers
        self._writer = writer
        self._notes = notes
        self._aside = aside
        self._word_bytes = word_bytes
        self._candidates = Candidates()
        self._search: TextSearch | None = None

    async def apply(
        self, writes: Sequence[Write], *, atomic: bool = True, idempotency: Idempotency | None = None
    ) -> list[Result] | Replayed:
        """Carry out `writes`: see the port. Calls that wait together share a commit."""
        return await self._writable().apply(writes, atomic=atomic, idempotency=idempotency)

    async def answered(self, idempotency: Idempotency) -> Replayed | None:
        """Return what is kept with an idempotency key."""
        return self._readers.now(lambda reader: operations.kept_answer(reader.connection, idempotency))

    async def get(self, ids: Sequence[str], *, now: datetime, as_of: datetime | None = None) -> list[Memory | None]:
        """Return the live memories with `ids`: see the port."""
        if as_of is not None:
            instant = micros(as_of)
            return await self._read(len(ids), lambda reader: reads.get_past(reader, ids, instant))
        at = micros(now)
        return await self._read(len(ids), lambda reader: reads.get_present(reader, ids, at))

    async def locate(self, ids: Sequence[str]) -> list[Stored | None]:
        """Return the newest version of each id: see the port."""
        return await self._read(len(ids), lambda reader: reads.locate(reader, ids))

    async def erased(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` that were erased."""
        return await self._read(len(ids), lambda reader: reads.erased(reader, ids))

    async def history(self, id: str, *, limit: int, before: int | None = None) -> list[Stored]:
        """Return versions of `id`, newest first: see the port."""
        return await self._read(limit, lambda reader: reads.history(reader, id, limit=limit, before=before))

    async def at_coordinate(self, namespace: str, coordinate: tuple[float, ...], *, now: datetime) -> Memory | None:
        """Return the live memory that holds `coordinate`."""
        return self._readers.now(lambda reader: reads.at_coordinate(reader, namespace, coordinate, micros(now)))

    async def in_box(
        self, namespace: str, low: tuple[float, ...], high: tuple[float, ...], *, limit: int, now: datetime
    ) -> list[Memory]:
        """Return live memories inside the box, by coordinate."""
        return await self._readers.later(
            lambda reader: reads.in_box(reader, namespace, low, high, limit=limit, now=micros(now))
        )

    async def links(
        self, ids: Sequence[str], *, relation: str | None, direction: Direction, now: datetime
    ) -> list[Link]:
        """Return the links that touch one of `ids`: see the port."""
        return await self._read(
            len(ids) * 4,
            lambda reader: links_of(
                reader.connection, reader.names, ids, relation=relation, direction=direction, now=micros(now)
            ),
        )

    async def links_in(self, scope: Scope, *, after: str | None, limit: int) -> tuple[list[Link], str | None]:
        """Page through all links of a scope."""
        return await self._readers.later(
            lambda reader: links_in(reader.connection, reader.names, scope, after=after, limit=limit)
        )

    async def changes(self, scope: Scope, *, after: int, limit: int) -> list[Change]:
        """Return changes of `scope` above `after`, in order."""
        if after >= await self.last_sequence():
            return []
        return await self._readers.later(lambda reader: reads.changes(reader, scope, after=after, limit=limit))

    async def last_sequence(self) -> int:
        """Return the newest sequence."""
        return int(self._one("SELECT coalesce(max(sequence), 0) FROM changes", ()))

    async def cursor(self, name: str) -> int:
        """Return how far a consumer has come."""
        stored = self._one("SELECT coalesce(max(sequence), 0) FROM cursors WHERE name = ?", (name,))
        return self._notes.cursor(name, int(stored))

    async def save_cursor(self, name: str, sequence: int, *, fence: Lease | None = None) -> None:
        """Note how far a consumer has come; stored with the next write, or on close; with a fence at once."""
        if fence is None:
            self._notes.save_cursor(name, sequence)
            return
        self._writable()
        await asyncio.to_thread(leases.save_fenced_cursor, self._aside, name, sequence, fence)
        if sequence == 0:
            self._notes.forget_cursor(name)

    async def acquire_lease(self, name: str, holder: str, *, seconds: float) -> Lease | None:
        """Take or renew a lease: see the port."""
        self._writable()
        return await asyncio.to_thread(leases.acquire, self._aside, name, holder, seconds)

    async def release_lease(self, lease: Lease) -> None:
        """Free a lease that is the current one."""
        self._writable()
        await asyncio.to_thread(leases.release, self._aside, lease)

    async def add_api_key(self, key: ApiKey) -> None:
        """Keep a new API key: see the port."""
        self._writable()
        await asyncio.to_thread(api_keys.add, self._aside, key)

    async def api_key(self, id: str) -> ApiKey | None:
        """Return an API key."""
        return self._readers.now(lambda reader: api_keys.one(reader.connection, id))

    async def api_keys(self, *, after: str | None, limit: int) -> list[ApiKey]:
        """Return a page of the API keys, by id."""
        return await self._read(limit, lambda reader: api_keys.page(reader.connection, after=after, limit=limit))

    async def revoke_api_key(self, id: str, at: datetime) -> ApiKey | None:
        """Mark an API key as revoked: see the port."""
        self._writable()
        return await asyncio.to_thread(api_keys.revoke, self._aside, id, at)

    async def operation(self, id: str) -> Operation | None:
        """Return an operation, with the figures of its writes so far."""
        return self._readers.now(lambda reader: operations.operation(reader.connection, id))

    async def operation_members(self, id: str, *, limit: int, after: str | None = None) -> list[tuple[str, int]]:
        """Return the memories an operation touched, by id."""
        return await self._read(
            limit, lambda reader: operations.members(reader.connection, id, limit=limit, after=after)
        )

    async def namespaces(self, scope: Scope, *, now: datetime) -> list[NamespaceStats]:
        """Return the namespaces of `scope` that hold anything, with their counts."""
        return await self._readers.later(lambda reader: reads.namespaces(reader, scope, micros(now)))

    async def scan(self, scope: Scope, *, now: datetime, batch: int = 1000) -> AsyncIterator[Sequence[Stored]]:
        """Page through the newest versions of all memories of `scope`, in the order they were first stored in."""
        after = 0
        while True:
            page, after = await self._readers.later(partial(reads.scan_page, scope=scope, after=after, limit=batch))
            if not page:
                return
            yield page

    async def check(self) -> None:
        """Read from the file, and see that the writer lives."""
        self._one("SELECT 1 FROM meta", ())
        if self._writer is not None:
            self._writer.check()

    async def search_text(
        self, scope: Scope, query: TextQuery, *, filter: Filter | None, limit: int, now: datetime
    ) -> list[TextHit]:
        """Return the best memories by words: see the port."""
        search = self._searcher()
        at = micros(now)
        if self._readers.now(lambda reader: search.is_short(reader, scope, filter)):
            return self._readers.now(lambda r: search.search(r, scope, query, filter=filter, limit=limit, now=at))
        return await self._readers.later(
            lambda reader: search.search(reader, scope, query, filter=filter, limit=limit, now=at)
        )

    async def authors(self, scope: Scope, keys: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Return the authors that `keys` stand for."""
        return self._readers.now(lambda reader: authors(reader, scope, keys))

    async def candidates(
        self, ids: Sequence[str], *, now: datetime, around: bool = True, filter: Filter | None = None
    ) -> dict[str, Candidate]:
        """Return what ranking needs of memories and their neighbours: see the port."""
        return self._readers.now(
            lambda reader: self._candidates.read(reader, ids, now=micros(now), around=around, filter=filter)
        )

    async def in_period(
        self, scope: Scope, first: datetime, last: datetime, *, filter: Filter | None, limit: int, now: datetime
    ) -> list[str]:
        """Return ids of live memories that occurred in first <= t < last, newest first."""
        return await self._readers.later(
            lambda reader: lists.in_period(
                reader, scope, micros(first), micros(last), filter=filter, limit=limit, now=micros(now)
            )
        )

    async def matching(self, scope: Scope, *, filter: Filter | None, limit: int, now: datetime) -> list[str]:
        """Return the ids of live memories of `scope` that pass `filter`."""
        return await self._readers.later(
            lambda reader: lists.matching(reader, scope, filter=filter, limit=limit, now=micros(now))
        )

    async def words(self, scope: Scope) -> Sequence[tuple[str, str]]:
        """Return the distinct words of `scope`, new ones after all others."""
        return await self._readers.later(lambda reader: vocabulary.words(reader, scope))

    async def list(
        self,
        scope: Scope,
        *,
        filter: Filter | None,
        order: Order,
        limit: int,
        after: str | None,
        now: datetime,
        as_of: datetime | None = None,
        deleted: bool = False,
    ) -> Listing:
        """Return a page of the live memories of `scope`: see the port."""
        return await self._readers.later(
            lambda reader: lists.list_page(
                reader,
                scope,
                filter=filter,
                order=order,
                limit=limit,
                after=after,
                now=micros(now),
                as_of=micros_or_none(as_of),
                deleted=deleted,
            )
        )

    async def words_token(self, scope: Scope) -> object:
        """Return what differs after the words of `scope` changed."""
        return self._readers.now(lambda reader: vocabulary.token(reader, scope))

    def _writable(self) -> Writer:
        if self._writer is None:
            raise BackendError(f"{WHERE}: the storage was opened for reading only")
        return self._writer

    def _searcher(self) -> TextSearch:
        if self._search is None:
            from sfm_sqlite.textsearch import TextSearch  # brings NumPy, which not every process needs

            self._search = TextSearch(most_bytes=self._word_bytes)
        return self._search

    def _one(self, sql: str, values: Sequence[object]) -> int:
        row = self._readers.now(lambda reader: reader.connection.execute(sql, values).fetchone())
        return int(row[0])

    async def _read(self, rows: int, read: Callable[[Reader], T]) -> T:
        return self._readers.now(read) if rows <= _SHORT else await self._readers.later(read)


@asynccontextmanager
async def open_storage(config: SqliteConfig, context: OpenContext) -> AsyncIterator[SqliteStorage]:
    """Open the storage file, bringing its schema up to date.

    Raises:
        ConfigError: no data directory, or the file is missing and may not be created.
        CorruptData: the file is damaged, another program's or of a newer version; nothing was changed.
        BackendUnavailable: the file is locked or cannot be opened.
    """
    path = file_path(config.path, context.data_dir, "memory.sqlite3", WHERE)
    notes = Notes()
    try:
        prepare_file(path, WHERE, create=context.create and not context.read_only)
        connection = _writing(path, config, context)
        try:
            readers = Readers(path, timeout=config.busy_timeout)
        except BaseException:
            if connection is not None:
                connection.close()
            raise
    except SqliteError as error:
        raise meaning(error, WHERE) from error
    writer = None
    if connection is not None:
        most = config.checkpoint_megabytes * 2**20
        writer = Writer(connection, path, notes, checkpoint_bytes=most, patience=config.busy_timeout)
    aside = Aside(path, timeout=config.busy_timeout)
    try:
        yield SqliteStorage(readers, writer, notes, aside, word_bytes=config.word_memory_megabytes * 2**20)
    finally:
        aside.close()
        readers.close()
        if writer is not None:
            writer.close()


def _writing(path: Path, config: SqliteConfig, context: OpenContext) -> Connection | None:
    """Open the writer's connection on a file of the right schema; None when only reading is asked for."""
    connection = connect(
        path, timeout=config.busy_timeout, synchronous="FULL", cache_kib=4096, read_only=context.read_only
    )
    try:
        create = context.create and not context.read_only
        migrate(connection, STEPS, application_id=APPLICATION_ID, where=WHERE, create=create)
    except BaseException:
        connection.close()
        raise
    if context.read_only:
        connection.close()
        return None
    return connection
