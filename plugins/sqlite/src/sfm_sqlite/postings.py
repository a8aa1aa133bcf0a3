"""Which documents hold a term and how often: sorted once for most of them, scanned for the few latest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

__all__ = ["Hits", "Segment", "build_segment", "no_hits", "scan_tail", "together"]

_MANY = 255
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


class Hits(Struct, frozen=True):
    """One entry for each (document, term asked for) that occurs: the document's place, the term's slot, how often."""

    places: NDArray[np.int64]
    slots: NDArray[np.intp]
    counts: NDArray[np.float64]


class Segment(Struct, frozen=True):
    """Inverted lists of documents that do not change: 5 bytes for each distinct term of a document.

    Attributes:
        terms: the distinct terms, sorted.
        starts: where the list of each term starts in `places` and `counts`, and one more for the end.
        places: documents, sorted within a term.
        counts: how often the document holds the term; 255 stands for more, told by `many`.
        many: counts of 255 and more by position.
    """

    terms: NDArray[np.uint32]
    starts: NDArray[np.int64]
    places: NDArray[np.uint32]
    counts: NDArray[np.uint8]
    many: Mapping[int, int]

    def find(self, asked: Sequence[int], offset: int) -> Hits:
        """Return the hits of the terms `asked`, whose slots are their places there; `offset` is added to places."""
        terms = np.array(asked, np.uint32)
        found = np.searchsorted(self.terms, terms)
        known = np.flatnonzero(found < len(self.terms))
        known = known[self.terms[found[known]] == terms[known]]
        if not len(known):
            return no_hits()
        starts, ends = self.starts[found[known]], self.starts[found[known] + 1]
        spans = [slice(start, end) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        places = np.concatenate([self.places[span] for span in spans]).astype(np.int64)
        counts = np.concatenate([self.counts[span] for span in spans]).astype(np.float64)
        if self.many:
            self._put_many(spans, counts)
        return Hits(places + offset, np.repeat(known, ends - starts), counts)

    def _put_many(self, spans: Sequence[slice], counts: NDArray[np.float64]) -> None:
        positions = np.concatenate([np.arange(span.start, span.stop) for span in spans])
        for at in np.flatnonzero(counts == _MANY).tolist():
            counts[at] = self.many[int(positions[at])]


def build_segment(terms: NDArray[np.uint32], places: NDArray[np.uint64]) -> Segment:
    """Return the inverted lists of documents, given all their terms and the place of the document of each."""
    keys = terms.astype(np.uint64)
    keys <<= _SHIFT
    keys |= places
    keys.sort()
    first = np.flatnonzero(_changes(keys))
    counts = np.diff(first, append=len(keys))
    keys = keys[first]
    sorted_terms = (keys >> _SHIFT).astype(np.uint32)
    begins = np.flatnonzero(_changes(sorted_terms))
    large = np.flatnonzero(counts >= _MANY)
    return Segment(
        sorted_terms[begins],
        np.append(begins, len(sorted_terms)),
        (keys & _LOW).astype(np.uint32),
        np.minimum(counts, _MANY).astype(np.uint8),
        dict(zip(large.tolist(), counts[large].tolist(), strict=True)),
    )


def scan_tail(terms: NDArray[np.uint32], ends: NDArray[np.int64], asked: Sequence[int], offset: int) -> Hits:
    """Return the hits in documents that are in no segment yet; their terms lie one after the other up to `ends`."""
    # 0 stands for every other term; the terms of a document are sorted, so its repeats of one are neighbours.
    table = np.zeros(max(asked, default=0) + 2, np.uint32)
    table[list(asked)] = np.arange(1, len(asked) + 1)
    kinds = table.take(terms, mode="clip")
    at = np.flatnonzero(kinds)
    slots = kinds[at].astype(np.intp) - 1
    places = np.searchsorted(ends, at, side="right")
    first = np.flatnonzero(_changes(places) | _changes(slots))
    counts = np.diff(first, append=len(places)).astype(np.float64)
    return Hits(places[first] + offset, slots[first], counts)


def together(parts: Sequence[Hits]) -> Hits:
    """Return all hits."""
    if len(parts) == 1:
        return parts[0]
    return Hits(
        np.concatenate([part.places for part in parts]),
        np.concatenate([part.slots for part in parts]),
        np.concatenate([part.counts for part in parts]),
    )


def no_hits() -> Hits:
    """Return nothing."""
    return Hits(np.zeros(0, np.int64), np.zeros(0, np.intp), np.zeros(0))


def _changes(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell, for each value, whether it is not equal to the one before."""
    changed = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=changed[1:])
    return changed
