"""Export and import of archives (`sfm_core.services.archive`).

An import keeps the whole archive aside and checks it before the first write, so that a damaged one stores nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Collection, Sequence
from pathlib import Path

from msgspec import Struct, structs

from sfm_core.errors import Conflict, InvalidInput
from sfm_core.model.memory import Memory
from sfm_core.model.twins import digest
from sfm_core.ports.storage import Result, Storage
from sfm_core.ports.writes import Applied, AppliedLink, ImportLink, ImportMemory, Write
from sfm_core.services.archive import (
    FORMAT,
    FORMAT_VERSION,
    ChecksumLine,
    LinkLine,
    ManifestLine,
    MemoryLine,
    Spool,
    blocks,
    checked_lines,
    encoded,
    spooled,
)
from sfm_core.services.archive_check import ArchiveCheck, occupies, short
from sfm_core.services.changes import readable
from sfm_core.services.commit import Committer
from sfm_core.services.idempotency import IdempotencyKey
from sfm_core.services.maintenance import Progress
from sfm_core.services.principal import Principal, Verb
from sfm_core.services.remember import Analyse
from sfm_core.services.validate import MemoryReader

__all__ = ["ImportReport", "Transfer"]

_BATCH = 200
_PAGE = 1000


class ImportReport(Struct, frozen=True, kw_only=True):
    """What an import read, how many memories and links were new (`added`) or not (`skipped`), and the newest sequence.

    Skipped are those that were there already, and those that were erased here: an archive does not bring them back.
    """

    memories: int
    links: int
    added: int
    skipped: int
    sequence: int


class Transfer:
    """Writes and reads archives."""

    def __init__(
        self, committer: Committer, reader: MemoryReader, analyse: Analyse, data_dir: Path | None = None
    ) -> None:
        """`data_dir` is where a large archive is kept while it is checked."""
        self._committer = committer
        self._storage: Storage = committer.storage
        self._reader = reader
        self._analyse = analyse
        self._data_dir = data_dir

    async def export(self, principal: Principal, *, namespace: str | None = None) -> AsyncIterator[bytes]:
        """Yield the lines of an archive of a namespace, a subtree ("a/**"), or all that the principal may read.

        Each memory is whole; what is written meanwhile may be in it or not.
        """
        scopes = readable(principal, namespace)
        checksum = hashlib.sha256()
        names = tuple(str(scope) for scope in scopes)
        head = encoded(ManifestLine(FORMAT, FORMAT_VERSION, names, self._committer.clock()))
        checksum.update(head)
        yield head
        known: set[bytes] = set()
        links = 0
        for scope in scopes:
            async for batch in self._storage.scan(scope, now=self._committer.clock(), batch=_BATCH):
                lines = [line for s in batch if (line := await self._memory_line(s.memory.id)) is not None]
                known.update(short(line.newest.id) for line in lines)
                block = b"".join(map(encoded, lines))
                checksum.update(block)
                yield block
        for scope in scopes:
            after: str | None = None
            while True:
                found, after = await self._storage.links_in(scope, after=after, limit=_PAGE)
                # A memory may have come, or been erased, since its turn.
                whole = [link for link in found if short(link.source) in known and short(link.target) in known]
                links += len(whole)
                block = b"".join(encoded(LinkLine(link)) for link in whole)
                checksum.update(block)
                yield block
                if after is None:
                    break
        yield encoded(ChecksumLine("sha256", checksum.hexdigest(), len(known), links))

    async def _memory_line(self, id: str) -> MemoryLine | None:
        versions: list[Memory] = []
        buried: list[int] = []
        before: int | None = None
        while found := await self._storage.history(id, limit=_PAGE, before=before):
            versions += [s.memory for s in found]
            buried += [s.memory.version for s in found if s.deleted]
            before = versions[-1].version
        if not versions:
            return None
        newest = versions[0].version
        earlier = tuple(sorted(version for version in buried if version != newest))
        return MemoryLine(tuple(reversed(versions)), newest in buried, earlier)

    async def import_(
        self,
        principal: Principal,
        chunks: AsyncIterable[bytes],
        *,
        key: IdempotencyKey | None = None,
        progress: Progress | None = None,
    ) -> ImportReport:
        """Store an archive; importing it again adds nothing.

        The whole archive is checked first: a bad line or checksum, a refused value, an id or a coordinate that another
        memory has stores nothing.

        Args:
            principal, key: as everywhere.
            chunks: the bytes.
            progress: called with (done, total) lines.

        Raises:
            InvalidInput: naming the line.
            Conflict: an id or a coordinate is taken by another memory.
            Forbidden: the principal may not write in one of the namespaces.
        """
        principal.require_verb(Verb.WRITE)
        if not isinstance(chunks, AsyncIterable):
            raise InvalidInput.of("archive", chunks, "chunks of bytes that come one after the other")
        with spooled(self._data_dir) as spool:
            digest = await spool.fill(chunks)
            if key is not None:
                # The archive is part of the request: another one under the same key is refused.
                key = structs.replace(key, request=key.request + digest)
            replayed = await self._committer.replayed(key)
            if replayed is not None and replayed.replay is not None:
                return ImportReport(**replayed.replay.note)
            total = await self._checked(principal, spool)
            erased: set[str] = set()
            for block in blocks(spool, MemoryLine, _BATCH):
                erased |= await self._refuse_conflicts(principal, block)
            report = await self._store(principal, spool, erased, total, progress)
        if key is not None:
            kept = await self._committer.commit(principal, [], key=key, note=structs.asdict(report))
            if kept.replay is not None:
                return ImportReport(**kept.replay.note)
        return report

    async def _checked(self, principal: Principal, spool: Spool) -> tuple[int, int]:
        """Check every line and the checksum; return the numbers of memories and links."""
        now, limits = self._committer.clock(), self._committer.limits
        check = ArchiveCheck(principal, lambda memory: self._approved(principal, memory), limits, now)
        for number, line in checked_lines(spool):
            check.line(number, line)
            if number % _BATCH == 0:
                await asyncio.sleep(0)  # others want to be served, too
        return check.memories, check.links

    def _approved(self, principal: Principal, memory: Memory) -> Memory:
        return self._committer.approved(self._reader.recheck(memory), principal)

    async def _refuse_conflicts(self, principal: Principal, block: Sequence[MemoryLine]) -> set[str]:
        """Refuse an archive with an id or a coordinate that another memory has; return the ids that were erased here."""
        now = self._committer.clock()
        newest = [self._approved(principal, line.newest) for line in block]
        ids = [memory.id for memory in newest]
        erased = await self._storage.erased(ids)
        for line, memory, stored in zip(block, newest, await self._storage.locate(ids), strict=True):
            if stored is not None:
                if stored.memory != memory or stored.deleted != line.deleted:
                    raise Conflict(f"memory {memory.id} is there already, with other content or another version")
            elif memory.id not in erased and occupies(line, now) and await self._is_held(memory):
                raise Conflict(f"the coordinate of memory {memory.id} is held by another memory")
        return erased

    async def _is_held(self, memory: Memory) -> bool:
        if memory.coordinate is None:
            return False
        now = self._committer.clock()
        return await self._storage.at_coordinate(memory.namespace, memory.coordinate, now=now) is not None

    async def _store(
        self,
        principal: Principal,
        spool: Spool,
        erased: Collection[str],
        total: tuple[int, int],
        progress: Progress | None,
    ) -> ImportReport:
        added = sequence = done = 0
        for kind in (MemoryLine, LinkLine):
            for block in blocks(spool, kind, _BATCH):
                writes = [self._write(principal, line) for line in block if not _touches(line, erased)]
                committed = await self._committer.commit(principal, writes)
                added += sum(_is_new(result) for result in committed.results)
                sequence = max(sequence, committed.sequence)
                done += len(block)
                if progress is not None:
                    progress(done, sum(total))
        memories, links = total
        return ImportReport(
            memories=memories, links=links, added=added, skipped=memories + links - added, sequence=sequence
        )

    def _write(self, principal: Principal, line: MemoryLine | LinkLine) -> Write:
        if isinstance(line, LinkLine):
            return ImportLink(link=line.link)
        versions = tuple(self._approved(principal, memory) for memory in line.versions)
        return ImportMemory(
            versions=versions,
            analysis=self._analyse(versions[-1]),
            digest=digest(versions[-1]),
            deleted=line.deleted,
            tombstones=frozenset(line.tombstones),
        )


def _touches(line: MemoryLine | LinkLine, erased: Collection[str]) -> bool:
    if isinstance(line, LinkLine):
        return line.link.source in erased or line.link.target in erased
    return line.newest.id in erased


def _is_new(result: Result) -> bool:
    return isinstance(result, Applied | AppliedLink) and result.outcome not in ("duplicate", "unchanged")
