"""The word search: BM25 by the port's formula, computed by the server over an inverted index of opaque terms.

Two steps: how many memories the scope has and how many of them hold each term; then the score of every memory that holds one
of the rarest terms, by all terms. When what is left out could still reach the best `limit` (the sum of the most that the
common terms can give is above the last score), the second step is repeated with more of the terms (MaxScore: Turtle, Flood,
"Query evaluation: strategies and optimizations", 1995). So the answer is exact, and common words cost little beside rare ones.

In a scope of more than `LARGE` memories the figures of the first step are kept for `LASTING` seconds; with them scores may be
off by what was written since then, never the set of memories that are found.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from sfm_core.model.filter import Filter
from sfm_core.model.namespace import Scope
from sfm_core.ports.storage import TextHit, TextQuery
from sfm_postgres.adapt import numbers
from sfm_postgres.database import Database
from sfm_postgres.filters import compile_filter
from sfm_postgres.keys import scope_key, term_key
from sfm_postgres.lists import COLUMNS
from sfm_postgres.rows import live, within

__all__ = ["LARGE", "LASTING", "TextSearch"]

K1 = 0.9
B = 0.25
LARGE = 20_000
LASTING = 60.0
_FIRST = 2_000
"""Memories that are scored at first, at most, unless the rarest term alone has more."""
_FURTHER = 8
_MOST_KEPT = 20_000

_SIZE = f"""SELECT 0, count(*), coalesce(sum(m.length), 0)::bigint FROM {{s}}.memories m
    WHERE <within> AND {live("m")}"""  # noqa: S608 - constants only, as below
_HOLDING = f"""SELECT 1, t.term, (SELECT count(*) FROM {{s}}.memories m WHERE m.terms @> <terms> AND {live("m")})
    FROM unnest(%s::bigint[]) AS t (term)"""  # noqa: S608
_RANK = """SELECT m.id, <score> AS score FROM {s}.memories m WHERE <found> AND <live> AND <condition>
    ORDER BY score DESC, m.id LIMIT %s"""


class _Size(Struct, frozen=True):
    """Live memories of a scope and the words in all of them."""

    count: int
    length: int


class _Part(Struct, frozen=True):
    """A term of a question: its group, its key, and what it gives at most."""

    group: int
    key: int
    most: float
    holding: int


class TextSearch:
    """One per storage."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sizes: dict[Scope, tuple[float, _Size]] = {}
        self._holding: dict[tuple[Scope, int], tuple[float, int]] = {}

    async def search(
        self, scope: Scope, query: TextQuery, *, filter: Filter | None, limit: int, now: datetime
    ) -> list[TextHit]:
        """Read `FullText.search_text`."""
        keys = sorted({term_key(term) for group in query.groups for term, weight in group.alternatives if weight > 0})
        if not keys or limit < 1:
            return []
        size, holding = await self._figures(scope, keys, now)
        parts = _parts(query, size, holding)
        taken, budget = 0, _FIRST
        hits: list[TextHit] = []
        while taken < len(parts):
            taken = _enough(parts, taken, budget)
            hits = await self._rank(scope, parts, taken, size, filter=filter, limit=limit, now=now)
            if len(hits) == limit and hits[-1].score >= _most(parts[taken:]):
                break
            budget *= _FURTHER
        return hits

    async def _figures(self, scope: Scope, keys: Sequence[int], now: datetime) -> tuple[_Size, Mapping[int, int]]:
        """Return how large the scope is and how many memories hold each of `keys`, in one round trip at most."""
        clock = time.monotonic()
        kept = self._sizes.get(scope)
        size = kept[1] if kept is not None and kept[0] > clock else None
        holding = {
            key: known[1]
            for key in keys
            if size is not None and (known := self._holding.get((scope, key))) is not None and known[0] > clock
        }
        unknown = [key for key in keys if key not in holding]
        if size is not None and not unknown:
            return size, holding
        terms = "ARRAY[t.term]" if _is_all(scope) else "ARRAY[%s::bigint, t.term]"
        sql = _HOLDING.replace("<terms>", terms)
        values = [*([] if _is_all(scope) else [scope_key(scope)]), now, numbers(unknown)]
        if size is None:
            test, more = within(scope)
            sql, values = f"{_SIZE.replace('<within>', test)} UNION ALL {sql}", [*more, now, *values]
        rows = await self._database.rows(sql, values)
        counts = {term: count for kind, term, count in rows if kind == 1}
        measured = next((_Size(count, length) for kind, count, length in rows if kind == 0), None)
        size = size or measured
        assert size is not None
        if size.count > LARGE:
            self._keep(scope, measured, counts, clock + LASTING)
        return size, holding | counts

    def _keep(self, scope: Scope, measured: _Size | None, counts: Mapping[int, int], until: float) -> None:
        """Keep figures of a large scope."""
        if len(self._sizes) + len(self._holding) >= _MOST_KEPT:
            self._sizes.clear()
            self._holding.clear()
        if measured is not None:
            self._sizes[scope] = (until, measured)
        for key, count in counts.items():
            self._holding[scope, key] = (until, count)

    async def _rank(
        self,
        scope: Scope,
        parts: Sequence[_Part],
        taken: int,
        size: _Size,
        *,
        filter: Filter | None,
        limit: int,
        now: datetime,
    ) -> list[TextHit]:
        """Score the memories that hold one of the first `taken` parts."""
        found = "m.terms && %s::bigint[]"
        values: list[Any] = [numbers(part.key for part in parts[:taken])]
        if not _is_all(scope):
            found = f"m.terms @> ARRAY[%s::bigint] AND {found}"
            values = [scope_key(scope), *values]
        condition, more = compile_filter(filter, COLUMNS)
        score, constants = _score(parts, size)
        sql = _RANK.replace("<score>", score).replace("<found>", found).replace("<live>", live("m"))
        rows = await self._database.rows(
            sql.replace("<condition>", condition), [*constants, *values, now, *more, limit]
        )
        return [TextHit(id, score) for id, score in rows]


