"""The engine on a server (or in the client's local mode): one alias, and the collection behind it."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from qdrant_client import AsyncQdrantClient, models

from sfm_core.errors import ConfigError
from sfm_core.plugins.types import OpenContext
from sfm_core.ports.vectors import Space
from sfm_qdrant.conditions import Condition
from sfm_qdrant.config import QdrantConfig
from sfm_qdrant.engine import Ask, Found, Row
from sfm_qdrant.failures import Missing, Patience, bounded, repeated
from sfm_qdrant.layout import MARK_ID
from sfm_qdrant.requests import filter_of, found_in, query_of, upserts
from sfm_qdrant.schema import Schema

__all__ = ["RemoteEngine"]

T = TypeVar("T")

_ROWS, _IDS = 500, 1000
_NUMBER_BYTES = 21
_CONDITIONAL = (1, 16)
"""From this version on the server itself compares versions when it stores."""


class RemoteEngine:
    """One index on a server; nothing is sent before it is asked for something.

    Args:
        client: closed by `close`.
        config: names and timeouts.
        context: the space, and whether anything may be created.
    """

    def __init__(self, client: AsyncQdrantClient, config: QdrantConfig, context: OpenContext) -> None:
        self._client = client
        self._config = config
        self._alias = config.collection
        self._schema = Schema(client, config, context)
        self._version: tuple[int, int] | None = None
        self._meeting = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._patience = Patience()
        self.walks = not config.exact
        self._params = models.SearchParams(hnsw_ef=config.search_ef) if config.search_ef else None

    async def meet(self) -> tuple[int, int]:
        """Compare versions and spaces with the server, once; return its version.

        Raises:
            ConfigError: the server is too old, or the index is of another space or none of ours.
            BackendUnavailable: it does not answer.
        """
        if self._version is None:
            async with self._meeting:
                if self._version is None:

                    async def once() -> tuple[int, int]:
                        async with bounded(self._config.write_timeout):
                            async with asyncio.timeout(self._config.timeout):
                                await self._client.info()
                            return await self._schema.meet()

                    self._version = await repeated(once)
        return self._version

    async def write(self, rows: Sequence[Row], *, deletions: bool) -> None:
        """Store rows, in requests below the server's size limit: see `Engine`."""
        version = await self._patience.run(self.meet, self._config.timeout)
        for part in _parts(rows, self._config.batch_bytes):
            if version >= _CONDITIONAL:
                operations = upserts(part, deletions=deletions, guarded=True)
                await self._do(lambda ops=operations: self._update(ops), self._config.write_timeout)  # type: ignore[misc]
            else:
                await self._compare_and_write(part, deletions)

    async def _update(self, operations: list[Any]) -> None:
        await self._client.batch_update_points(self._alias, operations, wait=True)

    async def _compare_and_write(self, rows: Sequence[Row], deletions: bool) -> None:
        """Store on a server that cannot compare: atomic in this process only, and never repeated."""
        async with self._writing:
            stored = await self.read([row.id for row in rows], ("version",))
            least = {id: payload["version"] + (0 if deletions else 1) for id, payload in stored.items()}
            newer = [row for row in rows if row.version >= least.get(row.id, 0)]
            if newer:
                operations = upserts(newer, deletions=deletions, guarded=False)
                await self._do(lambda: self._update(operations), self._config.write_timeout, again=False)

    async def read(self, ids: Sequence[str], fields: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
        """Return payloads by id: see `Engine`."""
        found: dict[str, Mapping[str, Any]] = {}
        for start in range(0, len(ids), _IDS):
            part = list(ids[start : start + _IDS])
            records = await self._do(
                lambda part=part: self._client.retrieve(self._alias, part, with_payload=list(fields))  # type: ignore[misc]
            )
            found |= {str(record.id): record.payload or {} for record in records}
        return found

    async def search(self, asks: Sequence[Ask]) -> list[list[Found]]:
        """Answer all of `asks` in one request."""
        requests = [query_of(ask, self._params) for ask in asks]
        answers = await self._do(lambda: self._client.query_batch_points(self._alias, requests))
        return [found_in(answer) for answer in answers]

    async def count(self, where: Condition) -> int:
        """Return the exact number of points."""
        answer = await self._do(lambda: self._client.count(self._alias, filter_of(where), exact=True))
        return answer.count

    async def flush(self) -> None:
        """Nothing is left to do: every write was acknowledged out of the server's log."""

    async def clear(self, space: Space | None) -> None:
        """Build an empty collection, switch the alias to it in one step, and drop the one that it replaces."""
        await self._do(lambda: self._schema.replace(space), self._config.write_timeout, again=False)

    async def check(self) -> None:
        """Read the point that tells what the index is."""
        if MARK_ID not in await self.read([MARK_ID], ("layout",)):
            raise ConfigError(
                f"qdrant/vectors: index {self._alias!r} lost the point that tells its space; `sfm reindex`"
            )

    async def close(self) -> None:
        """Close the connections."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            await self._client.close()

    async def _do(self, call: Callable[[], Awaitable[T]], seconds: float | None = None, *, again: bool = True) -> T:
        most = seconds or self._config.timeout

        async def once() -> T:
            async with bounded(most):
                return await call()

        async def asked() -> T:
            await self.meet()
            return await (repeated(once) if again else once())

        try:
            return await self._patience.run(asked, most)
        except Missing:
            self._version = None
            raise


def _parts(rows: Sequence[Row], most_bytes: int) -> Iterator[list[Row]]:
    """Cut rows into requests by number and size."""
    part: list[Row] = []
    size = 0
    for row in rows:
        takes = _size(row)
        if part and (len(part) >= _ROWS or size + takes > most_bytes):
            yield part
            part, size = [], 0
        part.append(row)
        size += takes
    if part:
        yield part


def _size(row: Row) -> int:
    numbers = len(row.dense or ()) + 2 * (len(row.words.indices) if row.words else 0)
    return numbers * _NUMBER_BYTES + len(msgspec.json.encode(row.payload))
