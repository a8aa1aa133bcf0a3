"""The file of the vector index.

A vector has a slot of fixed size, which is overwritten in place and used again, so a row never moves and no copy of a
deleted vector stays behind in a page. `ids` remembers the version of every point and of every deletion; `num` numbers the
changes, so that other processes can follow them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from msgspec import Struct

from sfm_core.errors import ConfigError
from sfm_core.model.namespace import Scope
from sfm_core.ports.vectors import Space
from sfm_sqlite.rows import within

__all__ = ["APPLICATION_ID", "STEPS", "WHERE", "News", "VectorFile"]

WHERE = "sqlite/vectors"
APPLICATION_ID = 0x53465631
"""Marks a file as ours: "SFV1"."""

STEPS: tuple[str, ...] = (
    """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO meta VALUES ('num', 0), ('epoch', 0);
CREATE TABLE namespaces (num INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE points (slot INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE free (slot INTEGER PRIMARY KEY);
CREATE TABLE ids (
    id BLOB PRIMARY KEY,
    ns INTEGER,
    version INTEGER NOT NULL,
    num INTEGER NOT NULL,
    slot INTEGER
) WITHOUT ROWID;
CREATE INDEX ids_ns ON ids (ns, slot, version) WHERE slot IS NOT NULL;
CREATE INDEX ids_num ON ids (num);
""",
)

_BATCH = 512
_LOAD = """SELECT i.id, i.version, p.data FROM ids i CROSS JOIN points p ON p.slot = i.slot
    WHERE i.ns = ? AND i.slot IS NOT NULL ORDER BY i.slot"""
_NEWS = """SELECT i.ns, i.id, i.version, p.data FROM ids i LEFT JOIN points p ON p.slot = i.slot
    WHERE i.num > ? ORDER BY i.num LIMIT ?"""
_SET_ID = """INSERT INTO ids (id, ns, version, num, slot) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET ns = excluded.ns, version = excluded.version, num = excluded.num, slot = excluded.slot"""


class News(Struct, frozen=True):
    """What changed since a number: (namespace, id, version, data or None when deleted), and where the log stands now."""

    rows: Sequence[tuple[int | None, bytes, int, bytes | None]]
    num: int
    epoch: int


class VectorFile:
    """Statements on one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def space(self) -> Space | None:
        """Return the space of the stored vectors; None in a new file."""
        found = dict(self.connection.execute("SELECT name, value FROM meta WHERE name IN ('dimension', 'fingerprint')"))
        return Space(int(found["dimension"]), str(found["fingerprint"])) if len(found) == 2 else None

    def set_space(self, space: Space) -> None:
        """Note the space."""
        values = (("dimension", space.dimension), ("fingerprint", space.fingerprint))
        self.connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values)

    def require_space(self, asked: Space | None) -> Space | None:
        """Return the space of the file, noting the one asked for when it is new.

        Raises:
            ConfigError: it holds another space.
        """
        stored = self.space()
        if stored is None and asked is not None:
            with self.connection:
                self.connection.execute("BEGIN IMMEDIATE")
                stored = self.space()
                if stored is None:
                    self.set_space(asked)
                    return asked
        if asked is not None and stored != asked:
            raise ConfigError(
                f"{WHERE}: the index holds vectors of {_named(stored)}, the embedding makes {_named(asked)}; "
                "run `sfm reindex` to embed all memories anew"
            )
        return stored

    def state(self) -> tuple[int, int]:
        """Return the newest number and how often the index was cleared."""
        rows = self.connection.execute("SELECT value FROM meta WHERE name IN ('epoch', 'num') ORDER BY name").fetchall()
        return int(rows[1][0]), int(rows[0][0])

    def news(self, after: int, limit: int) -> News:
        """Return changes above `after`."""
        num, epoch = self.state()
        rows = self.connection.execute(_NEWS, (after, limit)).fetchall() if num > after else []
        return News(rows, num, epoch)

    def load(self, ns: int) -> Iterable[Sequence[tuple[bytes, int, bytes]]]:
        """Read the points of a namespace, in batches."""
        rows = self.connection.execute(_LOAD, (ns,))
        while batch := rows.fetchmany(_BATCH):
            yield batch

    def points_in(self, ns: int) -> int:
        """Return the number of points of a namespace."""
        sql = "SELECT count(*) FROM ids WHERE ns = ? AND slot IS NOT NULL"
        return int(self.connection.execute(sql, (ns,)).fetchone()[0])

    def namespaces(self, scope: Scope) -> list[int]:
        """Return the numbers of the namespaces of `scope`."""
        test, values = within(scope, "num")
        return [num for (num,) in self.connection.execute(f"SELECT num FROM namespaces WHERE {test}", values)]  # noqa: S608

    def count(self, scope: Scope) -> int:
        """Return the number of points in `scope`."""
        test, values = within(scope, "ns")
        sql = f"SELECT count(*) FROM ids WHERE slot IS NOT NULL AND {test}"  # noqa: S608
        return int(self.connection.execute(sql, values).fetchone()[0])

    def versions(self, blobs: Iterable[bytes]) -> dict[bytes, int]:
        """Return the versions of those ids that have a point."""
        sql = "SELECT version FROM ids WHERE id = ? AND slot IS NOT NULL"
        found = ((blob, self.connection.execute(sql, (blob,)).fetchone()) for blob in blobs)
        return {blob: row[0] for blob, row in found if row is not None}

    def put(self, points: Iterable[tuple[bytes, int, str, bytes]]) -> None:
        """Store points (id, version, namespace, data) inside the open transaction."""
        num = before = self.state()[0]
        names: dict[str, int] = {}
        for id, version, namespace, data in points:
            row = self.connection.execute("SELECT version, slot FROM ids WHERE id = ?", (id,)).fetchone()
            if row is not None and row[0] >= version:
                continue
            if namespace not in names:
                names[namespace] = self._namespace(namespace)
            num += 1
            slot = self._fill(row[1] if row is not None else None, data)
            self.connection.execute(_SET_ID, (id, names[namespace], version, num, slot))
        self._set_num(before, num)

    def remove(self, ids: Iterable[tuple[bytes, int]], size: int) -> None:
        """Remove points (id, version) inside the open transaction; `size` is that of a slot."""
        num = before = self.state()[0]
        for id, version in ids:
            row = self.connection.execute("SELECT version, slot, ns FROM ids WHERE id = ?", (id,)).fetchone()
            if row is not None and (row[0] > version or (row[0] == version and row[1] is None)):
                continue
            num += 1
            if row is not None and row[1] is not None:
                self.connection.execute("UPDATE points SET data = zeroblob(?) WHERE slot = ?", (size, row[1]))
                self.connection.execute("INSERT INTO free (slot) VALUES (?)", (row[1],))
            self.connection.execute(_SET_ID, (id, row[2] if row is not None else None, version, num, None))
        self._set_num(before, num)

    def clear(self, space: Space | None) -> None:
        """Throw everything away, inside the open transaction."""
        for table in ("points", "free", "ids", "namespaces"):
            self.connection.execute(f"DELETE FROM {table}")  # noqa: S608
        self.connection.execute("UPDATE meta SET value = value + 1 WHERE name IN ('epoch', 'num')")
        if space is not None:
            self.set_space(space)

    def _fill(self, slot: int | None, data: bytes) -> int:
        if slot is None:
            free = self.connection.execute("SELECT slot FROM free LIMIT 1").fetchone()
            if free is None:
                slot = self.connection.execute("INSERT INTO points (data) VALUES (?)", (data,)).lastrowid
                assert slot is not None
                return slot
            slot = int(free[0])
            self.connection.execute("DELETE FROM free WHERE slot = ?", (slot,))
        self.connection.execute("UPDATE points SET data = ? WHERE slot = ?", (data, slot))
        return slot

    def _namespace(self, name: str) -> int:
        row = self.connection.execute("SELECT num FROM namespaces WHERE name = ?", (name,)).fetchone()
        if row is not None:
            return int(row[0])
        num = self.connection.execute("INSERT INTO namespaces (name) VALUES (?)", (name,)).lastrowid
        assert num is not None
        return num

    def _set_num(self, before: int, num: int) -> None:
        if num != before:
            self.connection.execute("UPDATE meta SET value = ? WHERE name = 'num'", (num,))


def _named(space: Space | None) -> str:
    return f"{space.fingerprint!r} ({space.dimension} dimensions)" if space is not None else "no model"
