"""The storage port on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

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
from sfm_postgres import api_keys, ledger, lists, reads
from sfm_postgres.candidates import authors, candidates
from sfm_postgres.config import PostgresConfig
from sfm_postgres.database import Database, open_database
from sfm_postgres.links import links_in, links_of
from sfm_postgres.migrations import migrate
from sfm_postgres.search import TextSearch
from sfm_postgres.view import WHERE
from sfm_postgres.vocabulary import Known, read_words, times_changed
from sfm_postgres.writer import Writer

__all__ = ["PostgresStorage", "open_storage"]


class PostgresStorage:
    """The storage port with every ability; durable, and shared between processes and machines."""

    def __init__(self, database: Database, *, read_only: bool = False) -> None:
        self._database = database
        self._writer = Writer(database, Known())
        self._search = TextSearch(database)
        self._read_only = read_only

    async def apply(
        self, writes: Sequence[Write], *, atomic: bool = True, idempotency: Idempotency | None = None
    ) -> list[Result] | Replayed:
        """Carry out `writes`: see the port. Calls that wait together share a transaction."""
        self._require_writable()
        return await self._writer.apply(writes, atomic=atomic, idempotency=idempotency)

    async def answered(self, idempotency: Idempotency) -> Replayed | None:
        """Return what is kept with an idempotency key."""
        return await ledger.answered(self._database, idempotency)

    async def get(self, ids: Sequence[str], *, now: datetime, as_of: datetime | None = None) -> list[Memory | None]:
        """Return the live memories with `ids`: see the port. One round trip."""
        if as_of is not None:
            return await reads.get_past(self._database, ids, as_of)
        return await reads.get_present(self._database, ids, now)

    async def locate(self, ids: Sequence[str]) -> list[Stored | None]:
        """Return the newest version of each id: see the port."""
        return await reads.locate(self._database, ids)

    async def erased(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` that were erased."""
        return await reads.erased(self._database, ids)

    async def history(self, id: str, *, limit: int, before: int | None = None) -> list[Stored]:
        """Return versions of `id`, newest first: see the port."""
        return await reads.history(self._database, id, limit=limit, before=before)

    async def at_coordinate(self, namespace: str, coordinate: tuple[float, ...], *, now: datetime) -> Memory | None:
        """Return the live memory that holds `coordinate`."""
        return await reads.at_coordinate(self._database, namespace, coordinate, now)

    async def in_box(
        self, namespace: str, low: tuple[float, ...], high: tuple[float, ...], *, limit: int, now: datetime
    ) -> list[Memory]:
        """Return live memories inside the box, by coordinate."""
        return await reads.in_box(self._database, namespace, low, high, limit=limit, now=now)

    async def links(
        self, ids: Sequence[str], *, relation: str | None, direction: Direction, now: datetime
    ) -> list[Link]:
        """Return the links that touch one of `ids`: see the port."""
        return await links_of(self._database, ids, relation=relation, direction=direction, now=now)

    async def links_in(self, scope: Scope, *, after: str | None, limit: int) -> tuple[list[Link], str | None]:
        """Page through all links of a scope."""
        return await links_in(self._database, scope, after=after, limit=limit)

    async def changes(self, scope: Scope, *, after: int, limit: int) -> list[Change]:
        """Return changes of `scope` above `after`, in order."""
        return await reads.changes(self._database, scope, after=after, limit=limit)

    async def last_sequence(self) -> int:
        """Return the newest sequence."""
        return await reads.last_sequence(self._database)

    async def cursor(self, name: str) -> int:
        """Return how far a consumer has come."""
        return await ledger.cursor(self._database, name)

    async def save_cursor(self, name: str, sequence: int, *, fence: Lease | None = None) -> None:
        """Note how far a consumer has come: see the port. Durable when it returns."""
        await ledger.save_cursor(self._database, name, sequence, fence)

    async def acquire_lease(self, name: str, holder: str, *, seconds: float) -> Lease | None:
        """Take or renew a lease; the server's clock judges."""
        return await ledger.acquire_lease(self._database, name, holder, seconds)

    async def release_lease(self, lease: Lease) -> None:
        """Free a lease when it is the current one."""
        await ledger.release_lease(self._database, lease)

    async def add_api_key(self, key: ApiKey) -> None:
        """Keep a new API key: see the port."""
        self._require_writable()
        await api_keys.add(self._database, key)

    async def api_key(self, id: str) -> ApiKey | None:
        """Return an API key."""
        return await api_keys.one(self._database, id)

    async def api_keys(self, *, after: str | None, limit: int) -> list[ApiKey]:
        """Return a page of the API keys, by id."""
        return await api_keys.page(self._database, after=after, limit=limit)

    async def revoke_api_key(self, id: str, at: datetime) -> ApiKey | None:
        """Mark an API key as revoked: see the port."""
        self._require_writable()
        return await api_keys.revoke(self._database, id, at)

    async def operation(self, id: str) -> Operation | None:
        """Return an operation, with the figures of its writes so far."""
        return await ledger.operation(self._database, id)

    async def operation_members(self, id: str, *, limit: int, after: str | None = None) -> list[tuple[str, int]]:
        """Return the memories an operation touched, by id."""
        return await ledger.members(self._database, id, limit=limit, after=after)

    async def namespaces(self, scope: Scope, *, now: datetime) -> list[NamespaceStats]:
        """Return the namespaces of `scope` that hold anything, with their counts."""
        return await reads.namespaces(self._database, scope, now)

    async def scan(self, scope: Scope, *, now: datetime, batch: int = 1000) -> AsyncIterator[Sequence[Stored]]:
        """Page through the newest versions of all memories of `scope`, by id."""
        after: str | None = None
        while True:
            page, after = await reads.scan_page(self._database, scope, after=after, limit=batch)
            if page:
                yield page
            if len(page) < batch:
                return

    async def check(self) -> None:
        """Ask the server, for less than two seconds."""
        await self._database.check()

    async def search_text(
        self, scope: Scope, query: TextQuery, *, filter: Filter | None, limit: int, now: datetime
    ) -> list[TextHit]:
        """Return the best memories by words: see the port."""
        return await self._search.search(scope, query, filter=filter, limit=limit, now=now)

    async def authors(self, scope: Scope, keys: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Return the authors that `keys` stand for."""
        return await authors(self._database, scope, keys)

    async def candidates(
        self, ids: Sequence[str], *, now: datetime, around: bool = True, filter: Filter | None = None
    ) -> dict[str, Candidate]:
        """Return what ranking needs of memories and their neighbours: see the port."""
        return await candidates(self._database, ids, now=now, around=around, filter=filter)

    async def in_period(
        self, scope: Scope, first: datetime, last: datetime, *, filter: Filter | None, limit: int, now: datetime
    ) -> list[str]:
        """Return ids of live memories that occurred in first <= t < last, newest first."""
        return await lists.in_period(self._database, scope, first, last, filter=filter, limit=limit, now=now)

    async def matching(self, scope: Scope, *, filter: Filter | None, limit: int, now: datetime) -> list[str]:
        """Return the ids of live memories of `scope` that pass `filter`."""
        return await lists.matching(self._database, scope, filter=filter, limit=limit, now=now)

    async def words(self, scope: Scope) -> Sequence[tuple[str, str]]:
        """Return the distinct words of `scope`, new ones after all others."""
        return await read_words(self._database, scope)

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
        return await lists.list_page(
            self._database,
            scope,
            filter=filter,
            order=order,
            limit=limit,
            after=after,
            now=now,
            as_of=as_of,
            deleted=deleted,
        )

    async def words_token(self, scope: Scope) -> object:
        """Return how often the words of `scope` changed."""
        return await times_changed(self._database, scope)

    async def close(self) -> None:
        """Carry out what waits to be written."""
        await self._writer.close()

    def _require_writable(self) -> None:
        if self._read_only:
            raise BackendError(f"{WHERE}: the storage was opened for reading only")


@asynccontextmanager
async def open_storage(config: PostgresConfig, context: OpenContext) -> AsyncIterator[PostgresStorage]:
    """Open the storage, bringing its schema up to date.

    Raises:
        ConfigError: the settings, the server's version or the schema cannot be used; nothing was changed.
        BackendUnavailable: the server cannot be reached.
    """
    async with open_database(config, WHERE) as database:
        create = context.create and not context.read_only
        await migrate(database, "sfm_postgres.sql", component="postgres", create=create)
        storage = PostgresStorage(database, read_only=context.read_only)
        try:
            yield storage
        finally:
            await storage.close()
