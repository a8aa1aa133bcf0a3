"""Vectors in the binary form that pgvector reads (`vector_recv`, `halfvec_recv`, inside PostgreSQL's `array_recv`)."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from hashlib import blake2b

from sfm_core.services.vector_arm import unit
from sfm_postgres.packing import Packed

__all__ = ["HALF", "SINGLE", "nudged", "pack", "pack_all"]

SINGLE, HALF = "vector", "halfvec"
"""The types of a column: 32 or 16 bits a number."""

_NUDGES, _NUDGE = 8, 0.01
_LETTERS = {SINGLE: "f", HALF: "e"}


def pack(kind: str, row: Sequence[float]) -> Packed:
    """Return one vector, made one of length 1 so that no number of it is out of the range of its type.

    The form: dimension and a zero in 16 bits each, then the numbers, all big-endian.
    """
    return Packed(struct.pack(f">HH{len(row)}{_LETTERS[kind]}", len(row), 0, *unit(row)))


def pack_all(kind: str, oid: int, rows: Sequence[Sequence[float]]) -> Packed:
    """Return an array of vectors; `oid` is that of the type in this database."""
    parts = [struct.pack(">iiIii", 1, 0, oid, len(rows), 1)]
    for row in rows:
        packed = pack(kind, row)
        parts += [struct.pack(">i", len(packed)), packed]
    return Packed(b"".join(parts))


def nudged(id: str, row: Sequence[float]) -> Sequence[float]:
    """Return a vector near `row` that no other id has: the same for the same id, at a cosine of 0.9996.

    Hundreds of equal vectors (short texts come again and again) take all the links of each other in HNSW, and hide what is
    linked to them alone: with 800 among 4,000 points one in 25 of the rest could not be found any more; nudged, all were.
    """
    moved = list(unit(row))
    for place, sign in struct.iter_unpack(">Hb", blake2b(id.encode(), digest_size=3 * _NUDGES).digest()):
        moved[place % len(moved)] += math.copysign(_NUDGE, sign)
    return moved
