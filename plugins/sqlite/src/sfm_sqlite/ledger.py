"""The writer's transaction: what every write needs of it."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any, NoReturn, get_args

from sfm_core.errors import BackendError, Conflict, NotFound, StaleVersion
from sfm_core.model.event import ChangeType
from sfm_core.model.memory import Memory
from sfm_sqlite.codec import micros
from sfm_sqlite.lexicon import Lexicon
from sfm_sqlite.rows import Names, memory_of

__all__ = ["CHANGE_NUMBERS", "CHANGE_TYPES", "WHERE", "Ledger", "refuse", "stale"]

WHERE = "sqlite/storage"

CHANGE_TYPES: tuple[ChangeType, ...] = get_args(ChangeType)
CHANGE_NUMBERS = {type: number for number, type in enumerate(CHANGE_TYPES)}

_LOG = "INSERT INTO changes (id, num, version, ns, type, time, target) VALUES (?, ?, ?, ?, ?, ?, ?)"
_REMOVED_WORDS = "UPDATE namespaces SET removals = removals + 1 WHERE num = ?"
_JOIN = """INSERT INTO members (operation, id, version, sequence) VALUES (?, ?, ?, ?)
    ON CONFLICT (operation, id) DO UPDATE SET version = excluded.version, sequence = excluded.sequence"""


def refuse(kind: type[BackendError], text: str) -> NoReturn:
    """Refuse a write."""
    raise kind(f"{WHERE}: {text}")


def stale(id: str, current: int, expected: int) -> NoReturn:
    """Refuse a write for its expected version."""
    raise StaleVersion(f"{WHERE}: memory {id} has version {current}, not {expected}", current=current)


class Ledger:
    """One transaction at a time on the writer's connection.

    Attributes:
        connection: the writer's connection.
        lexicon: terms and words.
        names: names of namespaces by number.
        erased: texts of the bodies erased in this transaction, and their terms, by namespace.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.lexicon = Lexicon(connection)
        self.names = Names(connection)
        self.erased: dict[int, tuple[list[str], set[int]]] = {}
        self._namespaces: dict[str, int] = {}
        self._seen = 0
        self._erasures = 0

    def begin(self) -> None:
        """Take the write lock, and forget what another process's erasure made void."""
        self.connection.execute("BEGIN IMMEDIATE")
        (seen,) = self.connection.execute("PRAGMA data_version").fetchone()
        if seen != self._seen:
            self._seen = seen
            (erasures,) = self.connection.execute("SELECT value FROM meta WHERE name = 'erasures'").fetchone()
            if erasures != self._erasures:
                self.lexicon.forget()
            self._erasures = erasures

    def commit(self) -> None:
        """Commit; `lexicon.store_words` went before."""
        if self.erased:
            self.connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'erasures'")
        self.connection.execute("COMMIT")
        self._erasures += bool(self.erased)
        self.lexicon.keep()
        self.erased.clear()

    def roll_back(self) -> None:
        """Take the whole transaction back."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        self.lexicon.take_back()
        self._forget()
        self.erased.clear()

    def mark(self) -> Any:
        """Begin a part that can be taken back alone."""
        self.connection.execute("SAVEPOINT unit")
        return self.lexicon.mark(), {ns: (list(texts), set(terms)) for ns, (texts, terms) in self.erased.items()}

    def keep(self) -> None:
        """End the part."""
        self.connection.execute("RELEASE unit")

    def take_back(self, mark: Any) -> None:
        """Undo the part that began with `mark`."""
        self.connection.execute("ROLLBACK TO unit")
        self.connection.execute("RELEASE unit")
        added, self.erased = mark
        self.lexicon.take_back(added)
        self._forget()

    def namespace(self, name: str) -> int:
        """Return the number of a namespace, giving it one when it is new."""
        number = self._namespaces.get(name)
        if number is None:
            found = self.connection.execute("SELECT num FROM namespaces WHERE name = ?", (name,)).fetchone()
            if found is None:
                number = self.connection.execute("INSERT INTO namespaces (name) VALUES (?)", (name,)).lastrowid
            else:
                number = int(found[0])
            assert number is not None
            self._namespaces[name] = number
        return number

    def log(
        self, type: ChangeType, id: bytes, num: int, version: int, ns: int, time: datetime, target: bytes | None = None
    ) -> int:
        """Append a change row and return its sequence."""
        values = (id, num, version, ns, CHANGE_NUMBERS[type], micros(time), target)
        sequence = self.connection.execute(_LOG, values).lastrowid
        assert sequence is not None
        return sequence

    def join(self, operation: str, id: bytes, version: int, sequence: int) -> None:
        """Note that `operation` gave a memory this version."""
        self.connection.execute(_JOIN, (operation, id, version, sequence))

    def words_removed(self, ns: int) -> None:
        """Note that a namespace has fewer words."""
        self.lexicon.forget_words(ns)
        self.connection.execute(_REMOVED_WORDS, (ns,))

    def memory(self, row: Any) -> Memory:
        """Return the memory of a row."""
        return memory_of(row, self.names)

    def not_there(self, id: str) -> NoReturn:
        """Refuse for a memory that is not (or no longer) there."""
        refuse(NotFound, f"memory {id} is not there")

    def taken(self, id: str) -> NoReturn:
        """Refuse for an id that is in use, or was."""
        refuse(Conflict, f"id {id} is taken")

    def _forget(self) -> None:
        self.names.clear()
        self._namespaces.clear()