def _is_all(scope: Scope) -> bool:
    return scope.subtree and not scope.namespace


def _parts(query: TextQuery, size: _Size, holding: Mapping[int, int]) -> list[_Part]:
    """Return the terms that occur, rarest first."""
    parts: dict[tuple[int, int], _Part] = {}
    for number, group in enumerate(query.groups):
        for term, weight in group.alternatives:
            key = term_key(term)
            count = holding.get(key, 0)
            if weight <= 0 or not count:
                continue
            idf = math.log(1 + max(0.0, (size.count - count + 0.5) / (count + 0.5)))
            part = _Part(number, key, weight * idf * (K1 + 1), count)
            if part.most > 0 and ((number, key) not in parts or parts[number, key].most < part.most):
                parts[number, key] = part
    return sorted(parts.values(), key=lambda part: (part.holding, part.key, part.group))


def _enough(parts: Sequence[_Part], taken: int, budget: int) -> int:
    """Return how many parts to look memories up by: one more at least, and as many as hold `budget` memories together."""
    taken += 1
    count = sum(part.holding for part in parts[:taken])
    while taken < len(parts) and count + parts[taken].holding <= budget:
        count += parts[taken].holding
        taken += 1
    # Another group's part with the same term costs nothing.
    while taken < len(parts) and parts[taken].key == parts[taken - 1].key:
        taken += 1
    return taken


def _most(parts: Sequence[_Part]) -> float:
    """Return what a memory can score at most that holds none but `parts`."""
    groups: dict[int, float] = {}
    for part in parts:
        groups[part.group] = max(groups.get(part.group, 0.0), part.most)
    return sum(groups.values())


def _score(parts: Sequence[_Part], size: _Size) -> tuple[str, list[Any]]:
    """Return the score of row `m` as SQL, with its values.

    tf * (k1 + 1) / (tf + norm) is written as (k1 + 1) * (1 - norm / (tf + norm)), so that tf stands there once. tf is the
    number of places between those where the key before, and the key, would be put into the sorted terms.
    """
    mean = size.length / size.count if size.count and size.length else 1.0
    norm = f"({K1 * (1 - B)!r}::float8 + {K1 * B / mean!r}::float8 * m.length)"
    groups: dict[int, list[_Part]] = {}
    for part in parts:
        groups.setdefault(part.group, []).append(part)
    sums: list[str] = []
    values: list[Any] = []
    for group in groups.values():
        best = []
        for part in group:
            tf = "(width_bucket(%s::bigint, m.terms) - width_bucket(%s::bigint, m.terms))"
            best.append(f"%s::float8 * (1 - {norm} / ({norm} + {tf}))")
            values += [part.most, part.key, part.key - 1]
        sums.append(f"greatest({', '.join(best)})" if len(best) > 1 else best[0])
    return " + ".join(sums), values
