"""What is made durable with the next write: cursors of consumers."""

from __future__ import annotations

import threading
from sqlite3 import Connection

__all__ = ["CURSOR", "Notes"]

CURSOR = """INSERT INTO cursors (name, sequence) VALUES (:name, :sequence)
    ON CONFLICT (name) DO UPDATE SET sequence = CASE WHEN :reset THEN :sequence ELSE max(sequence, :sequence) END"""

_Cursors = dict[str, tuple[bool, int]]
"""Whether reset first, and the sequence, by name."""


class Notes:
    """Noted by the event loop's thread, taken and stored by the writer's; readable all the while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: _Cursors = {}
        self._taken: _Cursors = {}

    def save_cursor(self, name: str, sequence: int) -> None:
        """Note how far a consumer has come."""
        with self._lock:
            self._note(name, sequence)

    def cursor(self, name: str, stored: int) -> int:
        """Return how far a consumer has come, given what is stored."""
        with self._lock:
            for noted in (self._taken, self._noted):
                reset, sequence = noted.get(name, (False, 0))
                stored = sequence if reset else max(stored, sequence)
        return stored

    def forget_cursor(self, name: str) -> None:
        """Forget what is noted of a cursor: it was reset in the store."""
        with self._lock:
            self._noted.pop(name, None)

    def write(self, connection: Connection) -> None:
        """Store what is noted, inside the writer's transaction; `stored` or `give_back` must follow."""
        with self._lock:
            self._taken, self._noted = self._noted, {}
        for name, (reset, sequence) in self._taken.items():
            connection.execute(CURSOR, {"name": name, "sequence": sequence, "reset": reset})

    def stored(self) -> None:
        """Forget what was taken: it is stored."""
        with self._lock:
            self._taken = {}

    def give_back(self) -> None:
        """Note again what was taken and could not be stored."""
        with self._lock:
            later, self._noted, self._taken = self._noted, self._taken, {}
            for name, (reset, sequence) in later.items():
                if reset:
                    self._note(name, 0)
                if sequence:
                    self._note(name, sequence)

    def _note(self, name: str, sequence: int) -> None:
        reset, before = self._noted.get(name, (False, 0))
        self._noted[name] = (True, 0) if sequence == 0 else (reset, max(before, sequence))
