"""The word search: BM25 by the port's formula, computed by the server over an inverted index of opaque terms.

In a scope that is known to be small one statement does it all (`sfm_postgres.gather`). Else there are three steps. How many
memories the scope has and how many of them hold each term. The score, by all terms, of every memory that holds one of the
rarest terms. Then of those that hold so many of the common terms that they could still be among the best `limit` (MaxScore:
Turtle, Flood, "Query evaluation: strategies and optimizations", 1995). So common words cost little beside rare ones, and the
answer is exact, but for two bounds on large scopes:

* In a scope of more than `LARGE` memories the large figures of the first step are kept for `LASTING` seconds: scores may be
  off by what was written since then; what is found is not.
* When the rare words do not fill the answer, memories that hold nothing but common words are scored up to `MOST` of them.
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
from sfm_postgres.gather import K1, TF, B, gather, is_all, places
from sfm_postgres.keys import scope_key, term_key
from sfm_postgres.lists import COLUMNS
from sfm_postgres.rows import live, within

__all__ = ["LARGE", "LASTING", "MOST", "SMALL", "TextSearch"]

SMALL = 10_000
LARGE = 20_000
LASTING = 60.0
MOST = 20_000
_FIRST = 2_000
"""Memories that are scored at first, at most, unless the rarest term alone has more."""
_MOST_SETS = 24
_WORTH_KEEPING = 500
_MOST_KEPT = 20_000
_MOST_GATHERED = 100
"""Terms of a question up to which a small scope is searched by one statement."""

_SIZE = f"""SELECT 0, count(*), coalesce(sum(m.length), 0)::bigint FROM {{s}}.memories m
    WHERE <within> AND {live("m")}"""  # noqa: S608 - constants only, as below
_HOLDING = f"""SELECT 1, t.term, (SELECT count(*) FROM {{s}}.memories m WHERE m.terms @> <terms> AND {live("m")})
    FROM unnest(%s::bigint[]) AS t (term)"""  # noqa: S608
_RANK = f"""SELECT m.id, <score> AS score
    FROM (SELECT m.id, m.terms, %s::float8 + %s::float8 * m.length AS norm FROM {{s}}.memories m
        WHERE <found> AND {live("m")} AND <condition> LIMIT {MOST}) m
    ORDER BY score DESC, m.id LIMIT %s"""  # noqa: S608


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


class _Asked(Struct, frozen=True):
    """What does not change between the steps of a search."""

    scope: Scope
    parts: Sequence[_Part]
    size: _Size
    filter: Filter | None
    limit: int
    now: datetime


class TextSearch:
    """One per storage."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counts: dict[Scope, int] = {}
        self._sizes: dict[Scope, tuple[float, _Size]] = {}
        self._holding: dict[tuple[Scope, int], tuple[float, int]] = {}

    async def search(
        self, scope: Scope, query: TextQuery, *, filter: Filter | None, limit: int, now: datetime
    ) -> list[TextHit]:
        """Read `FullText.search_text`."""
        groups = _groups(query)
        keys = sorted({key for group in groups for key in group})
        if not keys or limit < 1:
            return []
        if self._counts.get(scope, SMALL + 1) <= SMALL and len(keys) <= _MOST_GATHERED:
            found, count = await gather(self._database, scope, groups, filter=filter, limit=limit, now=now)
            if count is not None:
                self._note(scope, count)
            return [TextHit(id, score) for id, score in found.items()]
        size, holding = await self._figures(scope, keys, now)
        self._note(scope, size.count)
        parts = _parts(groups, size, holding)
        if not parts:
            return []
        ask = _Asked(scope, parts, size, filter, limit, now)
        taken = _enough(parts)
        found = await self._rank(ask, [[part.key] for part in parts[:taken]])
        rest = parts[taken:]
        least = min(found.values()) if len(found) == limit else 0.0
        if rest and least < _most(rest):
            found |= await self._rank(ask, _sets(rest, least))
        best = sorted(found.items(), key=lambda hit: (-hit[1], hit[0]))
        return [TextHit(id, score) for id, score in best[:limit]]

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
        terms = "ARRAY[t.term]" if is_all(scope) else "ARRAY[%s::bigint, t.term]"
        sql = _HOLDING.replace("<terms>", terms)
        values = [*([] if is_all(scope) else [scope_key(scope)]), now, numbers(unknown)]
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

    def _note(self, scope: Scope, count: int) -> None:
        """Note how many memories a scope has, by which the next search of it is planned."""
        if len(self._counts) >= _MOST_KEPT:
            self._counts.clear()
        self._counts[scope] = count

    def _keep(self, scope: Scope, measured: _Size | None, counts: Mapping[int, int], until: float) -> None:
        """Keep figures of a large scope."""
        if len(self._sizes) + len(self._holding) >= _MOST_KEPT:
            self._sizes.clear()
            self._holding.clear()
        if measured is not None:
            self._sizes[scope] = (until, measured)
        for key, count in counts.items():
            if count >= _WORTH_KEEPING:  # a term that nothing held may be held a moment later
                self._holding[scope, key] = (until, count)

    async def _rank(self, ask: _Asked, sets: Sequence[Sequence[int]]) -> dict[str, float]:
        """Score the memories that hold all keys of one of `sets`; return the best."""
        found, values = _holding_one(sets)
        if not is_all(ask.scope):
            found, values = f"m.terms @> ARRAY[%s::bigint] AND {found}", [scope_key(ask.scope), *values]
        condition, more = compile_filter(ask.filter, COLUMNS)
        score, constants = _score(ask.parts, ask.size)
        sql = _RANK.replace("<score>", score).replace("<found>", found).replace("<condition>", condition)
        return dict(await self._database.rows(sql, [*constants, *values, ask.now, *more, ask.limit]))


