"""When two memories say the same: the digest that finds candidates and the test that decides."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from sfm_core.model.filter import json_equal
from sfm_core.model.memory import Memory

__all__ = ["digest", "is_twin"]

_encode = msgspec.json.Encoder(order="sorted").encode
_SAFE = 2**53


def digest(memory: Memory) -> bytes:
    """Return 16 bytes that are equal for memories with equal `content` and `payload` (1 and 1.0 are equal, true is not 1).

    BLAKE2b of their canonical JSON: sorted keys, whole floats as integers. Unequal ones collide by chance only.
    """
    return blake2b(_encode((memory.content, _canonical(memory.payload))), digest_size=16).digest()


def is_twin(new: Memory, given: frozenset[str], stored: Memory) -> bool:
    """Tell whether `new`, of which the caller gave the fields `given`, says nothing that `stored` does not.

    That is: `content` and `payload` are equal, and so is every field in `given` save `id` and `namespace`. Values are
    compared by deep JSON equality, times as instants.
    """
    fields = {"content", "payload"} | (given - {"id", "namespace"})
    return all(json_equal(getattr(new, field), getattr(stored, field)) for field in fields)


def _canonical(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not -_SAFE < value < _SAFE:
        return hex(value)  # the encoder takes 64 bits; that a text collides does no harm, `is_twin` decides
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return value
