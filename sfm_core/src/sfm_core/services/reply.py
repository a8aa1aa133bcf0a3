"""From a ranking to the answer: memories are read, checked once more, filled up to k, scored and explained."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import UNSET, Struct

from sfm_core.model.filter import FieldTest, Filter, all_of
from sfm_core.model.memory import Memory
from sfm_core.model.query import Answer, Explain, Hit
from sfm_core.ports.storage import Order, Storage
from sfm_core.services.arms import Found
from sfm_core.services.asked import Asked
from sfm_core.services.copies import Copies
from sfm_core.services.ranking import Ranking, relative
from sfm_core.text.analysis import Analyser

__all__ = ["AUTHOR", "NEWEST", "THREAD", "Ranked", "Replies", "answer"]

AUTHOR, THREAD, NEWEST = "author", "thread", "newest"
"""What `Explain.arms` names for a memory that no arm found: one of a named author, a neighbour of a hit, or one that only
fills the answer."""


class Ranked(Struct, frozen=True):
    """Ranked candidates of a question.

    Attributes:
        ranking: the candidates and their scores.
        found: what each arm found.
        stems: index terms that stood for words of the question.
        authors: whom the question names; their newest memories fill the answer first.
    """

    ranking: Ranking
    found: Found
    stems: Collection[str]
    authors: frozenset[str]


class Replies:
    """Builds answers out of what the storage holds now."""

    def __init__(self, storage: Storage, copies: Copies | None = None) -> None:
        self._storage = storage
        self._copies = copies

    async def build(self, asked: Asked, ranked: Ranked, analyser: Analyser) -> Answer:
        """Return the answer to `asked`: the best `k` that are still there, then the newest memories of the scope."""
        kept = await self._kept(asked, ranked.ranking)
        best = kept[0][1] if kept else 0.0
        hits = [self._hit(asked, memory, total, best, ranked, analyser) for memory, total in kept]
        if len(hits) < asked.query.k:
            newest = await self._newest(asked, ranked.authors, {memory.id for memory, _ in kept})
            explain = Explain(total=0.0, parts=(), arms=(NEWEST,)) if asked.query.explain else UNSET
            hits += [Hit(memory=memory, score=0.0, explain=explain) for memory in newest]
        return answer(asked, hits, ranked.found.missing, ranked.found.ms)

    async def _kept(self, asked: Asked, ranking: Ranking) -> list[tuple[Memory, float]]:
        order = ranking.order()
        kept: list[tuple[Memory, float]] = []
        at = 0
        while (wanted := asked.query.k - len(kept)) > 0 and at < len(order):
            part = order[at : at + wanted]
            at += wanted
            memories = await self._read(asked, [id for id, _ in part], ranking)
            for memory, (_, total) in zip(memories, part, strict=True):
                if memory is not None and asked.passes(memory):
                    kept.append((memory, total))
        return kept

    async def _read(self, asked: Asked, ids: Sequence[str], ranking: Ranking) -> list[Memory | None]:
        if self._copies is None or asked.as_of is not None:
            return await self._storage.get(ids, now=asked.now, as_of=asked.as_of)
        return await self._copies.read(ids, ranking.candidates, now=asked.now)

    async def _newest(self, asked: Asked, authors: frozenset[str], known: Collection[str]) -> list[Memory]:
        found: dict[str, Memory] = {}
        wanted = asked.query.k - len(known)
        if authors:
            named = FieldTest("author", (), "in", tuple(sorted(authors)))
            found.update(await self._list(asked, all_of(asked.filter, named), known))
        if len(found) < wanted:
            found = {**found, **await self._list(asked, asked.filter, known)}
        return list(found.values())[:wanted]

    async def _list(self, asked: Asked, filter: Filter | None, known: Collection[str]) -> dict[str, Memory]:
        page = await self._storage.list(
            asked.scope,
            filter=filter,
            order=Order.CREATED_AT_DESC,
            limit=asked.query.k,
            after=None,
            now=asked.now,
            as_of=asked.as_of,
        )
        return {memory.id: memory for memory in page.memories if memory.id not in known}

    def _hit(self, asked: Asked, memory: Memory, total: float, best: float, ranked: Ranked, analyser: Analyser) -> Hit:
        score = relative(total, best)
        if not asked.query.explain:
            return Hit(memory=memory, score=score)
        other = AUTHOR if memory.author in ranked.authors else THREAD
        words = analyser.analyse(memory.content, None).words
        explain = Explain(
            total=total,
            parts=ranked.ranking.parts(memory.id),
            arms=tuple(arm for arm, scores in ranked.found.scores.items() if memory.id in scores) or (other,),
            matched=tuple(sorted(word for word, stem in words if stem in ranked.stems)),
        )
        return Hit(memory=memory, score=score, explain=explain)


def answer(asked: Asked, hits: Sequence[Hit], partial: tuple[str, ...], ms: dict[str, float]) -> Answer:
    """Return the answer with those of `hits` that reach `min_score`."""
    least = asked.query.min_score
    if least is not None:
        hits = [hit for hit in hits if hit.score >= least]
    return Answer(
        hits=tuple(hits),
        partial=partial,
        took_ms=asked.elapsed_ms(),
        arms_ms=ms if asked.query.explain else UNSET,
    )
