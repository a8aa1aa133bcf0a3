"""The engine in this process: one shard in one folder, one process at a time.

Everything runs one after the other, so that comparing versions and storing are one step: what takes long on a thread of its
own, what is short (as the searches before it were) at once while that thread has nothing to do. There is no write-ahead log:
what was flushed is durable, as the port wants it, and an erased vector does not live on in a log.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

import qdrant_edge as q

from sfm_core.errors import ConfigError
from sfm_core.plugins.types import OpenContext
from sfm_core.ports.vectors import Space
from sfm_qdrant.conditions import Condition
from sfm_qdrant.config import QdrantConfig
from sfm_qdrant.edge_requests import filter_of, found_in, index_schema, point_of, query_of, shard_config
from sfm_qdrant.engine import DENSE, Ask, Found, Row
from sfm_qdrant.failures import translated
from sfm_qdrant.folder import Folder
from sfm_qdrant.payload import INDEXES, LIVE
from sfm_qdrant.vectors import QdrantVectors

__all__ = ["EdgeEngine", "open_edge"]

T = TypeVar("T")

_ROWS = 1000
_SHORT_ROWS, _SHORT = 16, 0.001
_CALM = 0.5
"""How much of the longest search is still expected after each shorter one."""


@asynccontextmanager
async def open_edge(config: QdrantConfig, context: OpenContext) -> AsyncIterator[QdrantVectors]:
    """Yield the index in the folder of `config.path`, by default `qdrant` in the data directory.

    Raises:
        ConfigError: another process has it open, it is of another space, or it is missing and may not be created.
    """
    base = config.path or (context.data_dir or Path()) / "qdrant"
    engine = EdgeEngine(Folder(base))
    try:
        await engine.open(context)
        yield QdrantVectors(engine, space=context.space, average_terms=config.average_terms)
    finally:
        await engine.close()


class EdgeEngine:
    """One shard, and the folder that names it."""

    walks = False

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sfm-qdrant")
        self._shard: Any = None
        self._dimension = 0
        self._waiting = 0
        self._longest = 0.0

    async def open(self, context: OpenContext) -> None:
        """Load the shard, or build the first one."""
        await self._run(lambda: self._open(context))

    async def write(self, rows: Sequence[Row], *, deletions: bool) -> None:
        """Store rows: see `Engine`."""
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            short = len(part) <= _SHORT_ROWS
            await self._run(lambda part=part: self._write(part, deletions), short=short)  # type: ignore[misc]

    async def read(self, ids: Sequence[str], fields: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
        """Return payloads by id: see `Engine`."""
        return await self._run(lambda: self._read(ids, fields), short=len(ids) <= _SHORT_ROWS)

    async def search(self, asks: Sequence[Ask]) -> list[list[Found]]:
        """Answer all of `asks` in one pass."""
        request = q.QueryBatchRequest([query_of(ask) for ask in asks])
        answers = await self._run(lambda: self._ask(request), short=self._longest <= _SHORT)
        return [found_in(answer) for answer in answers]

    async def count(self, where: Condition) -> int:
        """Return the exact number of points."""
        request = q.CountRequest(filter=filter_of(where), exact=True)
        return await self._run(lambda: int(self._shard.count(request)))

    async def flush(self) -> None:
        """Write everything to disk."""
        await self._run(lambda: self._shard.flush())

    async def clear(self, space: Space | None) -> None:
        """Build an empty shard, name it the current one, and remove the one before."""
        await self._run(lambda: self._clear(space))

    async def check(self) -> None:
        """Ask the shard what it holds."""
        await self._run(lambda: self._shard.info())

    async def close(self) -> None:
        """Flush and close the shard; the folder is free again."""
        try:
            await self._run(self._close)
        finally:
            self._thread.shutdown(wait=False)

    async def _run(self, call: Callable[[], T], *, short: bool = False) -> T:
        try:
            if short and not self._waiting:
                return call()
            return await self._on_thread(call)
        except Exception as error:  # noqa: BLE001  each becomes one of ours; the engine's text may hold content
            raise translated(error) from None

    async def _on_thread(self, call: Callable[[], T]) -> T:
        def done(_: object) -> None:
            self._waiting -= 1

        self._waiting += 1
        # Counted down when the thread has finished, although nobody may wait for it any more.
        work = asyncio.get_running_loop().run_in_executor(self._thread, call)
        work.add_done_callback(done)
        return await asyncio.shield(work)

    def _open(self, context: OpenContext) -> None:
        self._folder.lock()
        current = self._folder.current(context.space, rebuild=context.rebuild)
        if current is not None:
            self._shard = q.EdgeShard.load(str(current))
            self._dimension = self._folder.dimension
            return
        if not context.create:
            raise ConfigError("qdrant/vectors: there is no index in the folder; `sfm migrate` creates it")
        self._build(context.space)

    def _build(self, space: Space | None) -> None:
        target = self._folder.path / f"shard-{token_hex(4)}"
        target.mkdir()
        shard = q.EdgeShard.create(str(target), shard_config(space))
        for key, kind in INDEXES.items():
            shard.update(q.UpdateOperation.create_field_index(key, index_schema(kind)))
        shard.flush()
        self._folder.switch(target, space)
        self._shard = shard
        self._dimension = 0 if space is None else space.dimension

    def _clear(self, space: Space | None) -> None:
        old, before = self._shard, self._folder.shard
        self._build(space)
        old.close()
        if before is not None:
            shutil.rmtree(before)

    def _close(self) -> None:
        try:
            if self._shard is not None:
                self._shard.flush()
                self._shard.close()
        finally:
            self._folder.unlock()

    def _ask(self, request: Any) -> list[Any]:
        began = time.perf_counter()
        answers: list[Any] = self._shard.query_batch(request)
        self._longest = max(time.perf_counter() - began, _CALM * self._longest)
        return answers

    def _read(self, ids: Sequence[str], fields: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
        records = self._shard.retrieve(list(ids), list(fields), False)
        return {str(record.id): record.payload or {} for record in records}

    def _write(self, rows: Sequence[Row], deletions: bool) -> None:
        stored = self._read([row.id for row in rows], ("state", "version"))
        least = {id: payload["version"] + (0 if deletions else 1) for id, payload in stored.items()}
        newer = [row for row in rows if row.version >= least.get(row.id, 0)]
        bare = [row.id for row in newer if row.dense is None and stored.get(row.id, {}).get("state") == LIVE]
        self._blank(bare)
        if newer:
            self._shard.update(q.UpdateOperation.upsert_points([point_of(row) for row in newer]))

    def _blank(self, ids: Sequence[str]) -> None:
        """Write over the vectors of points that will have none: the engine would only mark them as deleted."""
        if not ids or not self._dimension:
            return
        records = self._shard.retrieve(list(ids), False, [DENSE])
        blank: dict[str, Any] = {DENSE: [1.0, *[0.0] * (self._dimension - 1)]}
        points = [q.PointVectors(record.id, blank) for record in records if record.vector]
        if points:
            self._shard.update(q.UpdateOperation.update_vectors(points))
