"""Archives: NDJSON with a manifest line, memories with history and tombstones, links, and a checksum line.

The checksum is the SHA-256 of all bytes before its line. An import reads the whole archive to a spooled temporary file and
checks it before the first write, so that a damaged archive stores nothing.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from datetime import datetime
from typing import IO, Any, Literal

import msgspec
from msgspec import Struct

from sfm_core.errors import Conflict, InvalidInput, Problem, SfmError
from sfm_core.model.link import Link
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope, check_namespace
from sfm_core.model.twins import digest
from sfm_core.ports.storage import Result, Storage
from sfm_core.ports.writes import Applied, AppliedLink, ImportLink, ImportMemory, Write
from sfm_core.services.changes import readable
from sfm_core.services.commit import Committer
from sfm_core.services.idempotency import IdempotencyKey
from sfm_core.services.maintenance import Progress
from sfm_core.services.principal import Principal, Verb
from sfm_core.services.remember import Analyse
from sfm_core.services.validate import MemoryReader

__all__ = ["FORMAT", "ImportReport", "Transfer"]

FORMAT = "somafractalmemory-archive"
_VERSION = 1
_BATCH = 500
_PAGE = 1000
_SPOOL = 16 * 2**20
_LONGEST_LINE = 64 * 2**20


class ManifestLine(Struct, frozen=True, tag_field="line", tag="manifest", forbid_unknown_fields=True):
    """The first line: what the archive is, of which namespaces, made when."""

    format: str
    version: int
    namespaces: tuple[str, ...]
    created_at: datetime


class MemoryLine(Struct, frozen=True, tag_field="line", tag="memory", forbid_unknown_fields=True):
    """All versions of one memory, oldest first, and whether the newest is a tombstone."""

    versions: tuple[Memory, ...]
    deleted: bool = False


class LinkLine(Struct, frozen=True, tag_field="line", tag="link", forbid_unknown_fields=True):
    """One link."""

    link: Link


class ChecksumLine(Struct, frozen=True, tag_field="line", tag="checksum", forbid_unknown_fields=True):
    """The last line."""

    algorithm: Literal["sha256"]
    value: str
    memories: int
    links: int


Line = ManifestLine | MemoryLine | LinkLine | ChecksumLine
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)
_encoder = msgspec.json.Encoder()


class ImportReport(Struct, frozen=True, kw_only=True):
    """What an import read, how many memories and links were new (`added`) or there already (`skipped`), newest sequence."""

    memories: int
    links: int
    added: int
    skipped: int
    sequence: int


class Transfer:
    """Writes and reads archives."""

    def __init__(self, committer: Committer, reader: MemoryReader, analyse: Analyse) -> None:
        self._committer = committer
        self._storage: Storage = committer.storage
        self._reader = reader
        self._analyse = analyse

    async def export(self, principal: Principal, *, namespace: str | None = None) -> AsyncIterator[bytes]:
        """Yield the lines of an archive of a namespace, a subtree ("a/**"), or all that the principal may read."""
        scopes = readable(principal, namespace)
        checksum = hashlib.sha256()
        memories = links = 0
        names = tuple(str(scope) for scope in scopes)
        head = _line(ManifestLine(FORMAT, _VERSION, names, self._committer.clock()))
        checksum.update(head)
        yield head
        for scope in scopes:
            async for batch in self._storage.scan(scope, now=self._committer.clock()):
                lines = [_line(await self._memory_line(s.memory.id, s.deleted)) for s in batch]
                memories += len(lines)
                block = b"".join(lines)
                checksum.update(block)
                yield block
        for scope in scopes:
            after: str | None = None
            while True:
                found, after = await self._storage.links_in(scope, after=after, limit=_PAGE)
                links += len(found)
                block = b"".join(_line(LinkLine(link)) for link in found)
                checksum.update(block)
                yield block
                if after is None:
                    break
        yield _line(ChecksumLine("sha256", checksum.hexdigest(), memories, links))

    async def _memory_line(self, id: str, deleted: bool) -> MemoryLine:
        versions: list[Memory] = []
        before: int | None = None
        while found := await self._storage.history(id, limit=_PAGE, before=before):
            versions += [s.memory for s in found]
            before = versions[-1].version
        return MemoryLine(tuple(reversed(versions)), deleted)

    async def import_(
        self,
        principal: Principal,
        chunks: AsyncIterable[bytes],
        *,
        key: IdempotencyKey | None = None,
        progress: Progress | None = None,
    ) -> ImportReport:
        """Store an archive; importing it again adds nothing.

        The whole archive is checked first: a bad line, checksum or refused value stores nothing. So does an id that
        another memory has, as far as it was there before.

        Raises:
            InvalidInput: naming the line.
            Conflict: an id or a coordinate is taken by another memory.
            Forbidden: the principal may not write in one of the namespaces.
        """
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL) as spool:
            async for chunk in chunks:
                spool.write(chunk)
            total = self._check(principal, spool)
            await self._refuse_conflicts(spool)
            return await self._store(principal, spool, total, key, progress)

    def _check(self, principal: Principal, spool: IO[bytes]) -> tuple[int, int]:
        """Check every line and the checksum; return the numbers of memories and links."""
        checksum = hashlib.sha256()
        memories = links = 0
        last: Line | None = None
        for number, raw in _raw_lines(spool):
            if isinstance(last, ChecksumLine):
                raise _bad(number, "a line after the checksum", "nothing")
            last = _decoded(number, raw)
            if (number == 1) != isinstance(last, ManifestLine):
                raise _bad(number, type(last).__name__, "a manifest as the first line, and only there")
            if isinstance(last, ManifestLine):
                if (last.format, last.version) != (FORMAT, _VERSION):
                    raise _bad(number, f"format {last.format} {last.version}", f"format {FORMAT} {_VERSION}")
            elif isinstance(last, ChecksumLine):
                if (last.value, last.memories, last.links) != (checksum.hexdigest(), memories, links):
                    raise _bad(number, "another checksum", "the SHA-256 and counts of the lines before")
            elif isinstance(last, MemoryLine):
                memories += 1
                self._check_memory(principal, number, last)
            else:
                links += 1
                principal.require(Verb.WRITE, Scope(check_namespace(last.link.namespace)))
            checksum.update(raw)
        if not isinstance(last, ChecksumLine):
            raise _bad(0, "no checksum", "a checksum as the last line (is the archive cut off?)")
        return memories, links

    def _check_memory(self, principal: Principal, number: int, line: MemoryLine) -> None:
        versions = [m.version for m in line.versions]
        ids = {(m.id, m.namespace) for m in line.versions}
        if not versions or sorted(set(versions)) != versions or versions[0] < 1 or len(ids) != 1:
            raise _bad(number, f"versions {versions[:5]}", "rising versions of one memory of one namespace")
        principal.require(Verb.WRITE, Scope(line.versions[0].namespace))
        for memory in line.versions:
            try:
                self._reader.recheck(memory)
            except InvalidInput as error:
                fields = [msgspec.structs.replace(p, field=f"line {number}: {p.field}") for p in error.problems]
                raise InvalidInput(fields) from None

    async def _refuse_conflicts(self, spool: IO[bytes]) -> None:
        """Refuse an archive with an id that another memory has, before anything of it is stored."""
        for block in _blocks(spool, MemoryLine):
            newest = [line.versions[-1] for line in block]
            for memory, stored in zip(newest, await self._storage.locate([m.id for m in newest]), strict=True):
                if stored is not None and stored.memory != memory:
                    raise Conflict(f"memory {memory.id} is there already, with other content or another version")

    async def _store(
        self,
        principal: Principal,
        spool: IO[bytes],
        total: tuple[int, int],
        key: IdempotencyKey | None,
        progress: Progress | None,
    ) -> ImportReport:
        added = skipped = sequence = done = 0
        note: dict[str, object] = {"memories": total[0], "links": total[1]}
        for kind in (MemoryLine, LinkLine):
            for block in _blocks(spool, kind):
                writes = [self._write(principal, line) for line in block]
                committed = await self._committer.commit(principal, writes, key=key, note=note)
                if committed.replay is not None:
                    return ImportReport(
                        **committed.replay.note, added=0, skipped=sum(total), sequence=committed.sequence
                    )
                key = None
                new = sum(_is_new(result) for result in committed.results)
                added, skipped = added + new, skipped + len(block) - new
                sequence = max(sequence, committed.sequence)
                done += len(block)
                if progress is not None:
                    progress(done, sum(total))
        return ImportReport(memories=total[0], links=total[1], added=added, skipped=skipped, sequence=sequence)

    def _write(self, principal: Principal, line: Any) -> Write:
        if isinstance(line, LinkLine):
            return ImportLink(link=line.link)
        newest = self._committer.approved(line.versions[-1], principal)
        return ImportMemory(
            versions=(*line.versions[:-1], newest),
            analysis=self._analyse(newest),
            digest=digest(newest),
            deleted=line.deleted,
        )


def _is_new(result: Result) -> bool:
    if isinstance(result, SfmError):
        raise result
    return isinstance(result, Applied | AppliedLink) and result.outcome not in ("duplicate", "unchanged")


def _line(line: Line) -> bytes:
    return _encoder.encode(line) + b"\n"


def _raw_lines(spool: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    spool.seek(0)
    number = 0
    while raw := spool.readline(_LONGEST_LINE):
        number += 1
        if not raw.endswith(b"\n"):
            raise _bad(number, "no line end", "a whole line (is the archive cut off?)")
        yield number, raw


def _decoded(number: int, raw: bytes) -> Line:
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _bad(number, str(error), "a line of an archive") from None


def _bad(number: int, given: str, allowed: str) -> InvalidInput:
    return InvalidInput([Problem(f"line {number}", given, allowed)])


def _blocks(spool: IO[bytes], kind: type[Any]) -> Iterator[list[Any]]:
    block: list[Any] = []
    for number, raw in _raw_lines(spool):
        line = _decoded(number, raw)
        if isinstance(line, kind):
            block.append(line)
        if len(block) >= _BATCH:
            yield block
            block = []
    if block:
        yield block
