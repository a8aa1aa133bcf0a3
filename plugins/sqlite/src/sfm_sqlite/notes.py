"""What is made durable with the next write: cursors of consumers and words of the vocabulary."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from msgspec import Struct, field

from sfm_core.model.namespace import Scope
from sfm_sqlite.ledger import Ledger

__all__ = ["CURSOR", "Noted", "Notes"]

CURSOR = """INSERT INTO cursors (name, sequence) VALUES (:name, :sequence)
    ON CONFLICT (name) DO UPDATE SET sequence = CASE WHEN :reset THEN :sequence ELSE max(sequence, :sequence) END"""

Word = tuple[str, str]


class Noted(Struct):
    """Cursors (whether reset first, and the sequence) by name, words by namespace."""

    cursors: dict[str, tuple[bool, int]] = field(default_factory=dict)
    words: dict[str, set[Word]] = field(default_factory=dict)

    def note_cursor(self, name: str, sequence: int) -> None:
        """Note how far a consumer has come; 0 resets."""
        reset, before = self.cursors.get(name, (False, 0))
        self.cursors[name] = (True, 0) if sequence == 0 else (reset, max(before, sequence))


class Notes:
    """Noted by the event loop's thread, taken and stored by the writer's; readable all the while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted = Noted()
        self._taken = Noted()
        self.generation = 0

    def save_cursor(self, name: str, sequence: int) -> None:
        """Note how far a consumer has come."""
        with self._lock:
            self._noted.note_cursor(name, sequence)

    def cursor(self, name: str, stored: int) -> int:
        """Return how far a consumer has come, given what is stored."""
        with self._lock:
            for noted in (self._taken, self._noted):
                reset, sequence = noted.cursors.get(name, (False, 0))
                stored = sequence if reset else max(stored, sequence)
        return stored

    def forget_cursor(self, name: str) -> None:
        """Forget what is noted of a cursor: it was reset in the store."""
        with self._lock:
            self._noted.cursors.pop(name, None)

    def add_words(self, namespace: str, words: Iterable[Word]) -> None:
        """Note words that are not stored."""
        with self._lock:
            noted = self._noted.words.setdefault(namespace, set())
            before = len(noted)
            noted.update(words)
            self.generation += len(noted) != before

    def words(self, scope: Scope) -> set[Word]:
        """Return the words of `scope` that are noted and not stored yet."""
        with self._lock:
            both = (*self._taken.words.items(), *self._noted.words.items())
            return {word for name, words in both if scope.covers(name) for word in words}

    def take(self) -> Noted:
        """Hand over what is noted; `stored` or `give_back` must follow."""
        with self._lock:
            self._taken, self._noted = self._noted, Noted()
            return self._taken

    def stored(self) -> None:
        """Forget what was taken: it is stored."""
        with self._lock:
            self._taken = Noted()

    def give_back(self) -> None:
        """Note again what was taken and could not be stored."""
        with self._lock:
            later, self._noted, self._taken = self._noted, self._taken, Noted()
            for name, (reset, sequence) in later.cursors.items():
                if reset:
                    self._noted.note_cursor(name, 0)
                if sequence:
                    self._noted.note_cursor(name, sequence)
            for namespace, words in later.words.items():
                self._noted.words.setdefault(namespace, set()).update(words)

    def write(self, ledger: Ledger, noted: Noted) -> None:
        """Store what was taken, inside the writer's transaction."""
        for name, (reset, sequence) in noted.cursors.items():
            ledger.connection.execute(CURSOR, {"name": name, "sequence": sequence, "reset": reset})
        for namespace, words in noted.words.items():
            ledger.add_words(namespace, sorted(words))
