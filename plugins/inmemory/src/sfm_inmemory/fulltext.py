"""BM25 by the formula of the port, in plain Python over every live memory of the scope."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from sfm_core.ports.storage import TextHit, TextQuery
from sfm_inmemory.state import Record

__all__ = ["rank"]

K1 = 0.9
B = 0.25


def rank(records: Sequence[Record], query: TextQuery, passing: Iterable[str], limit: int) -> list[TextHit]:
    """Score `records` (the whole scope) and return the best `limit` hits whose id is among `passing`."""
    terms = {term for group in query.groups for term, _ in group.alternatives}
    idf = {term: _idf(len(records), sum(term in record.terms for record in records)) for term in terms}
    total = sum(len(record.analysis.stems) for record in records)
    mean = total / len(records) if total else 1.0
    allowed = set(passing)
    hits = [TextHit(r.memory.id, _score(r, query, idf, mean)) for r in records if r.memory.id in allowed]
    return sorted((hit for hit in hits if hit.score > 0), key=lambda hit: (-hit.score, hit.id))[:limit]


def _idf(documents: int, holding: int) -> float:
    return math.log(1 + (documents - holding + 0.5) / (holding + 0.5))


def _score(record: Record, query: TextQuery, idf: dict[str, float], mean: float) -> float:
    norm = K1 * (1 - B + B * len(record.analysis.stems) / mean)

    def weigh(term: str) -> float:
        count = record.terms.get(term, 0)
        return idf[term] * count * (K1 + 1) / (count + norm) if count else 0.0

    return sum(max((weight * weigh(t) for t, weight in group.alternatives), default=0.0) for group in query.groups)
