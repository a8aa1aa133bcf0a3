"""BM25 over shelves: exact, by the formula of `sfm_core.ports.storage.FullText.search_text`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from sfm_core.ports.storage import TextQuery
from sfm_sqlite.shelf import View

__all__ = ["Ranked", "rank"]

K1 = 0.9
B = 0.25
_BLOCK = 1 << 18

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
    slots = {term: slot for slot, term in enumerate(sorted(set(numbers.values())))}
    view = _joined(views)
    place, slot, count = _postings(view, list(slots))
    lengths = np.diff(view.ends, prepend=0)
    documents = int(np.count_nonzero(view.live))
    total = int(lengths[view.live].sum())
    holding = np.bincount(slot, minlength=len(slots))
    idf = np.log(1 + (documents - holding + 0.5) / (holding + 0.5))
    norm = K1 * (1 - B + B * lengths[place] * (documents / total if total else 0.0))
    parts = idf[slot] * count * (K1 + 1) / (count + norm)
    scores = _sum_of_groups(len(view.live), place, slot, parts, _weights(query, numbers, slots))
    found = np.flatnonzero(scores > 0)
    return Ranked(view.nums[found], view.ids[found], scores[found])


def _joined(views: Sequence[View]) -> View:
    if len(views) == 1:
        return views[0]
    starts = np.cumsum([0, *(len(view.terms) for view in views[:-1])])
    return View(
        np.concatenate([view.terms for view in views]),
        np.concatenate([view.ends + start for view, start in zip(views, starts, strict=True)]),
        np.concatenate([view.nums for view in views]),
        np.concatenate([view.ids for view in views]),
        np.concatenate([view.live for view in views]),
    )


def _postings(view: View, terms: Sequence[int]) -> tuple[Ints, NDArray[np.intp], Floats]:
    """Return, for each (document, term) that occurs in a live one: its place, the term's slot and how often it occurs."""
    # 0 stands for every other term; the terms of a document are sorted, so its repeats of one are neighbours.
    table = np.zeros(max(terms, default=0) + 2, np.uint8 if len(terms) < 256 else np.uint32)
    table[list(terms)] = np.arange(1, len(terms) + 1)
    found, kinds = [], []
    for start in range(0, len(view.terms), _BLOCK):
        kind = table.take(view.terms[start : start + _BLOCK], mode="clip")
        at = np.flatnonzero(kind)
        found.append(at + start)
        kinds.append(kind[at])
    at = np.concatenate(found) if found else np.zeros(0, np.int64)
    slot = (np.concatenate(kinds) if kinds else np.zeros(0, np.uint8)).astype(np.intp) - 1
    place = np.searchsorted(view.ends, at, side="right")
    live = view.live[place]
    place, slot = place[live], slot[live]
    first = np.ones(len(place), np.bool_)
    first[1:] = (place[1:] != place[:-1]) | (slot[1:] != slot[:-1])
    starts = np.flatnonzero(first)
    count = np.diff(starts, append=len(place)).astype(np.float64)
    return place[starts], slot[starts], count


def _weights(query: TextQuery, numbers: dict[str, int], slots: dict[int, int]) -> list[Floats]:
    """Return, for each group, the weight of every slot (0 for those outside the group)."""
    groups = []
    for group in query.groups:
        weights = np.zeros(len(slots))
        for term, weight in group.alternatives:
            if term in numbers:
                slot = slots[numbers[term]]
                weights[slot] = max(weights[slot], weight)
        groups.append(weights)
    return groups


def _sum_of_groups(
    documents: int, place: Ints, slot: NDArray[np.intp], parts: Floats, groups: Sequence[Floats]
) -> Floats:
    scores = np.zeros(documents)
    for weights in groups:
        mine = np.flatnonzero(weights[slot] > 0)
        if len(mine):
            places = place[mine]
            starts = np.flatnonzero(np.diff(places, prepend=-1))
            best = np.maximum.reduceat(parts[mine] * weights[slot[mine]], starts)
            scores[places[starts]] += best
    return scores