def _groups(query: TextQuery) -> list[dict[int, float]]:
    """Return the keys of the terms of each group, with the weights that are above 0."""
    groups: list[dict[int, float]] = []
    for group in query.groups:
        weights: dict[int, float] = {}
        for term, weight in group.alternatives:
            key = term_key(term)
            if weight > weights.get(key, 0.0):
                weights[key] = weight
        if weights:
            groups.append(weights)
    return groups


def _parts(groups: Sequence[Mapping[int, float]], size: _Size, holding: Mapping[int, int]) -> list[_Part]:
    """Return the terms that occur, rarest first."""
    parts: list[_Part] = []
    for number, group in enumerate(groups):
        for key, weight in group.items():
            count = holding.get(key, 0)
            if not count:
                continue
            idf = math.log(1 + max(0.0, (size.count - count + 0.5) / (count + 0.5)))
            part = _Part(number, key, weight * idf * (K1 + 1), count)
            if part.most > 0:
                parts.append(part)
    return sorted(parts, key=lambda part: (part.holding, part.key, part.group))


def _enough(parts: Sequence[_Part]) -> int:
    """Return how many parts to look memories up by at first: one at least, and as many as hold `_FIRST` memories together."""
    taken, count = 1, parts[0].holding
    while taken < len(parts) and (parts[taken].key == parts[taken - 1].key or count + parts[taken].holding <= _FIRST):
        count += parts[taken].holding
        taken += 1
    return taken


def _sets(parts: Sequence[_Part], least: float) -> list[list[int]]:
    """Return sets of keys such that every memory that can reach `least` by `parts` alone holds all of one set."""
    sets: list[list[int]] = []

    def extend(chosen: list[_Part], left: Sequence[_Part]) -> bool:
        if sum(part.most for part in chosen) > least:
            sets.append([part.key for part in chosen])
            return len(sets) <= _MOST_SETS
        for place, part in enumerate(left):
            further = [other for other in left[place + 1 :] if other.group != part.group]
            if sum(one.most for one in chosen) + part.most + _most(further) <= least:
                continue
            if not extend([*chosen, part], further):
                return False
        return True

    if not extend([], sorted(parts, key=lambda part: -part.most)) or [] in sets:
        return [[part.key] for part in parts]
    return sets


def _holding_one(sets: Sequence[Sequence[int]]) -> tuple[str, list[Any]]:
    """Return the SQL test that row `m` holds all keys of one of `sets`, with its values."""
    single = [keys[0] for keys in sets if len(keys) == 1]
    tests = ["m.terms && %s::bigint[]"] if single else []
    values = [numbers(single)] if single else []
    for keys in sets:
        if len(keys) > 1:
            tests.append("m.terms @> %s::bigint[]")
            values.append(numbers(keys))
    return f"({' OR '.join(tests)})", list(values)


def _most(parts: Sequence[_Part]) -> float:
    """Return what a memory can score at most that holds none but `parts`."""
    groups: dict[int, float] = {}
    for part in parts:
        groups[part.group] = max(groups.get(part.group, 0.0), part.most)
    return sum(groups.values())


def _score(parts: Sequence[_Part], size: _Size) -> tuple[str, list[Any]]:
    """Return the score of row `m` as SQL, with its values and those of `norm`. See `sfm_postgres.gather` for the formula."""
    mean = size.length / size.count if size.count and size.length else 1.0
    groups: dict[int, list[_Part]] = {}
    for part in parts:
        groups.setdefault(part.group, []).append(part)
    sums: list[str] = []
    values: list[Any] = []
    for group in groups.values():
        best = []
        for part in group:
            best.append(f"%s::float8 * (1 - norm / (norm + {TF}))")
            values += [part.most, *places([part.key])]
        sums.append(f"greatest({', '.join(best)})" if len(best) > 1 else best[0])
    return " + ".join(sums), [*values, K1 * (1 - B), K1 * B / mean]
