"""The writer's numbers of index terms, and the words of each namespace."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from sfm_sqlite.codec import key_of, pack_terms

__all__ = ["Lexicon"]

_MOST = 100_000
"""Terms and words remembered; beyond it the memory is emptied and fills again."""

_FIND_TERM = "SELECT num FROM terms WHERE key = ? AND stem = ?"
_ADD_TERM = "INSERT INTO terms (key, stem) VALUES (?, ?)"
_ADD_WORD = """INSERT INTO words (ns, key, word, stem) SELECT ?, ?, ?, ?
    WHERE NOT EXISTS (SELECT 1 FROM words WHERE ns = ? AND key = ? AND word = ? AND stem = ?)"""


class Lexicon:
    """Terms and words inside the writer's transaction. `forget` after a roll-back or another process's erasure."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._terms: dict[str, int] = {}
        self._words: dict[str, set[int]] = {}
        self._word_count = 0

    def forget(self) -> None:
        """Drop what is remembered: numbers given in a transaction that was taken back are void."""
        self._terms.clear()
        self._words.clear()
        self._word_count = 0

    def pack(self, stems: Iterable[str]) -> bytes:
        """Return the numbers of `stems` (repeats kept, sorted), giving new ones where needed."""
        known = self._terms
        try:
            return pack_terms([known[stem] for stem in stems])
        except KeyError:
            return pack_terms([known[stem] if stem in known else self._number(stem) for stem in stems])

    def unknown(self, namespace: str, words: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the words that are not known to be stored; any thread may ask."""
        known = self._words.get(namespace, ())
        return [word for word in words if hash(word) not in known]

    def add_words(self, namespace: str, ns: int, words: Iterable[tuple[str, str]]) -> bool:
        """Store the words of a namespace that are not stored yet; tell whether there was one."""
        new = self.unknown(namespace, words)
        if not new:
            return False
        rows = [(ns, key_of(f"{word}\0{stem}"), word, stem) for word, stem in new]
        added = self._connection.executemany(_ADD_WORD, [row + row for row in rows]).rowcount
        if self._word_count >= _MOST:
            self.forget()
        self._words.setdefault(namespace, set()).update(map(hash, new))
        self._word_count += len(new)
        return added > 0

    def _number(self, stem: str) -> int:
        if len(self._terms) >= _MOST:
            self._terms.clear()
        key = key_of(stem)
        found = self._connection.execute(_FIND_TERM, (key, stem)).fetchone()
        number = int(found[0]) if found else self._connection.execute(_ADD_TERM, (key, stem)).lastrowid
        assert number is not None
        self._terms[stem] = number
        return number
