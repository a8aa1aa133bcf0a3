"""The in-process face of the system: one object, every operation, bound to one principal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from sfm_core.errors import InvalidInput
from sfm_core.model.event import ChangePage
from sfm_core.model.link import LinkReceipt
from sfm_core.model.link import Path as LinkPath
from sfm_core.model.memory import Memory, NewMemory, Receipt
from sfm_core.model.query import Answer, Page
from sfm_core.services.forget import ForgetReport, OperationState
from sfm_core.services.overview import Stats
from sfm_core.services.principal import Principal
from sfm_core.services.recall_input import read_query
from sfm_core.services.replies import ItemResult
from sfm_core.services.transfer import ImportReport
from sfm_core.services.wiring import Services

__all__ = ["AgentMemory"]

_CHUNK = 2**20


class AgentMemory:
    """A memory for agents. Everything acknowledged is durable; every call is checked against the principal's scope.

    All methods raise `sfm_core.errors.SfmError` subclasses only: `InvalidInput` names every refused argument, `NotFound`
    is for unknown, deleted, expired and erased memories alike, `Forbidden` for what the principal may not do.
    """

    def __init__(self, services: Services, principal: Principal) -> None:
        self.services = services
        self.principal = principal

    def as_principal(self, principal: Principal) -> AgentMemory:
        """Return the same memory for another principal."""
        return AgentMemory(self.services, principal)

    async def remember(
        self,
        content: str | None = None,
        *,
        namespace: str | None = None,
        payload: Mapping[str, Any] | None = None,
        dedupe: bool = True,
        wait: bool = False,
        **fields: Any,
    ) -> Receipt:
        """Store a memory; acknowledged means durable.

        Args:
            content: the text that recall searches.
            namespace: where it belongs, "default" when not given.
            payload: any JSON object.
            dedupe: fold a write that equals a live memory into it (outcome "duplicate").
            wait: wait, bounded, until every projection holds it.
            fields: any other field of `sfm_core.model.memory.NewMemory`: kind, coordinate, author, thread, position,
                importance, tags, source, pinned, occurred_at, valid_from, valid_to, expires_at, derived_from, id.
        """
        item = {"content": content, "namespace": namespace, "payload": payload, **fields}
        return await self.services.remember.remember(self.principal, item, dedupe=dedupe, wait=wait)

    async def remember_many(
        self, items: Sequence[NewMemory | Mapping[str, Any]], *, atomic: bool = False, dedupe: bool = True
    ) -> list[ItemResult]:
        """Store many memories in one transaction; one result per item, in order (`memory` and `outcome`, or `error`)."""
        receipt = await self.services.remember.remember_many(self.principal, items, atomic=atomic, dedupe=dedupe)
        return list(receipt.results)

    async def recall(self, query: str, *, namespace: str | None = None, k: int = 10, **options: Any) -> Answer:
        """Return the `k` memories that matter most for the question, best first.

        Args:
            query: the question.
            namespace: one namespace, or a subtree "a/**".
            k: 1..1,000.
            options: any other field of `sfm_core.model.query.RecallQuery`: filter, kinds, as_of, deadline_ms, explain,
                prefer, expand_links, min_score, min_sequence.
        """
        return await self._recall({"query": query, "namespace": namespace, "k": k, **options}, "query")

    async def recall_vector(
        self, vector: Sequence[float], *, namespace: str | None = None, k: int = 10, **options: Any
    ) -> Answer:
        """Return the `k` memories whose vectors are nearest by cosine; options as in `recall`."""
        return await self._recall({"vector": vector, "namespace": namespace, "k": k, **options}, "vector")

    async def _recall(self, item: dict[str, Any], required: str) -> Answer:
        query = read_query(item, self.services.limits, required=required)
        return await self.services.recall.recall(self.principal, query)

    async def get(self, id: str, *, as_of: datetime | str | None = None) -> Memory:
        """Return a memory, or the version of it that was stored at `as_of`."""
        return await self.services.history.get(self.principal, id, as_of=as_of)

    async def list(self, *, namespace: str | None = None, **options: Any) -> Page:
        """Return one page of memories: `.items` and the cursor `.next`.

        Args:
            namespace: one namespace, or a subtree "a/**".
            options: kind, author, thread, tag, filter, order, limit, cursor, as_of (`services.history.History.list`).
        """
        return await self.services.history.list(self.principal, namespace=namespace, **options)

    async def at_coordinate(
        self,
        coordinate: Sequence[float] | None = None,
        *,
        namespace: str | None = None,
        low: Sequence[float] | None = None,
        high: Sequence[float] | None = None,
        limit: int = 100,
    ) -> tuple[Memory, ...]:
        """Return the memory at a coordinate, or those in the inclusive box from `low` to `high`."""
        return await self.services.history.at_coordinate(
            self.principal, namespace=namespace, coordinate=coordinate, low=low, high=high, limit=limit
        )

    async def update(self, id: str, *, expected_version: int | None = None, **changes: Any) -> Receipt:
        """Change fields of a memory (None clears one; a payload is merged): a new version, or "unchanged"."""
        return await self.services.remember.update(self.principal, id, changes, expected_version=expected_version)

    async def delete(self, id: str, *, expected_version: int | None = None) -> Receipt:
        """Hide a memory everywhere; `undo(receipt.operation)` brings it back within the window."""
        return await self.services.forget.delete(self.principal, id, expected_version=expected_version)

    async def erase(self, id: str, *, expected_version: int | None = None) -> Receipt:
        """Remove a memory, its history and its traces from every store, for good."""
        return await self.services.forget.delete(self.principal, id, erase=True, expected_version=expected_version)

    async def undo(self, operation: str) -> OperationState:
        """Bring back what a delete or forget hid."""
        return await self.services.forget.undo(self.principal, operation)

    async def operation(self, operation: str) -> OperationState:
        """Return how far a deletion has come in every store."""
        return await self.services.forget.operation(self.principal, operation)

    async def history(self, id: str, *, limit: int = 100, cursor: str | None = None) -> Page:
        """Return the versions of a memory, newest first."""
        return await self.services.history.history(self.principal, id, limit=limit, cursor=cursor)

    async def restore(self, id: str, version: int) -> Receipt:
        """Make an old version the newest one; brings a deleted memory back."""
        return await self.services.history.restore(self.principal, id, version)

    async def link(self, source: str, target: str, *, relation: str = "related", **options: Any) -> LinkReceipt:
        """Link two memories of one namespace (options: weight > 0, metadata)."""
        return await self.services.links.link(self.principal, source, target, relation=relation, **options)

    async def unlink(self, source: str, target: str, *, relation: str = "related") -> LinkReceipt:
        """Remove a link."""
        return await self.services.links.unlink(self.principal, source, target, relation=relation)

    async def neighbors(self, id: str, **options: Any) -> Page:
        """Return the memories within some links (options: relation, direction, depth 1..5, limit, cursor)."""
        return await self.services.links.neighbors(self.principal, id, **options)

    async def path(self, source: str, target: str, *, relation: str | None = None) -> LinkPath:
        """Return the cheapest path from `source` to `target`."""
        return await self.services.links.path(self.principal, source, target, relation=relation)

    async def forget(self, *, namespace: str, dry_run: bool = True, **options: Any) -> ForgetReport:
        """Tell what a filter or policy would remove, or (`dry_run=False`) remove it (options: filter, policy, erase)."""
        return await self.services.forget.forget(self.principal, namespace=namespace, dry_run=dry_run, **options)

    async def delete_namespace(self, namespace: str, *, erase: bool = False) -> ForgetReport:
        """Remove every memory of exactly this namespace."""
        return await self.services.forget.delete_namespace(self.principal, namespace, erase=erase)

    async def changes(self, *, namespace: str | None = None, after: int = 0, limit: int = 100) -> ChangePage:
        """Return the change events above sequence `after`."""
        return await self.services.changes.page(self.principal, namespace=namespace, after=after, limit=limit)

    def export(self, *, namespace: str | None = None) -> AsyncIterator[bytes]:
        """Yield an archive, line by line."""
        return self.services.transfer.export(self.principal, namespace=namespace)

    async def export_to(self, path: str | Path, *, namespace: str | None = None) -> int:
        """Write an archive to a new file and return its size in bytes; an existing file is refused."""
        target = _path(path)
        size = 0
        try:
            file = await asyncio.to_thread(_create, target)
        except OSError as error:
            raise InvalidInput.of("path", str(path), f"a file that can be created ({error.strerror})") from None
        try:
            with file:
                async for lines in self.export(namespace=namespace):
                    size += file.write(lines)
        except BaseException:
            target.unlink()
            raise
        return size

    async def import_from(self, source: str | Path | AsyncIterable[bytes] | Iterable[bytes]) -> ImportReport:
        """Store an archive from a file or from chunks of bytes; a second import adds nothing."""
        return await self.services.transfer.import_(self.principal, _chunks(source))

    async def stats(self, *, namespace: str | None = None) -> Stats:
        """Return counts of a namespace, a subtree, or all that the principal may read."""
        return await self.services.overview.stats(self.principal, namespace=namespace)


def _path(value: object) -> Path:
    if not isinstance(value, str | Path) or "\0" in str(value):
        raise InvalidInput.of("path", value, "the path of a file")
    return Path(value)


def _create(path: Path) -> IO[bytes]:
    """Create a file that only this user can read: an archive holds everything."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _chunks(source: object) -> AsyncIterable[bytes]:
    if isinstance(source, str | Path):
        return _file_chunks(_path(source))
    if isinstance(source, AsyncIterable):
        return source
    if isinstance(source, Iterable) and not isinstance(source, bytes | bytearray):
        return _given_chunks(source)
    raise InvalidInput.of("source", source, "the path of an archive, or chunks of bytes")


async def _given_chunks(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    # In a thread: what makes the chunks may take its time, or wait for this very loop.
    one_by_one = iter(chunks)
    while (chunk := await asyncio.to_thread(next, one_by_one, None)) is not None:
        yield chunk


async def _file_chunks(path: Path) -> AsyncIterator[bytes]:
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except OSError as error:
        raise InvalidInput.of("path", str(path), f"a file that can be read ({error.strerror})") from None
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk
