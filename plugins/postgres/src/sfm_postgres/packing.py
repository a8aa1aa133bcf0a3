"""Values in the binary form that the server reads, each with its length before it, as COPY, arrays and records want them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from struct import Struct, pack
from typing import Any

from psycopg import BaseConnection
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

from sfm_core.errors import InvalidInput
from sfm_postgres.adapt import escape

__all__ = [
    "BIGINT",
    "BIGINTS",
    "BOOLEAN",
    "END",
    "FALSE",
    "FLOAT",
    "FLOATS",
    "INTEGER",
    "INTEGERS",
    "JSON",
    "JSONB",
    "NULL",
    "START",
    "TEXT",
    "TEXTS",
    "TIME",
    "TRUE",
    "UUID",
    "Packed",
    "array",
    "bigint",
    "boolean",
    "can_send",
    "float8",
    "integer",
    "json",
    "jsonb",
    "packed",
    "record",
    "text",
    "texts",
    "time",
    "tuple_of",
    "uuid",
]  # fmt: skip

BOOLEAN, BIGINT, INTEGER, TEXT, JSON, FLOAT, TIME, UUID, JSONB = 16, 20, 23, 25, 114, 701, 1184, 2950, 3802
INTEGERS, TEXTS, BIGINTS, FLOATS = 1007, 1009, 1016, 1022
"""The numbers of types, which are the same in every PostgreSQL."""

NULL = b"\xff\xff\xff\xff"
FALSE, TRUE = b"\0\0\0\1\0", b"\0\0\0\1\1"
START = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END = b"\xff\xff"
"""What a binary COPY begins and ends with."""

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_DAY, _SECOND = 86_400_000_000, 1_000_000
_long = Struct(">iq").pack
_int = Struct(">ii").pack
_double = Struct(">id").pack
_length = Struct(">i").pack
_array = Struct(">iiiiii").pack


class Packed(bytes):
    """A value in its type's binary form, without its length; the statement has to tell the type, by a cast or a column."""


class _PackedDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Packed) -> Buffer:
        return bytes(obj)


def can_send(connection: BaseConnection[Any]) -> None:
    """Let `connection` take `Packed` values."""
    connection.adapters.register_dumper(Packed, _PackedDumper)


def packed(field: bytes) -> Packed | None:
    """Return a value to be passed to a statement."""
    return None if field == NULL else Packed(field[4:])


def tuple_of(fields: Sequence[bytes]) -> bytes:
    """Return a row for COPY."""
    return pack(">h", len(fields)) + b"".join(fields)


def record(types: Sequence[int], fields: Sequence[bytes]) -> Packed:
    """Return a row as a value of a composite type whose columns have `types`."""
    typed = [part for type, field in zip(types, fields, strict=True) for part in (_length(type), field)]
    return Packed(_length(len(fields)) + b"".join(typed))


def array(type: int, fields: Sequence[bytes]) -> bytes:
    """Return an array of values of `type`."""
    if not fields:
        return _length(12) + pack(">iii", 0, 0, type)
    data = b"".join(fields)
    return _array(20 + len(data), 1, NULL in fields, type, len(fields), 1) + data


def bigint(value: int | None) -> bytes:
    """Return a `bigint`."""
    return NULL if value is None else _long(8, value)


def integer(value: int) -> bytes:
    """Return an `integer`."""
    return _int(4, value)


def float8(value: float) -> bytes:
    """Return a `float8`."""
    return _double(8, value)


def boolean(value: bool) -> bytes:
    """Return a `boolean`."""
    return TRUE if value else FALSE


def text(value: str | None) -> bytes:
    """Return a `text`, escaped."""
    if value is None:
        return NULL
    data = escape(value).encode()
    return _length(len(data)) + data


def json(value: str) -> bytes:
    """Return a `json` from its text."""
    data = value.encode()
    return _length(len(data)) + data


def jsonb(value: str) -> bytes:
    """Return a `jsonb` from its text."""
    data = value.encode()
    return _length(1 + len(data)) + b"\1" + data


def time(value: datetime | None) -> bytes:
    """Return a `timestamptz`."""
    if value is None:
        return NULL
    since = value - _EPOCH
    return _long(8, since.days * _DAY + since.seconds * _SECOND + since.microseconds)


def uuid(value: str | None) -> bytes:
    """Return a `uuid`.

    Raises:
        InvalidInput: it is none.
    """
    if value is None:
        return NULL
    try:
        data = bytes.fromhex(value.replace("-", ""))
    except ValueError:
        data = b""
    if len(data) != 16:
        raise InvalidInput.of("id", value, "a UUID")
    return b"\0\0\0\x10" + data


def texts(values: Iterable[str]) -> bytes:
    """Return a `text[]`, escaped."""
    return array(TEXT, [_length(len(data)) + data for data in [escape(value).encode() for value in values]])
