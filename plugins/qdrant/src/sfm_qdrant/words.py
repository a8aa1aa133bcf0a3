"""BM25 over sparse vectors: the engine knows how rare a term is (modifier IDF), the rest is here.

A point's weight of a term is `tf (k1 + 1) / (tf + k1 (1 - b + b length / average))` with k1 = 0.9 and b = 0.25 (Robertson,
Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009); the engine multiplies with
`idf = ln(1 + (N - df + 0.5) / (df + 0.5))` over the whole collection and adds up. The average is a setting: it would change
with every write, and b is small. A term's number is a hash of 32 bits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b

from msgspec import Struct

from sfm_core.ports.abilities import TextQuery
from sfm_qdrant.engine import Found, Sparse

__all__ = ["Question", "number_of", "read_query", "weigh"]

_K1, _B = 0.9, 0.25

Weights = dict[int, float]


class Question(Struct, frozen=True):
    """A query's terms by number: what to ask for, and the groups of which only the best alternative may count."""

    asked: Sparse
    groups: tuple[Weights, ...]

    @property
    def alternatives(self) -> tuple[int, ...]:
        """Return the terms whose rarity must be known to tell which alternative is the best."""
        return tuple(sorted({term for group in self.groups for term in group}))

    def score(self, found: Found, rarity: Mapping[int, float]) -> float:
        """Return the score of `found` with each group counted once, by its best alternative."""
        if not self.groups or found.words is None:
            return found.score
        held = dict(zip(found.words.indices, found.words.values, strict=True))
        score = found.score
        for group in self.groups:
            parts = [w * rarity.get(term, 0.0) * held[term] for term, w in group.items() if term in held]
            if len(parts) > 1:
                score -= sum(parts) - max(parts)
        return score


@lru_cache(maxsize=65_536)
def number_of(term: str) -> int:
    """Return the number that stands for a term."""
    return int.from_bytes(blake2b(term.encode(), digest_size=4).digest(), "big")


def weigh(terms: Sequence[str], average: float) -> Sparse | None:
    """Return the weights of a memory's terms (with repeats), None when it has none."""
    if not terms:
        return None
    norm = _K1 * (1 - _B + _B * len(terms) / average)
    counts = Counter(map(number_of, terms))
    indices = sorted(counts)
    return Sparse(indices, [counts[index] * (_K1 + 1) / (counts[index] + norm) for index in indices])


def read_query(query: TextQuery) -> Question | None:
    """Return what to ask for, None when there are no terms."""
    total: Weights = {}
    groups: list[Weights] = []
    for group in query.groups:
        weights: Weights = {}
        for term, weight in group.alternatives:
            number = number_of(term)
            weights[number] = max(weight, weights.get(number, 0.0))
        for number, weight in weights.items():
            total[number] = total.get(number, 0.0) + weight
        if len(weights) > 1:
            groups.append(weights)
    if not total:
        return None
    indices = sorted(total)
    return Question(Sparse(indices, [total[index] for index in indices]), tuple(groups))
