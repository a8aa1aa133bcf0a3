"""BM25 over shelves: exact, by the formula of `sfm_core.ports.storage.FullText.search_text`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from sfm_core.ports.storage import TextQuery
from sfm_sqlite.postings import Hits, together
from sfm_sqlite.shelf import View

__all__ = ["Ranked", "rank"]

K1 = 0.9
B = 0.25

T = TypeVar("T", bound=np.generic)
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Ranked(Struct, frozen=True):
    """Documents with a score above 0, in no order: record numbers, ids (two 64-bit halves a row) and scores."""

    nums: Ints
    ids: NDArray[np.uint64]
    scores: Floats

    def best(self, limit: int) -> Ints:
        """Return the places of the best `limit`, best first, ties by id."""
        scores = self.scores
        places: Ints = np.arange(len(scores))
        if 0 < limit < len(scores):
            least = np.partition(scores, len(scores) - limit)[len(scores) - limit]
            places = np.flatnonzero(scores >= least)
        order = np.lexsort((self.ids[places, 1], self.ids[places, 0], -scores[places]))
        return places[order][:limit]


def rank(views: Sequence[View], query: TextQuery, numbers: dict[str, int]) -> Ranked:
    """Score every live document of `views` that holds a term of `query`.

    BM25: Robertson, Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with the floor of idf that
    Lucene uses: idf = ln(1 + (N - df + 0.5) / (df + 0.5)).
    """
    asked = sorted(set(numbers.values()))
    offsets = np.cumsum([0, *(len(view.nums) for view in views)]).tolist()
    live = _joined([view.live for view in views])
    lengths = _joined([view.lengths for view in views])
    found = together([hits for view, offset in zip(views, offsets, strict=False) for hits in view.find(asked, offset)])
    kept = np.flatnonzero(live[found.places])
    hits = Hits(found.places[kept], found.slots[kept], found.counts[kept])
    documents, total = int(np.count_nonzero(live)), int(lengths[live].sum())
    holding = np.bincount(hits.slots, minlength=len(asked))
    idf = np.log(1 + (documents - holding + 0.5) / (holding + 0.5))
    norm = K1 * (1 - B + B * lengths[hits.places] * (documents / total if total else 0.0))
    parts = idf[hits.slots] * hits.counts * (K1 + 1) / (hits.counts + norm)
    scores = _sum_of_groups(hits, parts, _weights(query, numbers, asked), offsets[-1])
    places = np.flatnonzero(scores > 0)
    return Ranked(
        _joined([view.nums for view in views])[places], _joined([view.ids for view in views])[places], scores[places]
    )


def _joined(arrays: Sequence[NDArray[T]]) -> NDArray[T]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _weights(query: TextQuery, numbers: dict[str, int], asked: Sequence[int]) -> list[Floats]:
    """Return, for each group, the weight of every slot (0 for those outside the group)."""
    slots = {number: slot for slot, number in enumerate(asked)}
    groups = []
    for group in query.groups:
        weights = np.zeros(len(asked))
        for term, weight in group.alternatives:
            if term in numbers:
                slot = slots[numbers[term]]
                weights[slot] = max(weights[slot], weight)
        groups.append(weights)
    return groups


def _sum_of_groups(hits: Hits, parts: Floats, groups: Sequence[Floats], documents: int) -> Floats:
    scores = np.zeros(documents)
    for weights in groups:
        mine = np.flatnonzero(weights[hits.slots] > 0)
        if len(mine):
            best = np.zeros(documents)
            np.maximum.at(best, hits.places[mine], parts[mine] * weights[hits.slots[mine]])
            scores += best
    return scores
