"""The writer's numbers of index terms, and the words of each namespace."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice

import msgspec

from sfm_sqlite.codec import encode_json, key_of, pack_terms

__all__ = ["Lexicon", "Word", "WordLists", "read_words"]

Word = tuple[str, str]
WordLists = list[tuple[int, list[Word]]]

_MOST_TERMS = 100_000
"""Terms remembered; beyond it the memory is emptied and fills again."""
_MOST_WORDS = 500_000
"""Words remembered of all namespaces, 70 bytes each; those of the namespace written to longest ago are dropped first."""
_LONGEST = 500
"""Words in one row: one that is emptied in place is not much rewritten."""

_FIND_TERM = "SELECT num FROM terms WHERE key = ? AND stem = ?"
_ADD_TERM = "INSERT INTO terms (key, stem) VALUES (?, ?)"
_LISTS = "SELECT num, words FROM wordlists WHERE ns = ? ORDER BY num"
_ADD_LIST = "INSERT INTO wordlists (ns, words) VALUES (?, ?)"
_SET_LIST = "UPDATE wordlists SET words = ? WHERE num = ?"

read_words = msgspec.json.Decoder(list[Word]).decode


class Lexicon:
    """Terms and words inside the writer's transaction.

    Words are held back until `store_words`, at the end of the transaction; those that are new to their namespace fill one row.
    `keep` or `take_back` must follow; `forget` after another process's erasure.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._terms: dict[str, int] = {}
        self._numbered: list[str] = []
        # Hashes, which take a third of the words: one in 2**64 / n is taken for another.
        self._words: OrderedDict[int, set[int]] = OrderedDict()
        self._word_count = 0
        self._new: dict[int, dict[Word, None]] = {}

    def forget(self) -> None:
        """Drop what is remembered of what is stored."""
        self._terms.clear()
        self._words.clear()
        self._word_count = 0

    def forget_words(self, ns: int) -> None:
        """Drop what is remembered of the words of a namespace."""
        self._word_count -= len(self._words.pop(ns, ()))

    def pack(self, stems: Iterable[str]) -> bytes:
        """Return the numbers of `stems` (repeats kept, sorted), giving new ones where needed."""
        known = self._terms
        try:
            return pack_terms([known[stem] for stem in stems])
        except KeyError:
            return pack_terms([known[stem] if stem in known else self._number(stem) for stem in stems])

    def add_words(self, ns: int, words: Iterable[Word]) -> None:
        """Hold `words` of a namespace ready for `store_words`."""
        self._new.setdefault(ns, {}).update(dict.fromkeys(words))

    def store_words(self) -> None:
        """Store those of the words held that are new to their namespace: a row for each namespace."""
        for ns, words in self._new.items():
            known = self._words[ns] if ns in self._words else self._load(ns)
            self._words.move_to_end(ns)
            new = [word for word in words if hash(word) not in known]
            self._new[ns] = dict.fromkeys(new)
            for start in range(0, len(new), _LONGEST):
                self._connection.execute(_ADD_LIST, (ns, encode_json(new[start : start + _LONGEST])))

    def keep(self) -> None:
        """Remember what the transaction that was committed just now stored."""
        for ns, words in self._new.items():
            if ns in self._words:
                self._words[ns].update(map(hash, words))
                self._word_count += len(words)
        self._new.clear()
        self._numbered.clear()
        if len(self._terms) > _MOST_TERMS:
            self._terms.clear()
        while self._word_count > _MOST_WORDS and len(self._words) > 1:
            self._word_count -= len(self._words.popitem(last=False)[1])

    def mark(self) -> tuple[int, dict[int, int]]:
        """Return what `take_back` goes back to."""
        return len(self._numbered), {ns: len(words) for ns, words in self._new.items()}

    def take_back(self, mark: tuple[int, dict[int, int]] = (0, {})) -> None:
        """Forget what was added since `mark`, by default in the whole transaction."""
        numbered, words = mark
        for stem in self._numbered[numbered:]:
            self._terms.pop(stem, None)
        del self._numbered[numbered:]
        self._new = {ns: dict.fromkeys(islice(self._new[ns], count)) for ns, count in words.items()}

    def lists(self, ns: int) -> WordLists:
        """Return the stored words of a namespace by row."""
        return [(num, read_words(words)) for num, words in self._connection.execute(_LISTS, (ns,))]

    def rewrite(self, num: int, words: Iterable[Word]) -> None:
        """Replace the words of a row by fewer; it keeps its length, so that no byte of the others stays beside it."""
        (old,) = self._connection.execute("SELECT words FROM wordlists WHERE num = ?", (num,)).fetchone()
        new = encode_json(list(words))
        self._connection.execute(_SET_LIST, (new + " " * (len(old.encode()) - len(new.encode())), num))

    def _load(self, ns: int) -> set[int]:
        known = {hash(word) for _, words in self.lists(ns) for word in words}
        self._words[ns] = known
        self._word_count += len(known)
        return known

    def _number(self, stem: str) -> int:
        key = key_of(stem)
        found = self._connection.execute(_FIND_TERM, (key, stem)).fetchone()
        number = int(found[0]) if found else self._connection.execute(_ADD_TERM, (key, stem)).lastrowid
        assert number is not None
        self._terms[stem] = number
        self._numbered.append(stem)
        return number
