"""Reads of the words of namespaces."""

from __future__ import annotations

from sfm_core.model.namespace import Scope
from sfm_sqlite.lexicon import Word, read_words
from sfm_sqlite.readers import Reader
from sfm_sqlite.rows import within

__all__ = ["token", "words"]


def words(reader: Reader, scope: Scope) -> list[Word]:
    """Read `Vocabulary.words`, oldest first, so that new words come after all others."""
    test, values = within(scope, "ns")
    rows = reader.connection.execute(f"SELECT words FROM wordlists WHERE {test} ORDER BY num", values)  # noqa: S608
    # Processes that write at once may each have stored a word.
    return list(dict.fromkeys(word for (some,) in rows for word in read_words(some)))


def token(reader: Reader, scope: Scope) -> tuple[int, int]:
    """Return the newest row of words of `scope` and how often words of it were removed; both only rise."""
    test, values = within(scope, "ns")
    newest = f"SELECT coalesce(max(num), 0) FROM wordlists WHERE {test}"  # noqa: S608
    test, _ = within(scope, "num")
    removed = f"SELECT coalesce(sum(removals), 0) FROM namespaces WHERE {test}"  # noqa: S608
    row = reader.connection.execute(f"SELECT ({newest}), ({removed})", values + values).fetchone()
    return int(row[0]), int(row[1])
