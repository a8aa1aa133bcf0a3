"""The floor: the least that plain SQLite and NumPy need for the same job, with the same durability."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Floor"]

_SCHEMA = """
pragma journal_mode = wal;
pragma synchronous = full;
create table memory (id integer primary key, namespace text, content text, fields text);
create index by_namespace on memory (namespace);
create virtual table words using fts5 (content, namespace, tokenize = 'porter unicode61');
"""
_ADD = "insert into memory (id, namespace, content, fields) values (?, ?, ?, ?)"
_INDEX = "insert into words (rowid, content, namespace) values (?, ?, ?)"


class Floor:
    """One table, one full-text index, one matrix per namespace."""

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "floor.sqlite3", isolation_level=None)
        self._db.executescript(_SCHEMA)
        self._count = 0
        self._matrices: dict[str, Any] = {}

    def store(self, items: Sequence[dict[str, Any]]) -> None:
        """Store items in one durable transaction."""
        rows = [(self._count + i, item["namespace"], item["content"], json.dumps(item)) for i, item in enumerate(items)]
        self._count += len(rows)
        self._db.execute("begin immediate")
        self._db.executemany(_ADD, rows)
        self._db.executemany(_INDEX, [(id, content, name.replace("/", "x")) for id, name, content, _ in rows])
        self._db.execute("commit")

    def get(self, number: int) -> Any:
        """Read one row by key and decode it."""
        return json.loads(self._db.execute("select fields from memory where id = ?", (number,)).fetchone()[0])

    def index(self, vectors: dict[str, Any]) -> None:
        """Keep a matrix per namespace."""
        self._matrices = vectors

    def nearest(self, name: str, vector: Any, k: int) -> list[Any]:
        """Scan the matrix of a namespace and read the k best rows."""
        scores = self._matrices[name] @ vector
        best = np.argpartition(-scores, min(k, len(scores) - 1))[:k]
        return [self.get(int(number)) for number in best]

    def words(self, name: str, question: str, k: int) -> list[Any]:
        """Ask the full-text index for any word of the question inside a namespace."""
        asked = " or ".join(f'"{word}"' for word in question.rstrip("?").split()).replace(" or ", " OR ")
        match = f'namespace : "{name.replace("/", "x")}" AND content : ({asked})'
        found = self._db.execute("select rowid from words where words match ? order by rank limit ?", (match, k))
        return [self.get(row[0]) for row in found]

    def close(self) -> None:
        """Close the database."""
        self._db.close()
