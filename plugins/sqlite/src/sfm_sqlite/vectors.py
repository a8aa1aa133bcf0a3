"""The vectors port on one SQLite file: exact scans in memory, inside the namespaces asked for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from sqlite3 import SQLITE_BUSY, Connection, OperationalError
from sqlite3 import Error as SqliteError
from typing import TypeVar

import numpy as np

from sfm_core.errors import BackendUnavailable, CapabilityNotSupported, ConfigError
from sfm_core.model.filter import Filter
from sfm_core.model.namespace import Scope
from sfm_core.plugins.types import OpenContext
from sfm_core.ports.vectors import Point, Space, VectorHit
from sfm_sqlite.codec import blob_of, blob_or_none, id_of
from sfm_sqlite.config import SqliteConfig
from sfm_sqlite.connect import connect, file_path, meaning, migrate, prepare_file
from sfm_sqlite.matrices import Matrices
from sfm_sqlite.matrix import Target, halves, pack, row_type
from sfm_sqlite.vectorfile import APPLICATION_ID, STEPS, WHERE, VectorFile

__all__ = ["SqliteVectors", "open_vectors"]

T = TypeVar("T")

_PAGE_SIZE = 8192
_CACHE_KIB = 512
_SHORT_WRITE = 8
_SHORT_SCAN = 4_000_000
"""Numbers that are multiplied in well under a millisecond: no thread is worth its hand-off."""
_RETRY_SECONDS = 0.002
_EMPTY_LOG = "PRAGMA wal_checkpoint(TRUNCATE)"


class SqliteVectors:
    """The vectors port, exact for the stored precision; durable, and shared between processes.

    A commit does not wait for the disk (`flush` does): the index is a projection.
    """

    def __init__(
        self, files: tuple[VectorFile, VectorFile, VectorFile], space: Space | None, config: SqliteConfig, path: Path
    ) -> None:
        # One connection writes, one belongs to searches (in whatever thread), one answers short questions at once.
        self._writing, self._reading, self._short = files
        self._space = space
        self._patience = config.busy_timeout
        self._log = Path(f"{path}-wal")
        self._log_bytes = config.checkpoint_megabytes * 2**20
        self._writer = asyncio.Lock()
        self._reader = threading.Lock()
        self._matrices = Matrices(self._reading, space, most_bytes=config.vector_memory_megabytes * 2**20)
        self._unflushed = self._unwiped = False

    async def upsert(self, points: Sequence[Point]) -> None:
        """Store points; older versions than the stored or deleted one change nothing."""
        if not points:
            return
        space = self._known_space()
        vectors = [point.vector for point in points if point.vector is not None]
        if len(vectors) < len(points):
            raise CapabilityNotSupported(f"{WHERE}: a point has no vector, and words are not searched here")

        def write() -> None:
            packed = pack(vectors, space.dimension)
            rows = zip(points, packed, strict=True)
            self._writing.put((blob_of(p.id), p.version, p.namespace, data) for p, data in rows)

        await self._write(write, len(points))

    async def delete(self, ids: Sequence[tuple[str, int]]) -> None:
        """Remove points and remember at which version; a newer point stays."""
        if ids:
            size = row_type(self._known_space().dimension).itemsize
            gone = [(blob_of(id), version) for id, version in ids]
            await self._write(lambda: self._writing.remove(gone, size), len(ids))
            self._unwiped = True

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
        if filter is not None:
            raise CapabilityNotSupported(f"{WHERE}: filters are not applied here; restrict the search by `among`")
        if limit < 1:
            return []

        def scan() -> list[VectorHit]:
            with self._reader:
                return self._scan(scope, vector, limit, among)

        if not self._reader.locked() and self._read(lambda: self._matrices.work(self._short, scope)) <= _SHORT_SCAN:
            return self._read(scan)
        return await asyncio.to_thread(self._read, scan)

    async def versions(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the stored version of each of `ids` that has a point."""
        blobs = {blob: id for id in ids if (blob := blob_or_none(id)) is not None}
        found = self._read(lambda: self._short.versions(blobs))
        return {blobs[blob]: version for blob, version in found.items()}

    async def count(self, scope: Scope) -> int:
        """Return the number of points in `scope`."""
        return self._read(lambda: self._short.count(scope))

    async def flush(self) -> None:
        """Write everything to the disk, and empty the write-ahead log when it may hold deleted vectors."""
        async with self._writer:
            if self._unflushed or self._unwiped:
                await asyncio.to_thread(self._read, self._flush)

    async def clear(self, space: Space | None = None) -> None:
        """Throw away all points, and change to `space` when given."""
        await self._write(lambda: self._writing.clear(space), _SHORT_WRITE + 1)
        self._unwiped = True
        self._space = space or self._space
        with self._reader:
            self._matrices.forget(self._space)

    async def check(self) -> None:
        """Read from the file."""
        self._read(self._short.state)

    async def close(self) -> None:
        """Bring everything to the disk and close the file."""
        async with self._writer:
            with suppress(SqliteError):  # the log is read at the next opening
                self._writing.connection.execute(_EMPTY_LOG)
            self._writing.connection.close()
            self._short.connection.close()
            with self._reader:
                self._reading.connection.close()

    def _known_space(self) -> Space:
        if self._space is None:
            raise ConfigError(f"{WHERE}: no embedding says what the vectors of this index are")
        return self._space

    def _scan(self, scope: Scope, vector: Sequence[float], limit: int, among: Sequence[str] | None) -> list[VectorHit]:
        given = np.asarray(vector, np.float64)
        unit = (given / np.linalg.norm(given)).astype(np.float32)
        target = None
        if among is not None:
            blobs = list(dict.fromkeys(blob for id in among if (blob := blob_or_none(id)) is not None))
            target = Target(halves(blobs))
        parts = [matrix.scan(unit, limit, target) for matrix in self._matrices.get(scope)]
        if not parts:
            return []
        cosines = np.concatenate([part[0] for part in parts])
        ids = np.concatenate([part[1] for part in parts])
        versions = np.concatenate([part[2] for part in parts])
        best = np.lexsort((ids[:, 1], ids[:, 0], -cosines))[:limit]
        return [
            VectorHit(id_of(high.to_bytes(8, "big") + low.to_bytes(8, "big")), version, cosine)
            for (high, low), version, cosine in zip(
                ids[best].tolist(), versions[best].tolist(), cosines[best].tolist(), strict=True
            )
        ]

    async def _write(self, write: Callable[[], None], size: int) -> None:
        """Run `write` in a transaction: here when it is small, else in a thread. Waits for other processes."""
        async with self._writer:
            until = time.monotonic() + self._patience
            while not await self._begin():
                if time.monotonic() > until:
                    raise BackendUnavailable(f"{WHERE}: the file is locked by another process")
                await asyncio.sleep(_RETRY_SECONDS)
            if size <= _SHORT_WRITE:
                self._read(lambda: self._commit(write))
            else:
                task = asyncio.ensure_future(asyncio.to_thread(self._read, lambda: self._commit(write)))
                try:
                    await asyncio.shield(task)
                except asyncio.CancelledError:
                    await task  # the transaction is ours until it is over
                    raise

    async def _begin(self) -> bool:
        try:
            self._writing.connection.execute("BEGIN IMMEDIATE")
        except OperationalError as error:
            if error.sqlite_errorcode & 0xFF == SQLITE_BUSY:
                return False
            raise meaning(error, WHERE) from error
        return True

    def _commit(self, write: Callable[[], None]) -> None:
        connection = self._writing.connection
        try:
            write()
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._unflushed = True

    def _flush(self) -> None:
        connection = self._writing.connection
        connection.execute(f"PRAGMA busy_timeout = {int(self._patience * 1000)}")
        try:
            if (self._unwiped or self._log_is_long()) and not connection.execute(_EMPTY_LOG).fetchone()[0]:
                self._unflushed = self._unwiped = False
            if self._unflushed:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("UPDATE meta SET value = value WHERE name = 'num'")
                self._unflushed = False
        finally:
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA busy_timeout = 0")

    def _log_is_long(self) -> bool:
        return self._log.exists() and self._log.stat().st_size > self._log_bytes

    def _read(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except SqliteError as error:
            raise meaning(error, WHERE) from error


@asynccontextmanager
async def open_vectors(config: SqliteConfig, context: OpenContext) -> AsyncIterator[SqliteVectors]:
    """Open the index file. A space of None, or a rebuild, takes what the file holds.

    Raises:
        ConfigError: the index holds vectors of another space, or there is no data directory.
        CorruptData: the file is damaged, another program's or of a newer version; nothing was changed.
        BackendUnavailable: the file is locked or cannot be opened.
    """
    path = file_path(config.vectors_path, context.data_dir, "vectors.sqlite3", WHERE)
    try:
        prepare_file(path, WHERE, create=context.create and not context.read_only)
        vectors = _open(path, config, context)
    except SqliteError as error:
        raise meaning(error, WHERE) from error
    try:
        yield vectors
    finally:
        await vectors.close()


def _open(path: Path, config: SqliteConfig, context: OpenContext) -> SqliteVectors:
    opened: list[Connection] = []
    try:
        for read_only in (context.read_only, True, True):
            opened.append(
                connect(
                    path,
                    timeout=config.busy_timeout,
                    synchronous="NORMAL",
                    cache_kib=_CACHE_KIB,
                    read_only=read_only,
                    page_size=_PAGE_SIZE,
                )
            )
            if len(opened) == 1:
                create = context.create and not context.read_only
                migrate(opened[0], STEPS, application_id=APPLICATION_ID, where=WHERE, create=create)
        space = VectorFile(opened[0]).require_space(None if context.rebuild else context.space)
        opened[0].execute("PRAGMA busy_timeout = 0")  # waiting is done without holding up the event loop
        writing, reading, short = map(VectorFile, opened)
        return SqliteVectors((writing, reading, short), space, config, path)
    except BaseException:
        for connection in opened:
            connection.close()
        raise
