"""The lines of an archive: NDJSON with a manifest, memories with history and tombstones, links, and a checksum.

The checksum is the SHA-256 of all bytes before its line.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal

import msgspec
from msgspec import Struct

from sfm_core.errors import InvalidInput, LimitExceeded, Problem
from sfm_core.model.link import Link
from sfm_core.model.memory import Memory

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "ChecksumLine",
    "Line",
    "LinkLine",
    "ManifestLine",
    "MemoryLine",
    "Spool",
    "bad_line",
    "blocks",
    "checked_lines",
    "encoded",
    "spooled",
]

FORMAT = "somafractalmemory-archive"
FORMAT_VERSION = 1
_SPOOL = 16 * 2**20
_IN_MEMORY = 256 * 2**20
_LONGEST_LINE = 64 * 2**20


class ManifestLine(Struct, frozen=True, tag_field="line", tag="manifest", forbid_unknown_fields=True):
    """The first line: what the archive is, of which namespaces, made when."""

    format: str
    version: int
    namespaces: tuple[str, ...]
    created_at: datetime


class MemoryLine(Struct, frozen=True, tag_field="line", tag="memory", forbid_unknown_fields=True):
    """All versions of one memory, oldest first; whether the newest is a tombstone, and which of the earlier ones are."""

    versions: tuple[Memory, ...]
    deleted: bool = False
    tombstones: tuple[int, ...] = ()

    @property
    def newest(self) -> Memory:
        """The newest version."""
        return self.versions[-1]


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


def encoded(line: Line) -> bytes:
    """Return the bytes of a line, its end included."""
    return _encoder.encode(line) + b"\n"


def bad_line(number: int, given: str, allowed: str, field: str = "") -> InvalidInput:
    """Return the error for a line."""
    return InvalidInput([Problem(f"line {number}{field and f': {field}'}", given, allowed)])


class Spool:
    """Bytes that are written once and then read line by line, many times."""

    def __init__(self, file: IO[bytes], most: int | None) -> None:
        self._file = file
        self._most = most

    async def fill(self, chunks: AsyncIterable[bytes]) -> bytes:
        """Take in all `chunks`, and return the SHA-256 of them.

        Raises:
            LimitExceeded: there is no data directory, and the archive is too large for the memory.
        """
        size = 0
        digest = hashlib.sha256()
        async for chunk in chunks:
            if not isinstance(chunk, bytes | bytearray | memoryview):
                raise InvalidInput.of("archive", chunk, "chunks of bytes")
            size += len(chunk)
            if self._most is not None and size > self._most:
                allowed = f"at most {self._most} bytes without a data directory (set SFM_DATA_DIR)"
                raise LimitExceeded([Problem("archive", f"more than {self._most} bytes", allowed)])
            self._file.write(chunk)
            digest.update(chunk)
        return digest.digest()

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield number and bytes of each line.

        Raises:
            InvalidInput: a line has no end.
        """
        self._file.seek(0)
        number = 0
        while raw := self._file.readline(_LONGEST_LINE):
            number += 1
            if not raw.endswith(b"\n"):
                raise bad_line(number, "no line end", "a whole line (is the archive cut off?)")
            yield number, raw


@contextmanager
def spooled(data_dir: Path | None) -> Iterator[Spool]:
    """Give a place to keep an archive while it is checked: a nameless file in `data_dir`, without one the memory."""
    if data_dir is None:
        yield Spool(BytesIO(), _IN_MEMORY)
        return
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL, dir=str(data_dir)) as file:
        yield Spool(file, None)


def _decoded(number: int, raw: bytes) -> Line:
    try:
        return _decoder.decode(raw)
    except RecursionError:
        raise bad_line(number, "too many levels", "a line of an archive") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_line(number, str(error), "a line of an archive") from None


def checked_lines(spool: Spool) -> Iterator[tuple[int, MemoryLine | LinkLine]]:
    """Yield the lines of memories and links after checking order, counts and, at the end, the checksum.

    Raises:
        InvalidInput: naming the line.
    """
    checksum = hashlib.sha256()
    counts = {MemoryLine: 0, LinkLine: 0}
    last: Line | None = None
    for number, raw in spool.lines():
        if isinstance(last, ChecksumLine):
            raise bad_line(number, "a line after the checksum", "nothing")
        last = _decoded(number, raw)
        if (number == 1) != isinstance(last, ManifestLine):
            raise bad_line(number, type(last).__name__, "a manifest as the first line, and only there")
        if isinstance(last, ManifestLine):
            if (last.format, last.version) != (FORMAT, FORMAT_VERSION):
                raise bad_line(number, f"format {last.format} {last.version}", f"format {FORMAT} {FORMAT_VERSION}")
        elif isinstance(last, ChecksumLine):
            found = (checksum.hexdigest(), counts[MemoryLine], counts[LinkLine])
            if (last.value, last.memories, last.links) != found:
                raise bad_line(number, "another checksum", "the SHA-256 and counts of the lines before")
        else:
            counts[type(last)] += 1
            yield number, last
        checksum.update(raw)
    if not isinstance(last, ChecksumLine):
        raise InvalidInput([Problem("archive", "no checksum", "a checksum as the last line (is the archive cut off?)")])


def blocks(spool: Spool, kind: type[MemoryLine] | type[LinkLine], size: int) -> Iterator[list[Any]]:
    """Yield the lines of one kind, `size` at a time."""
    block: list[Any] = []
    for number, raw in spool.lines():
        line = _decoded(number, raw)
        if isinstance(line, kind):
            block.append(line)
        if len(block) >= size:
            yield block
            block = []
    if block:
        yield block
