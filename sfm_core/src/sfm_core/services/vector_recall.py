"""Recall by a given vector: the order is that of the cosine and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from sfm_core.errors import CapabilityNotSupported
from sfm_core.model.memory import Memory
from sfm_core.model.query import Answer, Explain, Hit, Part
from sfm_core.ports.storage import Storage
from sfm_core.services.arms import VECTORS, Scores, run
from sfm_core.services.asked import Asked
from sfm_core.services.checks import check_vector
from sfm_core.services.reply import answer
from sfm_core.services.vector_arm import VectorArm, unit

__all__ = ["VectorRecall"]

_ABSENT = (
    "recall/vectors: this plan has no vector search; install an embedding plugin (sfm-plugin-minilm) and name it in "
    "SFM_EMBEDDING, or give open_memory(embed=...)"
)


class VectorRecall:
    """Answers vector queries; `indexed` tells whether the index holds the whole change log."""

    def __init__(
        self, storage: Storage, arm: VectorArm | None, dimension: int | None, indexed: Callable[[], Awaitable[bool]]
    ) -> None:
        self._storage = storage
        self._arm = arm
        self._dimension = dimension
        self._indexed = indexed

    async def recall(self, asked: Asked, vector: Sequence[float], partial: tuple[str, ...]) -> Answer:
        """Return the `k` nearest memories; the score is (1 + cosine) / 2."""
        if self._arm is None:
            raise CapabilityNotSupported(_ABSENT)
        check_vector(vector, "vector", dimension=self._dimension)
        nearest: list[tuple[Memory, float]] = []
        arm = self._arm

        async def search() -> Scores:
            nearest[:] = await self._nearest(arm, asked, unit(vector))
            return {}

        found = await run({VECTORS: search}, asked.left(), may_fail=frozenset({VECTORS}))
        if len(nearest) < asked.query.k and not found.missing and not partial and not await self._indexed():
            partial = ("index_lag",)
        hits = [_hit(asked, memory, cosine) for memory, cosine in nearest]
        return answer(asked, hits, (*partial, *found.missing), found.ms)

    async def _nearest(self, arm: VectorArm, asked: Asked, vector: Sequence[float]) -> list[tuple[Memory, float]]:
        """Return the nearest memories whose vector is of their present version, fetching more while some were not."""
        limit = asked.query.k
        while True:
            hits = await arm.search(asked, vector, limit)
            memories = await self._storage.get([hit.id for hit in hits], now=asked.now)
            fresh = [
                (memory, hit.cosine)
                for hit, memory in zip(hits, memories, strict=True)
                if memory is not None and memory.version == hit.version and asked.passes(memory)
            ]
            if len(fresh) >= asked.query.k or len(hits) < limit:
                return fresh[: asked.query.k]
            limit *= 2


def _hit(asked: Asked, memory: Memory, cosine: float) -> Hit:
    score = min(1.0, max(0.0, (1.0 + cosine) / 2.0))
    if not asked.query.explain:
        return Hit(memory=memory, score=score)
    explain = Explain(total=cosine, parts=(Part("cosine", cosine, 1.0, cosine),), arms=(VECTORS,))
    return Hit(memory=memory, score=score, explain=explain)
