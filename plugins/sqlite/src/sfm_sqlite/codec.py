"""How ids, times, JSON and text keys are stored."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec

__all__ = [
    "blob_of",
    "blob_or_none",
    "decode_json",
    "encode_json",
    "id_of",
    "key_of",
    "micros",
    "micros_or_none",
    "moment",
    "pack_terms",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_HEX = frozenset("0123456789abcdef")

_encode = msgspec.json.Encoder().encode
decode_json = msgspec.json.decode


def encode_json(value: Any) -> str:
    """Return `value` as JSON text."""
    return _encode(value).decode()


def blob_of(id: str) -> bytes:
    """Return the 16 bytes of a canonical UUID text."""
    return bytes.fromhex(id.replace("-", ""))


def blob_or_none(id: str) -> bytes | None:
    """Return the 16 bytes of `id`, None when it is not a canonical UUID text (and so names nothing that is stored)."""
    hexed = id.replace("-", "")
    if len(hexed) != 32 or not _HEX.issuperset(hexed):
        return None
    blob = bytes.fromhex(hexed)
    return blob if id_of(blob) == id else None


def id_of(blob: bytes) -> str:
    """Return the canonical UUID text of 16 bytes."""
    text = blob.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def micros(time: datetime) -> int:
    """Return an aware instant as whole microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def micros_or_none(time: datetime | None) -> int | None:
    """Return an aware instant as whole microseconds since 1970, None as None."""
    return None if time is None else (time - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """Return the instant of whole microseconds since 1970."""
    return _EPOCH + timedelta(0, 0, value)


@lru_cache(maxsize=8192)
def key_of(text: str) -> int:
    """Return 64 bits of BLAKE2b that stand for `text` in an index.

    Indexes hold such keys instead of texts: SQLite leaves stale copies of index entries in its pages when it rebalances
    them, and no erased text may survive in one.
    """
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def pack_terms(terms: Iterable[int]) -> bytes:
    """Return term numbers, sorted, as 32-bit little-endian integers."""
    packed = array("I", sorted(terms))
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()
