"""Reconcile and reindex: make the projections agree with the records, or build them anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from sfm_core.model.namespace import ALL
from sfm_core.ports.storage import Storage, Stored
from sfm_core.ports.vectors import Space, Vectors
from sfm_core.services.clock import Clock
from sfm_core.services.principal import Principal, Verb
from sfm_core.services.projector import Projection, Projector

__all__ = ["Maintenance", "Progress", "ReconcileReport"]

Progress = Callable[[int, int], None]


class ReconcileReport(Struct, frozen=True, kw_only=True):
    """What a comparison of records and index found, and whether it was mended.

    `missing` have no point, `stale` one of another version, `orphaned` is the number of points without a live memory.
    """

    checked: int
    missing: int
    stale: int
    orphaned: int
    repaired: bool


class Maintenance:
    """Keeps the projections true to the records."""

    def __init__(
        self,
        storage: Storage,
        projection: Projection,
        projector: Projector | None,
        clock: Clock,
        space: Space | None,
    ) -> None:
        self._storage = storage
        self._projection = projection
        self._projector = projector
        self._clock = clock
        self._space = space

    async def reconcile(
        self, principal: Principal, *, repair: bool = True, progress: Progress | None = None
    ) -> ReconcileReport:
        """Compare every live memory with the vector index; with `repair` mend what differs.

        Args:
            principal: needs `admin` everywhere.
            repair: False only tells.
            progress: called with (checked, total).
        """
        principal.require(Verb.ADMIN, ALL)
        if self._projector is not None:
            await self._projector.catch_up()
        vectors = self._projection.vectors
        total = await self._total()
        checked = missing = stale = expected = 0
        async for batch in self._storage.scan(ALL, now=self._clock()):
            lost, old, texts = await self._differences(vectors, batch)
            checked, missing, stale, expected = (
                checked + len(batch),
                missing + len(lost),
                stale + len(old),
                expected + texts,
            )
            if repair:
                await self._project(batch if vectors is None else [*lost, *old])
            if progress is not None:
                progress(checked, total)
        orphaned = 0
        if vectors is not None:
            orphaned = max(0, await vectors.count(ALL) - expected + (0 if repair else missing))
            if repair and orphaned:
                await self._rebuild(vectors, progress)
            await vectors.flush()
        return ReconcileReport(checked=checked, missing=missing, stale=stale, orphaned=orphaned, repaired=repair)

    async def reindex(self, principal: Principal, *, progress: Progress | None = None) -> int:
        """Throw the projections away and build them anew with the embedder in force; return how many memories were read."""
        principal.require(Verb.ADMIN, ALL)
        return await self._rebuild(self._projection.vectors, progress)

    async def _rebuild(self, vectors: Vectors | None, progress: Progress | None) -> int:
        if vectors is not None:
            await vectors.clear(self._space)
        last = await self._storage.last_sequence()
        total, done = await self._total(), 0
        async for batch in self._storage.scan(ALL, now=self._clock()):
            await self._project(batch)
            done += len(batch)
            if progress is not None:
                progress(done, total)
        if vectors is not None:
            await vectors.flush()
        if self._projector is not None:
            await self._storage.save_cursor(self._projector.name, last)
        return done

    async def _project(self, batch: Sequence[Stored]) -> None:
        live = [s.memory for s in batch if not s.deleted]
        gone = [(s.memory.id, s.memory.version) for s in batch if s.deleted]
        await self._projection.apply(live, gone)

    async def _differences(
        self, vectors: Vectors | None, batch: Sequence[Stored]
    ) -> tuple[list[Stored], list[Stored], int]:
        if vectors is None:
            return [], [], 0
        have = await vectors.versions([s.memory.id for s in batch])
        texts = [s for s in batch if not s.deleted and s.memory.content is not None]
        lost = [s for s in texts if s.memory.id not in have]
        old = [s for s in texts if have.get(s.memory.id, s.memory.version) != s.memory.version]
        dead = [s for s in batch if s.deleted and s.memory.id in have]
        return lost, [*old, *dead], len(texts)

    async def _total(self) -> int:
        stats = await self._storage.namespaces(ALL)
        return sum(s.memories + s.deleted for s in stats)
