"""Memories as rows and back."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from sfm_core.model.memory import Kind, Memory
from sfm_core.model.namespace import Scope
from sfm_sqlite.codec import decode_json, encode_json, id_of, micros, micros_or_none, moment

__all__ = ["BODY", "CURRENT", "FROM_CURRENT", "FROM_PAST", "PAST", "Names", "body_of", "memory_of", "within"]

_KINDS: tuple[Kind, ...] = ("episodic", "semantic", "procedural")
_KIND_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}

_BODY_COLUMNS = (
    "kind, content, payload, coordinate, author, thread, position, importance, tags, source, pinned, occurred_at, "
    "valid_from, valid_to, expires_at, derived_from, created_at"
)
BODY = f"INSERT INTO bodies ({_BODY_COLUMNS}) VALUES ({', '.join('?' * 17)})"  # noqa: S608 - no value in it
"""Appends a body; takes `body_of`."""

_SELECTED = ", ".join(f"b.{column}" for column in _BODY_COLUMNS.split(", "))
CURRENT = f"r.id, r.ns, {_SELECTED}, r.updated_at, r.version"
"""The columns of a newest version, for `memory_of`."""
PAST = f"r.id, r.ns, {_SELECTED}, p.updated_at, p.version"
"""The columns of an older version, for `memory_of`."""
FROM_CURRENT = "records r CROSS JOIN bodies b ON b.num = r.body"
FROM_PAST = "past p JOIN records r ON r.num = p.num JOIN bodies b ON b.num = p.body"


def body_of(memory: Memory) -> tuple[object, ...]:
    """Return the columns of a body; defaults are stored as NULL."""
    return (
        _KIND_NUMBERS[memory.kind],
        memory.content,
        encode_json(memory.payload) if memory.payload else None,
        encode_json(memory.coordinate) if memory.coordinate is not None else None,
        memory.author,
        memory.thread,
        memory.position,
        memory.importance,
        encode_json(memory.tags) if memory.tags else None,
        memory.source,
        1 if memory.pinned else 0,
        micros(memory.occurred_at),
        micros_or_none(memory.valid_from),
        micros_or_none(memory.valid_to),
        micros_or_none(memory.expires_at),
        encode_json(memory.derived_from) if memory.derived_from else None,
        micros(memory.created_at),
    )


def memory_of(row: Sequence[Any], names: Names) -> Memory:
    """Return the memory of a row that begins with the columns of `CURRENT` or `PAST`."""
    valid_from, valid_to, expires_at = row[14], row[15], row[16]
    return Memory(
        id=id_of(row[0]),
        namespace=names[row[1]],
        kind=_KINDS[row[2]],
        content=row[3],
        payload=decode_json(row[4]) if row[4] is not None else {},
        coordinate=tuple(decode_json(row[5])) if row[5] is not None else None,
        author=row[6],
        thread=row[7],
        position=row[8],
        importance=row[9],
        tags=tuple(decode_json(row[10])) if row[10] is not None else (),
        source=row[11],
        pinned=row[12] == 1,
        occurred_at=moment(row[13]),
        valid_from=moment(valid_from) if valid_from is not None else None,
        valid_to=moment(valid_to) if valid_to is not None else None,
        expires_at=moment(expires_at) if expires_at is not None else None,
        derived_from=tuple(decode_json(row[17])) if row[17] is not None else (),
        created_at=moment(row[18]),
        updated_at=moment(row[19]),
        version=row[20],
    )


class Names(dict[int, str]):
    """Names of namespaces by number, read when first asked for; a namespace keeps its number for ever."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection

    def __missing__(self, number: int) -> str:
        (name,) = self._connection.execute("SELECT name FROM namespaces WHERE num = ?", (number,)).fetchone()
        self[number] = str(name)
        return self[number]


def within(scope: Scope, column: str = "r.ns") -> tuple[str, list[object]]:
    """Return the SQL test, with its values, that `column` is the number of a namespace of `scope`."""
    if not scope.subtree:
        return column + " = (SELECT num FROM namespaces WHERE name = ?)", [scope.namespace]  # noqa: S608
    if not scope.namespace:
        return "1", []
    # "0" follows "/" in the order of bytes, so this is every name that begins with "<namespace>/".
    names = "SELECT num FROM namespaces WHERE name = ? OR (name >= ? AND name < ?)"
    return f"{column} IN ({names})", [scope.namespace, scope.namespace + "/", scope.namespace + "0"]
