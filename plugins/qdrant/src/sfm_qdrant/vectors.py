"""The vectors port on a Qdrant engine: nearest vectors and words, filters before top-k, versions that only rise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from sfm_core.errors import CapabilityNotSupported, InvalidInput
from sfm_core.model.filter import Filter, matches
from sfm_core.model.namespace import Scope
from sfm_core.ports.abilities import TextHit, TextQuery
from sfm_core.ports.vectors import Point, Space, VectorHit
from sfm_qdrant.conditions import NOTHING, Ids, all_of
from sfm_qdrant.engine import DENSE, WORDS, Ask, Engine, Found, Row, Sparse
from sfm_qdrant.filters import compile_filter
from sfm_qdrant.payload import LIVE, live, of_scope, tombstone, whole
from sfm_qdrant.words import read_query, weigh

__all__ = ["QdrantVectors"]

_COSINE_DIGITS, _SCORE_DIGITS = 6, 5  # single precision differs behind them between equal points; ties are by id
_LEAST_SCORE = 10.0**-_SCORE_DIGITS
"""Of words that are nearly everywhere. Some servers count what is deleted as well, and give them less than nothing."""
_AHEAD = {DENSE: 1, WORDS: 4}
"""So many more are fetched than asked for, so that ties at the edge can be told; those of words are common."""
_MOST_TIES = 1000
_GROWTH = 4
_SURPLUS = 2
"""By so much more is fetched where alternatives of a word are told apart afterwards."""

_SHORTEST, _LONGEST = 1e-9, 1e9

_VERSION = ("version",)
_WHOLE = ("version", "memory")

Score = Callable[[Found], float]


class QdrantVectors:
    """Vectors and words of memories in one collection.

    Args:
        engine: where it is kept.
        space: what its vectors are; None for words alone.
        average_terms: the average number of terms, for the length normalisation of BM25.
    """

    def __init__(self, engine: Engine, *, space: Space | None, average_terms: float) -> None:
        self._engine = engine
        self._space = space
        self._average = average_terms

    async def upsert(self, points: Sequence[Point]) -> None:
        """Store points; older versions than the stored or deleted one change nothing."""
        newest: dict[str, Point] = {}
        for point in points:
            if point.id not in newest or newest[point.id].version < point.version:
                newest[point.id] = point
        rows = [self._row(point) for point in newest.values()]
        if rows:
            await self._engine.write(rows, deletions=False)

    async def delete(self, ids: Sequence[tuple[str, int]]) -> None:
        """Leave a point without vectors in the place of each, which remembers the version; a newer point stays."""
        newest: dict[str, int] = {}
        for id, version in ids:
            newest[id] = max(version, newest.get(id, 0))
        rows = [Row(id, version, tombstone(version)) for id, version in newest.items()]
        if rows:
            await self._engine.write(rows, deletions=True)

    async def search(
        self,
        scope: Scope,
        vector: Sequence[float],
        *,
        limit: int,
        among: Sequence[str] | None = None,
        filter: Filter | None = None,
    ) -> list[VectorHit]:
        """Return the nearest points: see the port. Beyond a thousand equal ones at the edge, any of them come."""
        if self._space is None:
            raise CapabilityNotSupported("qdrant/vectors: this index was opened for words alone, it has no vectors")
        # No graph leads from one namespace to another.
        exact = not self._engine.walks or (scope.subtree and not scope.namespace)
        ask = Ask(using=DENSE, vector=_sendable(vector), where=NOTHING, limit=limit, exact=exact)
        found = await self._found(ask, scope, filter, limit, lambda hit: round(hit.score, _COSINE_DIGITS), among)
        return [VectorHit(hit.id, hit.payload["version"], score) for hit, score in found]

    async def search_text(
        self, scope: Scope, query: TextQuery, *, limit: int, filter: Filter | None = None
    ) -> list[TextHit]:
        """Return the points that hold most of what is rare of the query: see `sfm_qdrant.words`."""
        question = read_query(query)
        if question is None:
            return []
        asks = [_alternative(term, scope) for term in question.alternatives]
        rarity: dict[int, float] = {}

        def learn(answers: Sequence[Sequence[Found]]) -> None:
            rarity.update(_rarity(question.alternatives, answers))

        found = await self._found(
            Ask(using=WORDS, vector=question.asked, where=NOTHING, limit=limit, with_words=bool(asks)),
            scope,
            filter,
            limit * _SURPLUS if asks else limit,
            lambda hit: round(question.score(hit, rarity), _SCORE_DIGITS),
            beside=asks,
            learn=learn,
        )
        return [TextHit(hit.id, max(score, _LEAST_SCORE)) for hit, score in found[:limit] if hit.score != 0]

    async def versions(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the stored version of each of `ids` that has a point."""
        if not ids:
            return {}
        found = await self._engine.read(list(dict.fromkeys(ids)), ("state", "version"))
        return {id: payload["version"] for id, payload in found.items() if payload.get("state") == LIVE}

    async def count(self, scope: Scope) -> int:
        """Return the number of points in `scope`."""
        return await self._engine.count(of_scope(scope))

    async def flush(self) -> None:
        """Make everything before this call durable."""
        await self._engine.flush()

    async def clear(self, space: Space | None = None) -> None:
        """Put an empty index in the place of this one, of `space` when given."""
        self._space = space or self._space
        await self._engine.clear(self._space)

    async def check(self) -> None:
        """Ask for a sign of life."""
        await self._engine.check()

    def _row(self, point: Point) -> Row:
        vector = None if point.vector is None else _sendable(point.vector)
        return Row(point.id, point.version, live(point), vector, weigh(point.terms, self._average))

    async def _found(
        self,
        ask: Ask,
        scope: Scope,
        filter: Filter | None,
        limit: int,
        score: Score,
        among: Sequence[str] | None = None,
        beside: Sequence[Ask] = (),
        learn: Callable[[Sequence[Sequence[Found]]], None] = lambda _: None,
    ) -> list[tuple[Found, float]]:
        """Return at most `limit` that pass, best first, ties by id, with their scores.

        More and more are fetched while too few of them pass what the engine could not decide, or while those at the edge tie;
        without the graph in the end, if it led to too few.
        What is asked `beside` goes along with the first request; `learn` gets the answers before anything is scored.
        """
        bounds = compile_filter(filter)
        restriction = [] if among is None else [Ids(tuple(dict.fromkeys(among))) if among else NOTHING]
        where = all_of([of_scope(scope), bounds.upper, *restriction])
        if where == NOTHING or limit <= 0:
            return []
        fields = _VERSION if bounds.exact else _WHOLE
        wanted = limit + _AHEAD[ask.using]
        also = beside
        while True:
            found, *others = await self._engine.search([replace(ask, where=where, limit=wanted, fields=fields), *also])
            if also:
                learn(others)
                also = ()
            passing = found if bounds.exact else [hit for hit in found if matches(filter, whole(hit.payload["memory"]))]
            ranked = sorted(((hit, score(hit)) for hit in passing), key=lambda pair: (-pair[1], pair[0].id))
            if len(found) < wanted:
                if len(ranked) >= limit or ask.exact or ask.using != DENSE:
                    return ranked[:limit]
                # A walk of the graph may end before it has met all that pass.
                ask = replace(ask, exact=True)
                continue
            enough = bool(beside) or wanted > limit + _MOST_TIES
            if len(ranked) >= limit and (enough or ranked[limit - 1][1] > score(found[-1])):
                return ranked[:limit]
            wanted *= _GROWTH


def _alternative(term: int, scope: Scope) -> Ask:
    """Return what asks for one point that holds a term."""
    return Ask(using=WORDS, vector=Sparse([term], [1.0]), where=of_scope(scope), limit=1, with_words=True)


def _rarity(terms: Sequence[int], answers: Sequence[Sequence[Found]]) -> dict[int, float]:
    """Return how much the engine makes of each term: its score of a point, by the weight that the term has there."""
    known: dict[int, float] = {}
    for term, found in zip(terms, answers, strict=True):
        for hit in found:
            if hit.words is not None and term in hit.words.indices:
                known[term] = hit.score / hit.words.values[hit.words.indices.index(term)]
    return known


def _sendable(vector: Iterable[float]) -> list[float]:
    """Return a vector of the same direction that single precision can square.

    Raises:
        InvalidInput: a number is not finite; the server itself takes NaN over gRPC, and ranks it first.
    """
    numbers = list(map(float, vector))
    if _SHORTEST < math.hypot(*numbers) < _LONGEST:
        return numbers
    if not all(map(math.isfinite, numbers)):
        raise InvalidInput.of("vector", "a number that is not finite", "finite numbers")
    largest = max(map(abs, numbers), default=0.0)
    return [number / largest for number in numbers] if largest else numbers
