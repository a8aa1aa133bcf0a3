"""The word search of the storage: shelves brought up to date, ranked, filtered."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from sfm_core.model.filter import Filter
from sfm_core.model.namespace import Scope
from sfm_core.ports.storage import TextHit, TextQuery
from sfm_sqlite.bm25 import Ranked, rank
from sfm_sqlite.codec import encode_json
from sfm_sqlite.filters import compile_filter
from sfm_sqlite.readers import Reader
from sfm_sqlite.rows import FROM_CURRENT, within
from sfm_sqlite.shelf import Shelves

__all__ = ["TextSearch"]

_PASSING = f"""SELECT r.num FROM {FROM_CURRENT}
    WHERE r.num IN (SELECT value FROM json_each(?)) AND r.deleted = 0 AND """  # noqa: S608
_SHORT = 1_000_000
"""Terms in namespaces that are searched within a millisecond: no thread is worth its hand-off."""


class TextSearch:
    """One per storage; any thread may search."""

    def __init__(self, *, most_bytes: int) -> None:
        self._lock = threading.Lock()
        self._shelves = Shelves(most_bytes=most_bytes)

    def is_short(self, reader: Reader, scope: Scope, filter: Filter | None) -> bool:
        """Tell whether a search is quick enough to run on the event loop."""
        if filter is not None or self._lock.locked() or self._shelves.is_behind(reader.connection):
            return False
        namespaces = _namespaces(reader, scope)
        loaded = [self._shelves.get(reader.connection, ns) for ns in namespaces if self._shelves.is_loaded(ns)]
        return len(loaded) == len(namespaces) <= 64 and sum(shelf.size for shelf in loaded) <= _SHORT

    def search(
        self, reader: Reader, scope: Scope, query: TextQuery, *, filter: Filter | None, limit: int, now: int
    ) -> list[TextHit]:
        """Read `FullText.search_text`."""
        stems = [term for group in query.groups for term, _ in group.alternatives]
        with self._lock:
            self._shelves.refresh(reader.connection)
            numbers = self._shelves.numbers(reader.connection, stems)
            if not numbers:
                return []
            views = [self._shelves.get(reader.connection, ns).view(now) for ns in _namespaces(reader, scope)]
        if not views or limit < 1:
            return []
        ranked = rank(views, query, numbers)
        places = ranked.best(limit) if filter is None else _filtered(reader, ranked, filter, limit)
        return [
            TextHit(_id(high, low), score)
            for (high, low), score in zip(ranked.ids[places].tolist(), ranked.scores[places].tolist(), strict=True)
        ]


def _filtered(reader: Reader, ranked: Ranked, filter: Filter, limit: int) -> list[int]:
    """Return the places of the best that pass, asking for more and more of them until there are enough."""
    condition, values = compile_filter(filter)
    found: list[int] = []
    asked, wanted, everything = 0, 4 * limit, len(ranked.scores)
    while asked < everything and len(found) < limit:
        places = ranked.best(wanted)[asked:].tolist()
        nums = ranked.nums[places].tolist()
        rows = reader.connection.execute(_PASSING + condition, (encode_json(nums), *values))
        passing = {num for (num,) in rows}
        found += [place for place, num in zip(places, nums, strict=True) if num in passing]
        asked, wanted = wanted, wanted * 8
    return found[:limit]


def _namespaces(reader: Reader, scope: Scope) -> Sequence[int]:
    test, values = within(scope, "num")
    return [num for (num,) in reader.connection.execute(f"SELECT num FROM namespaces WHERE {test}", values)]  # noqa: S608


def _id(high: int, low: int) -> str:
    text = f"{high:016x}{low:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
