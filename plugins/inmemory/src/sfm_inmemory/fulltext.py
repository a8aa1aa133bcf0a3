"""BM25 by the formula of the storage port, in plain Python over every document of the scope."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from sfm_core.ports.storage import TextHit, TextQuery

__all__ = ["Document", "rank"]

K1 = 0.9
B = 0.25


class Document(Struct, frozen=True):
    """What is ranked: how often it holds each term, and how many terms that is in all."""

    id: str
    terms: Mapping[str, int]
    length: int


def rank(documents: Sequence[Document], query: TextQuery, passing: Iterable[str], limit: int) -> list[TextHit]:
    """Score `documents` (the whole scope) and return the best `limit` hits whose id is among `passing`."""
    terms = {term for group in query.groups for term, _ in group.alternatives}
    idf = {term: _idf(len(documents), sum(term in one.terms for one in documents)) for term in terms}
    total = sum(one.length for one in documents)
    mean = total / len(documents) if total else 1.0
    allowed = set(passing)
    hits = [TextHit(one.id, _score(one, query, idf, mean)) for one in documents if one.id in allowed]
    return sorted((hit for hit in hits if hit.score > 0), key=lambda hit: (-hit.score, hit.id))[:limit]


def _idf(documents: int, holding: int) -> float:
    return math.log(1 + (documents - holding + 0.5) / (holding + 0.5))


def _score(document: Document, query: TextQuery, idf: dict[str, float], mean: float) -> float:
    norm = K1 * (1 - B + B * document.length / mean)

    def weigh(term: str) -> float:
        count = document.terms.get(term, 0)
        return idf[term] * count * (K1 + 1) / (count + norm) if count else 0.0

    return sum(max((weight * weigh(t) for t, weight in group.alternatives), default=0.0) for group in query.groups)
