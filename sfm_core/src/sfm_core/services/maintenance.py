"""Reconcile and reindex: make the projections agree with the records, or build them anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from msgspec import Struct

from sfm_core.model.namespace import ALL
from sfm_core.ports.storage import Storage, Stored
from sfm_core.ports.vectors import Space, Vectors
from sfm_core.services.clock import Clock
from sfm_core.services.principal import Principal, Verb
from sfm_core.services.projection import Projection
from sfm_core.services.projector import Projector

__all__ = ["Maintenance", "Progress", "ReconcileReport"]

_BATCH = 1000
_BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)

Progress = Callable[[int, int], None]


class ReconcileReport(Struct, frozen=True, kw_only=True):
    """What a comparison of records and index found, and whether it was mended.

    `missing` have no point, `stale` one of an older version; `orphaned` is the number of points without a live content.
    """

    checked: int
    missing: int
    stale: int
    orphaned: int
    repaired: bool


class _Differences(Struct, frozen=True):
    """What is wrong in one batch of records, and how many points it has in the index."""

    missing: list[Stored]
    stale: list[Stored]
    orphaned: list[Stored]
    points: int


class Maintenance:
    """Keeps the projections true to the records."""

    def __init__(
        self, storage: Storage, projection: Projection, projector: Projector, clock: Clock, space: Space | None
    ) -> None:
        self._storage = storage
        self._projection = projection
        self._projector = projector
        self._clock = clock
        self._space = space

    async def reconcile(
        self, principal: Principal, *, repair: bool = True, progress: Progress | None = None
    ) -> ReconcileReport:
        """Compare every memory with the vector index; with `repair` mend what differs, while others go on writing.

        Args:
            principal: needs `admin` everywhere.
            repair: False only tells.
            progress: called with (checked, total).
        """
        principal.require(Verb.ADMIN, ALL)
        await self._projector.catch_up()
        vectors = self._projection.vectors
        total = await self._total()
        checked = missing = stale = orphaned = points = 0
        async for batch in self._storage.scan(ALL, now=self._clock()):
            found = await _differences(vectors, batch)
            checked, points = checked + len(batch), points + found.points
            missing, stale = missing + len(found.missing), stale + len(found.stale)
            orphaned += len(found.orphaned)
            if repair:
                wrong = [*found.missing, *found.stale, *found.orphaned]
                await self._project(batch if vectors is None else wrong)
            if progress is not None:
                progress(checked, total)
        if vectors is not None:
            if await vectors.count(ALL) > points + (missing if repair else 0) - (orphaned if repair else 0):
                orphaned += await self._unknown(vectors, repair)
            await vectors.flush()
        return ReconcileReport(checked=checked, missing=missing, stale=stale, orphaned=orphaned, repaired=repair)

    async def _unknown(self, vectors: Vectors, repair: bool) -> int:
        """Count (and remove) the points whose memory the storage does not know: of what any vector search can find."""
        if self._space is None:
            return 0
        probe = [1.0, *[0.0] * (self._space.dimension - 1)]
        hits = await vectors.search(ALL, probe, limit=await vectors.count(ALL))
        found = 0
        for start in range(0, len(hits), _BATCH):
            part = hits[start : start + _BATCH]
            stored = await self._storage.locate([hit.id for hit in part])
            lost = [(hit.id, hit.version) for hit, known in zip(part, stored, strict=True) if known is None]
            found += len(lost)
            if repair and lost:
                await vectors.delete(lost)
        return found

    async def reindex(self, principal: Principal, *, progress: Progress | None = None) -> int:
        """Throw the projections away and build them anew with the embedder in force; return how many memories were read.

        If it is broken off, the projector does what is left.
        """
        principal.require(Verb.ADMIN, ALL)
        vectors = self._projection.vectors
        last = await self._storage.last_sequence()
        total, done = await self._total(), 0
        await self._projector.restart()
        try:
            if vectors is not None:
                await vectors.clear(self._space)
            async for batch in self._storage.scan(ALL, now=self._clock()):
                await self._project(batch)
                done += len(batch)
                if progress is not None:
                    progress(done, total)
            await self._projector.passed(last)
        finally:
            self._projector.kick()
        return done

    async def _project(self, batch: Sequence[Stored]) -> None:
        live = [s.memory for s in batch if not s.deleted]
        gone = [(s.memory.id, s.memory.version) for s in batch if s.deleted]
        await self._projection.apply(live, gone)

    async def _total(self) -> int:
        stats = await self._storage.namespaces(ALL, now=_BEFORE_ALL)  # a scan meets what has expired, too
        return sum(s.memories + s.deleted for s in stats)


async def _differences(vectors: Vectors | None, batch: Sequence[Stored]) -> _Differences:
    if vectors is None:
        return _Differences([], [], [], 0)
    have = await vectors.versions([s.memory.id for s in batch])
    texts = [s for s in batch if not s.deleted and s.memory.content is not None]
    others = [s for s in batch if s.deleted or s.memory.content is None]
    return _Differences(
        missing=[s for s in texts if s.memory.id not in have],
        stale=[s for s in texts if have.get(s.memory.id, s.memory.version) < s.memory.version],
        orphaned=[s for s in others if s.memory.id in have],
        points=len(have),
    )
