"""The index terms of every live memory, in memory, one shelf per namespace: what the exact word search reads.

A question asks for 60 to 100 terms (near words included). Looking them up in FTS5 costs 17 us each before the first document
is scored; here it costs next to nothing, ranking is exact under any filter, a write pays nothing for the index, and the index
can never disagree with the records, which hold the terms. Some 200 bytes for a memory of 40 words.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from sfm_sqlite.codec import encode_json, key_of
from sfm_sqlite.heap import trim_heap
from sfm_sqlite.ledger import CHANGE_NUMBERS
from sfm_sqlite.postings import Hits, Segment, build_segment, scan_tail

__all__ = ["Shelf", "Shelves", "View"]

_LOAD = "SELECT num, id, expires_at, terms FROM records WHERE ns = ? AND deleted = 0"
_LAST = "SELECT coalesce(max(sequence), 0) FROM changes"
_NEWS = """SELECT c.sequence, c.ns, c.num, c.type, r.id, r.deleted, r.expires_at, r.terms
    FROM changes c LEFT JOIN records r ON r.num = c.num WHERE c.sequence > ? ORDER BY c.sequence LIMIT ?"""
_MOST_NEWS = 5000
_FEW_NEWS = 100
_TAIL = 1000
_BATCH = 1024
_LARGE = 2**20
_ERASED = CHANGE_NUMBERS["memory.erased"]
T = TypeVar("T", bound=np.generic)
_NEVER = int(np.iinfo(np.int64).max)


class View(Struct, frozen=True):
    """A shelf as it was at one instant: arrays over its places."""

    segment: Segment
    tail: NDArray[np.uint32]
    tail_ends: NDArray[np.int64]
    lengths: NDArray[np.int32]
    nums: NDArray[np.int64]
    ids: NDArray[np.uint64]
    live: NDArray[np.bool_]

    def find(self, asked: Sequence[int], offset: int) -> list[Hits]:
        """Return the hits of the terms `asked`; `offset` is added to their places."""
        hits = [self.segment.find(asked, offset)]
        if len(self.tail):
            hits.append(scan_tail(self.tail, self.tail_ends, asked, offset + len(self.nums) - len(self.tail_ends)))
        return hits


class Shelf:
    """The live memories of one namespace. A memory that changes leaves its place and gets a new one at the end."""

    def __init__(self, batches: Iterable[Sequence[tuple[int, bytes, int | None, bytes]]] = ()) -> None:
        # Batch by batch, so that the rows of a large namespace are never all there as Python objects.
        nums, lengths, expires = array("q"), array("q"), array("q")
        ids, terms = bytearray(), bytearray()
        for batch in batches:
            nums.extend([row[0] for row in batch])
            lengths.extend([len(row[3]) // 4 for row in batch])
            expires.extend([_NEVER if row[2] is None else row[2] for row in batch])
            ids += b"".join([row[1] for row in batch])
            terms += b"".join([row[3] for row in batch])
        order = np.argsort(np.array(nums, np.int64), kind="stable")
        places = np.empty(len(order), np.uint64)
        places[order] = np.arange(len(order), dtype=np.uint64)
        unordered = np.array(lengths, np.int64)
        self._segment = build_segment(np.frombuffer(terms, "<u4"), np.repeat(places, unordered))
        self._lengths = unordered[order].astype(np.int32)
        self._nums = np.array(nums, np.int64)[order]
        self._ids = np.frombuffer(ids, ">u8").reshape(-1, 2)[order].astype(np.uint64)
        self._expires = np.array(expires, np.int64)[order]
        self._live = np.ones(len(order), np.bool_)
        self._used = self._sorted = len(order)
        self._tail = np.zeros(0, np.uint32)
        self._tail_ends = np.zeros(0, np.int64)
        self._tail_used = 0
        self._moved: dict[int, int] = {}
        self._expiring = bool((self._expires != _NEVER).any())

    @property
    def size(self) -> int:
        """How many terms it holds."""
        return len(self._segment.places) + self._tail_used

    @property
    def nbytes(self) -> int:
        """How much memory it takes, about."""
        return 5 * len(self._segment.places) + 4 * len(self._tail) + 45 * len(self._nums)

    def view(self, now: int) -> View:
        """Return the shelf as it is, without what is expired at `now`."""
        used = self._used
        live = self._live[:used] & (self._expires[:used] > now) if self._expiring else self._live[:used].copy()
        return View(
            self._segment,
            self._tail[: self._tail_used],
            self._tail_ends[: used - self._sorted],
            self._lengths[:used],
            self._nums[:used],
            self._ids[:used],
            live,
        )

    def drop(self, num: int) -> None:
        """Take a memory away, if it is here."""
        place = self._moved.pop(num, -1)
        if place < 0:
            place = int(np.searchsorted(self._nums[: self._sorted], num))
            if place >= self._sorted or self._nums[place] != num:
                return
        self._live[place] = False

    def put(self, num: int, id: bytes, expires_at: int | None, packed: bytes) -> None:
        """Put a memory here, in the place of its former version."""
        self.drop(num)
        terms = np.frombuffer(packed, "<u4")
        self._reserve(len(terms))
        place, start = self._used, self._tail_used
        self._tail_used = start + len(terms)
        self._tail[start : self._tail_used] = terms
        self._tail_ends[place - self._sorted] = self._tail_used
        self._lengths[place] = len(terms)
        self._nums[place] = num
        self._ids[place] = np.frombuffer(id, ">u8")
        self._expires[place] = _NEVER if expires_at is None else expires_at
        self._live[place] = True
        self._used += 1
        self._expiring = self._expiring or expires_at is not None
        self._moved[num] = place

    def is_stale(self) -> bool:
        """Tell whether so many places are unsorted or empty that loading anew pays."""
        return self._used - self._sorted > max(_TAIL, self._sorted // 4)

    def _reserve(self, terms: int) -> None:
        if self._tail_used + terms > len(self._tail):
            self._tail = _grown(self._tail, self._tail_used + terms)
        if self._used - self._sorted == len(self._tail_ends):
            self._tail_ends = _grown(self._tail_ends, len(self._tail_ends) + 1)
        if self._used == len(self._nums):
            self._lengths = _grown(self._lengths, self._used + 1)
            self._nums = _grown(self._nums, self._used + 1)
            self._ids = _grown(self._ids, self._used + 1)
            self._expires = _grown(self._expires, self._used + 1)
            self._live = _grown(self._live, self._used + 1)


class Shelves:
    """The shelves of the namespaces asked for so far, brought up to date by the change log. Not thread-safe.

    Above `most_bytes` the ones that were asked for longest ago are let go.
    """

    def __init__(self, *, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._shelves: OrderedDict[int, Shelf] = OrderedDict()
        self._terms: dict[str, int] = {}
        self._seen: int | None = None

    def refresh(self, connection: sqlite3.Connection) -> None:
        """Take in what was committed since the last call, by whatever process."""
        rows = [] if self._seen is None else connection.execute(_NEWS, (self._seen, _MOST_NEWS)).fetchall()
        if self._seen is None or len(rows) == _MOST_NEWS:
            self._shelves.clear()
            self._terms.clear()
            (self._seen,) = connection.execute(_LAST).fetchone()
            return
        if rows:
            self._take_in(rows)

    def get(self, connection: sqlite3.Connection, ns: int) -> Shelf:
        """Return the shelf of a namespace, loading it when needed."""
        shelf = self._shelves.get(ns)
        if shelf is None:
            rows = connection.execute(_LOAD, (ns,))
            shelf = self._shelves[ns] = Shelf(iter(lambda: rows.fetchmany(_BATCH), []))
            self._let_go()
            if shelf.nbytes > _LARGE:
                trim_heap()
        self._shelves.move_to_end(ns)
        return shelf

    def is_loaded(self, ns: int) -> bool:
        """Tell whether `get` has nothing to read."""
        return ns in self._shelves

    def is_behind(self, connection: sqlite3.Connection) -> bool:
        """Tell whether `refresh` has much to take in."""
        (last,) = connection.execute(_LAST).fetchone()
        return self._seen is None or last - self._seen > _FEW_NEWS

    def numbers(self, connection: sqlite3.Connection, stems: Iterable[str]) -> dict[str, int]:
        """Return the numbers of those of `stems` that any memory holds or held."""
        asked = set(stems)
        missing = asked - self._terms.keys()
        if missing:
            sql = "SELECT t.stem, t.num FROM json_each(?) j CROSS JOIN terms t ON t.key = j.value"
            rows = connection.execute(sql, (encode_json([key_of(stem) for stem in missing]),))
            self._terms.update((stem, num) for stem, num in rows if stem in missing)
        return {stem: self._terms[stem] for stem in asked if stem in self._terms}

    def _let_go(self) -> None:
        held = sum(shelf.nbytes for shelf in self._shelves.values())
        while held > self._most_bytes and len(self._shelves) > 1:
            held -= self._shelves.popitem(last=False)[1].nbytes

    def _take_in(self, rows: Sequence[tuple[int, int, int, int, bytes | None, int, int | None, bytes]]) -> None:
        if any(row[3] == _ERASED for row in rows):
            self._terms.clear()
        touched: set[int] = set()
        newest = {row[2]: row for row in rows}
        for _, ns, num, _, id, deleted, expires_at, packed in newest.values():
            shelf = self._shelves.get(ns)
            if shelf is not None and id is not None and not deleted:
                shelf.put(num, id, expires_at, packed)
                touched.add(ns)
            elif shelf is not None:
                shelf.drop(num)
                touched.add(ns)
        for ns in touched:
            if self._shelves[ns].is_stale():
                del self._shelves[ns]
        self._seen = rows[-1][0]


def _grown(values: NDArray[T], least: int) -> NDArray[T]:
    grown = np.zeros((max(least, len(values) + len(values) // 4 + 64), *values.shape[1:]), values.dtype)
    grown[: len(values)] = values
    return grown
