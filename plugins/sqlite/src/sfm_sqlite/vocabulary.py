"""Reads of the words of namespaces."""

from __future__ import annotations

from collections.abc import Sequence

from sfm_core.model.namespace import Scope
from sfm_sqlite.codec import key_of
from sfm_sqlite.readers import Reader
from sfm_sqlite.rows import within

__all__ = ["times_changed", "unknown", "words"]

_KNOWN = """SELECT 1 FROM words
    WHERE ns = (SELECT num FROM namespaces WHERE name = ?) AND key = ? AND word = ? AND stem = ?"""


def words(reader: Reader, scope: Scope) -> list[tuple[str, str]]:
    """Read `Vocabulary.words`, oldest first, so that new words come after all others."""
    test, values = within(scope, "ns")
    # The numbers first, sorted (LIMIT keeps SQLite from dropping the order): then every page of the table is read once.
    sql = f"""WITH numbers AS MATERIALIZED (SELECT num FROM words WHERE ns IS NOT NULL AND {test} ORDER BY num LIMIT -1)
        SELECT w.word, w.stem FROM numbers n CROSS JOIN words w ON w.num = n.num"""  # noqa: S608
    found = reader.connection.execute(sql, values).fetchall()
    return list(dict.fromkeys(found)) if scope.subtree else found


def times_changed(reader: Reader, scope: Scope) -> int:
    """Return how often words of `scope` were added or removed; only rises."""
    test, values = within(scope, "num")
    sql = f"SELECT coalesce(sum(vocabulary), 0) FROM namespaces WHERE {test}"  # noqa: S608
    return int(reader.connection.execute(sql, values).fetchone()[0])


def unknown(reader: Reader, namespace: str, asked: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return those of `asked` that are not stored."""
    execute = reader.connection.execute
    return [
        (word, stem)
        for word, stem in asked
        if execute(_KNOWN, (namespace, key_of(f"{word}\0{stem}"), word, stem)).fetchone() is None
    ]
