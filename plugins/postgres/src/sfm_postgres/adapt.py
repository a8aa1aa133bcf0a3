"""How values travel: NUL in texts and JSON, ids, instants, JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from psycopg import AsyncConnection
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.types.numeric import Int8Dumper

__all__ = [
    "adapt",
    "array",
    "decode_json",
    "encode_json",
    "escape",
    "escape_json",
    "numbers",
    "plain_id",
    "texts",
    "unescape",
    "unescape_json",
]

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_ESCAPED = re.compile("\x01[\x01\x02]")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

encode_json = msgspec.json.encode
decode_json = msgspec.json.decode


def escape(text: str) -> str:
    r"""Return `text` without NUL, which PostgreSQL cannot hold: NUL as `\x01\x01`, `\x01` as `\x01\x02`.

    Order by code points, equality and prefixes stay what they were.
    """
    if "\x00" in text or "\x01" in text:
        return text.replace("\x01", "\x01\x02").replace("\x00", "\x01\x01")
    return text


def unescape(text: str) -> str:
    """Undo `escape`."""
    if "\x01" in text:
        return _ESCAPED.sub(lambda found: "\x00" if found[0] == "\x01\x01" else "\x01", text)
    return text


def escape_json(value: Any) -> Any:
    """Return a JSON value with every text and key escaped."""
    return _mapped(value, escape)


def unescape_json(value: Any) -> Any:
    """Undo `escape_json`."""
    return _mapped(value, unescape)


def numbers(values: Iterable[int]) -> str:
    """Return integers as the text of an array, which the driver would make ten times slower."""
    return f"{{{','.join(map(str, values))}}}"


def texts(values: Iterable[str | None]) -> str:
    """Return texts as the text of an array."""
    return f"{{{','.join(map(_quoted, values))}}}"


def array(values: Iterable[Any]) -> str:
    """Return texts, integers, instants, truth values or None as the text of an array."""
    return f"{{{','.join(map(_element, values))}}}"


def plain_id(id: str) -> str | None:
    """Return `id` when it is a canonical UUID text; anything else names nothing that is stored."""
    return id if _ID.fullmatch(id) else None


def adapt(connection: AsyncConnection[Any]) -> None:
    """Teach a connection how values are written and read."""
    adapters = connection.adapters
    # One type for all integers, whatever their size: else the same statement is prepared again for each combination.
    adapters.register_dumper(int, Int8Dumper)
    adapters.register_loader("uuid", _IdLoader)
    if connection.info.parameter_status("TimeZone") != "UTC":
        adapters.register_loader("timestamptz", _InstantLoader)
    adapters.register_loader("json", _JsonLoader)
    adapters.register_loader("jsonb", _JsonbLoader)


def _element(value: Any) -> str:
    if value is None or isinstance(value, str):
        return _quoted(value)
    return f'"{value.isoformat()}"' if isinstance(value, datetime) else str(value)


def _quoted(text: str | None) -> str:
    if text is None:
        return "NULL"
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _mapped(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key): _mapped(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(item, change) for item in value]
    return value


class _IdLoader(Loader):
    """A UUID as canonical text."""

    format = Format.BINARY

    def load(self, data: Buffer) -> str:
        text = bytes(data).hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class _InstantLoader(Loader):
    """An instant in UTC, whatever time zone the session has."""

    format = Format.BINARY

    def load(self, data: Buffer) -> datetime:
        return _EPOCH + timedelta(0, 0, int.from_bytes(data, "big", signed=True))


class _JsonLoader(Loader):
    """A JSON value."""

    format = Format.BINARY

    def load(self, data: Buffer) -> Any:
        raw = bytes(data)
        value = decode_json(raw)
        return unescape_json(value) if b"\\u0001" in raw else value


class _JsonbLoader(_JsonLoader):
    """A JSON value that is stored as `jsonb`, which has its version before it."""

    def load(self, data: Buffer) -> Any:
        return super().load(bytes(data)[1:])
