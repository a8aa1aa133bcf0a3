"""The words of namespaces: which are stored, adding, removing, reading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import filterfalse
from typing import Any

from sfm_core.model.namespace import Scope
from sfm_postgres.adapt import unescape
from sfm_postgres.database import Database
from sfm_postgres.keys import scope_key, term, word_of
from sfm_postgres.packing import BIGINT, INTEGER, Packed, array, packed, texts
from sfm_postgres.rows import within

__all__ = [
    "ADD",
    "CLEAN",
    "COUNT",
    "UNHELD",
    "Known",
    "added",
    "columns_of",
    "read_words",
    "times_changed",
]

Word = tuple[str, str]

_MOST = 400_000

ADD = """WITH added AS (
        INSERT INTO {s}.words (namespace, key, mark, held, word, stem)
        SELECT %s::text, key, mark, ARRAY[%s::bigint, term], word, stem
        FROM unnest(%s::bigint[], %s::integer[], %s::bigint[], %s::text[], %s::text[])
            AS new (key, mark, term, word, stem)
        ON CONFLICT DO NOTHING RETURNING namespace)
    INSERT INTO {s}.new_words (namespace) SELECT namespace FROM added LIMIT 1"""
"""Adds words of one namespace. Takes `added`."""

COUNT = """WITH new AS (DELETE FROM {s}.new_words WHERE transaction = pg_current_xact_id() RETURNING namespace)
    INSERT INTO {s}.vocabularies AS v (namespace, changed, removed) SELECT DISTINCT namespace, 1, 0 FROM new
    ON CONFLICT (namespace) DO UPDATE SET changed = v.changed + 1"""
"""Counts where words were really new; run under the lock of the change log, so that counts rise in commit order."""

# What the newest other memories hold is surely held: it spares the index the common words.
UNHELD = """WITH gone AS MATERIALIZED (
        SELECT DISTINCT e.namespace, mark FROM (
            SELECT namespace, words FROM {s}.memories WHERE id = ANY(%s::uuid[])
            UNION ALL SELECT namespace, words FROM {s}.past WHERE id = ANY(%s::uuid[])) e, unnest(e.words) mark),
    kept AS MATERIALIZED (
        SELECT DISTINCT n.namespace, mark FROM (SELECT DISTINCT namespace FROM gone) n,
            LATERAL (SELECT words FROM {s}.memories WHERE namespace = n.namespace AND id <> ALL(%s::uuid[])
                ORDER BY created_at DESC LIMIT 500) m, unnest(m.words) mark)
    SELECT w.namespace, w.mark, w.key FROM {s}.words w JOIN (SELECT * FROM gone EXCEPT SELECT * FROM kept) g
        ON w.namespace = g.namespace AND w.mark = g.mark
    WHERE NOT EXISTS (SELECT 1 FROM {s}.memories m
            WHERE m.terms @> w.held AND w.mark = ANY(m.words) AND m.id <> ALL(%s::uuid[]))
        AND NOT EXISTS (SELECT 1 FROM {s}.past m
            WHERE m.terms @> w.held AND w.mark = ANY(m.words) AND m.id <> ALL(%s::uuid[]))"""
"""Finds the words that only the memories with these ids hold; run before those are deleted. Takes the ids five times."""

CLEAN = """WITH removed AS (
        DELETE FROM {s}.words w USING unnest(%s::text[], %s::integer[], %s::bigint[]) AS g (namespace, mark, key)
        WHERE w.namespace = g.namespace AND w.mark = g.mark AND w.key = g.key
            AND NOT EXISTS (SELECT 1 FROM {s}.memories m WHERE m.terms @> w.held AND w.mark = ANY(m.words))
            AND NOT EXISTS (SELECT 1 FROM {s}.past m WHERE m.terms @> w.held AND w.mark = ANY(m.words))
        RETURNING w.namespace)
    INSERT INTO {s}.vocabularies AS v (namespace, changed, removed) SELECT DISTINCT namespace, 1, 1 FROM removed
    ON CONFLICT (namespace) DO UPDATE SET changed = v.changed + 1, removed = v.removed + 1"""
"""Removes words that were found by `UNHELD` and that nobody stored meanwhile, and counts where some were. Run under the lock of
the change log, after the memories that are erased were deleted: who stored such a word before is seen, and who does later sees
the count."""

_WORDS = "SELECT word, stem FROM {s}.words WHERE "
_CHANGED = "SELECT coalesce(sum(changed), 0)::bigint FROM {s}.vocabularies WHERE "


class Known:
    """Words that are known to be stored, so that most writes touch no word at all. For one event loop."""

    def __init__(self) -> None:
        self._words: dict[str, set[Word]] = {}
        self._removed: dict[str, int] = {}
        self._count = 0

    def check(self, namespaces: Iterable[str], removed: Mapping[str, int]) -> None:
        """Forget the words of namespaces from which some were removed since, by whatever process."""
        for namespace in namespaces:
            count = removed.get(namespace, 0)
            if self._removed.get(namespace, 0) != count:
                self._count -= len(self._words.pop(namespace, ()))
                self._removed[namespace] = count

    def removals(self, namespace: str) -> int:
        """Return how often words of a namespace were removed when it was looked at last."""
        return self._removed.get(namespace, 0)

    def unknown(self, namespace: str, words: Iterable[Word]) -> list[Word]:
        """Return the words that are not known to be stored."""
        known: AbstractSet[Word] = self._words.get(namespace, frozenset())
        return list(filterfalse(known.__contains__, words))

    def stored(self, namespace: str, words: Iterable[Word], removals: int) -> None:
        """Note that words were stored when words of the namespace had been removed `removals` times."""
        if self.removals(namespace) != removals:
            return
        if self._count > _MOST:
            self._words.clear()
            self._count = 0
        held = self._words.setdefault(namespace, set())
        before = len(held)
        held.update(words)
        self._count += len(held) - before


def added(new: Mapping[str, Iterable[Word]]) -> Iterator[list[Any]]:
    """Yield the values that `ADD` takes for the new words of each namespace, always in the same order.

    Else two transactions with the same new words could wait for each other.
    """
    for name, words in sorted(new.items()):
        yield [name, scope_key(Scope(name)), *columns_of(words)]


def columns_of(words: Iterable[Word]) -> list[Packed | None]:
    """Return keys, marks, keys of the stems, words and stems, each packed as an array, in the order of the index.

    It is filled faster so, and whoever stores the same words does so in the same order.
    """
    rows = sorted([(*word_of(word), word) for word in words])
    columns = [
        array(BIGINT, [row[1] for row in rows]),
        array(INTEGER, [row[2] for row in rows]),
        array(BIGINT, [term(row[3][1]) for row in rows]),
        texts([row[3][0] for row in rows]),
        texts([row[3][1] for row in rows]),
    ]
    return list(map(packed, columns))


async def read_words(database: Database, scope: Scope) -> Sequence[Word]:
    """Read `Vocabulary.words`, oldest first, so that new words come after all others."""
    test, values = within(scope, "namespace")
    rows = await database.rows(f"{_WORDS}{test} ORDER BY num", values)
    words = [(unescape(word), unescape(stem)) for word, stem in rows]
    return list(dict.fromkeys(words)) if scope.subtree else words


async def times_changed(database: Database, scope: Scope) -> int:
    """Return how often words of `scope` were added or removed; only rises."""
    test, values = within(scope, "namespace")
    [(count,)] = await database.rows(_CHANGED + test, values)
    return int(count)
