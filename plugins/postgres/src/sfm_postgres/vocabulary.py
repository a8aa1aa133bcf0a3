"""The words of namespaces: which are stored, adding, removing, reading."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sfm_core.model.namespace import Scope
from sfm_postgres.adapt import escape, unescape
from sfm_postgres.database import Database
from sfm_postgres.keys import mark_of, scope_key, term_key, word_key
from sfm_postgres.rows import within

__all__ = ["ADD", "CLEAN", "NOTE_REMOVALS", "Known", "added", "read_words", "times_changed"]

Word = tuple[str, str]

_MOST = 400_000

ADD = """WITH added AS (
        INSERT INTO {s}.words (namespace, key, mark, held, word, stem)
        SELECT namespace, key, mark, ARRAY[scope, term], word, stem
        FROM unnest(%s::text[], %s::bigint[], %s::integer[], %s::bigint[], %s::bigint[], %s::text[], %s::text[])
            AS new (namespace, key, mark, scope, term, word, stem)
        ON CONFLICT DO NOTHING RETURNING namespace)
    INSERT INTO {s}.vocabularies AS v (namespace, changed, removed) SELECT DISTINCT namespace, 1, 0 FROM added
    ON CONFLICT (namespace) DO UPDATE SET changed = v.changed + 1"""
"""Adds words; run under the lock of the change log, so that the counts rise in commit order. Takes `added`."""

# What the newest other memories hold is surely held: it spares the index the common words.
CLEAN = """WITH gone AS MATERIALIZED (
        SELECT DISTINCT e.namespace, mark FROM (
            SELECT namespace, words FROM {s}.memories WHERE id = ANY(%s::uuid[])
            UNION ALL SELECT namespace, words FROM {s}.past WHERE id = ANY(%s::uuid[])) e, unnest(e.words) mark),
    kept AS MATERIALIZED (
        SELECT DISTINCT n.namespace, mark FROM (SELECT DISTINCT namespace FROM gone) n,
            LATERAL (SELECT words FROM {s}.memories WHERE namespace = n.namespace AND id <> ALL(%s::uuid[])
                ORDER BY created_at DESC LIMIT 500) m, unnest(m.words) mark)
    DELETE FROM {s}.words w USING (SELECT * FROM gone EXCEPT SELECT * FROM kept) g
    WHERE w.namespace = g.namespace AND w.mark = g.mark
        AND NOT EXISTS (SELECT 1 FROM {s}.memories m
            WHERE m.terms @> w.held AND w.mark = ANY(m.words) AND m.id <> ALL(%s::uuid[]))
        AND NOT EXISTS (SELECT 1 FROM {s}.past m
            WHERE m.terms @> w.held AND w.mark = ANY(m.words) AND m.id <> ALL(%s::uuid[]))"""
"""Removes the words that only the memories with these ids hold; run before those are deleted. Takes the ids five times."""

NOTE_REMOVALS = """INSERT INTO {s}.vocabularies AS v (namespace, changed, removed)
    SELECT namespace, 1, 1 FROM unnest(%s::text[]) AS n (namespace)
    ON CONFLICT (namespace) DO UPDATE SET changed = v.changed + 1, removed = v.removed + 1"""
"""Notes that words of namespaces were removed; run under the lock of the change log."""

_WORDS = "SELECT word, stem FROM {s}.words WHERE "
_CHANGED = "SELECT coalesce(sum(changed), 0)::bigint FROM {s}.vocabularies WHERE "


class Known:
    """Words that are known to be stored, so that most writes touch no word at all. For one event loop."""

    def __init__(self) -> None:
        self._keys: dict[str, set[int]] = {}
        self._removed: dict[str, int] = {}
        self._count = 0

    def check(self, namespaces: Iterable[str], removed: Mapping[str, int]) -> None:
        """Forget the words of namespaces from which some were removed since, by whatever process."""
        for namespace in namespaces:
            count = removed.get(namespace, 0)
            if self._removed.get(namespace, 0) != count:
                self._count -= len(self._keys.pop(namespace, ()))
                self._removed[namespace] = count

    def unknown(self, namespace: str, words: Iterable[Word]) -> dict[int, Word]:
        """Return the words, by key, that are not known to be stored."""
        known = self._keys.get(namespace, ())
        return {key: (word, stem) for word, stem in words if (key := word_key(word, stem)) not in known}

    def stored(self, namespace: str, keys: Iterable[int]) -> None:
        """Note that words are stored."""
        if self._count > _MOST:
            self._keys.clear()
            self._count = 0
        held = self._keys.setdefault(namespace, set())
        before = len(held)
        held.update(keys)
        self._count += len(held) - before


def added(new: Mapping[str, Mapping[int, Word]]) -> list[list[Any]]:
    """Return the values that `ADD` takes for new words by namespace and key, always in the same order."""
    rows = [
        (name, key, mark_of(key), scope_key(Scope(name)), term_key(stem), escape(word), escape(stem))
        for name, words in sorted(new.items())
        for key, (word, stem) in sorted(words.items())
    ]
    return [list(column) for column in zip(*rows, strict=True)]


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
