"""Stems of words by Snowball, remembered within a bound and safe to ask from many threads."""

from __future__ import annotations

from threading import Lock

from Stemmer import Stemmer

from sfm_core.text.tokens import MAX_WORD

__all__ = ["Stems"]

_REMEMBERED = 50_000


class Stems(dict[str, tuple[str, str] | None]):
    """Maps a folded word to (word, stem), or to None for a stop word: `stems[word]` fills in what is missing.

    A plain lookup costs what a dict costs; the one lock is taken for new words only. When the bound is reached everything
    is forgotten: a text rarely brings more than a few new words, and 50,000 of them take about 10 MB.
    """

    def __init__(self, algorithm: str | None, stop: frozenset[str]) -> None:
        super().__init__()
        self._stemmer = Stemmer(algorithm, 0) if algorithm else None
        self._stop = stop
        self._lock = Lock()

    def __missing__(self, word: str) -> tuple[str, str] | None:
        if len(word) > MAX_WORD:
            return self._pair(word[:MAX_WORD])
        with self._lock:
            if len(self) >= _REMEMBERED:
                self.clear()
            found = self[word] = None if word in self._stop else self._pair(word)
        return found

    def _pair(self, word: str) -> tuple[str, str]:
        return word, self._stemmer.stemWord(word) if self._stemmer else word
