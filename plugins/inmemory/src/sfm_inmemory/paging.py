"""Orders of lists and the positions in them."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sfm_core.errors import InvalidInput
from sfm_core.model.memory import Memory
from sfm_core.ports.storage import Order

__all__ = ["decode", "encode", "read_place", "sort_key"]

Rank = tuple[bool, float, str]
_FIRST = datetime.min.replace(tzinfo=UTC)
_ALLOWED = "the `next` of a former page of the same list"


def sort_key(order: Order) -> Callable[[Memory], Rank]:
    """Return the key that sorts memories by `order`: nulls last, ties by id."""
    name = order.value.removeprefix("-")
    sign = -1 if order.value.startswith("-") else 1

    def key(memory: Memory) -> Rank:
        value = getattr(memory, name)
        if value is None:
            return (True, 0, memory.id)
        return (False, sign * _number(value), memory.id)

    return key


def _number(value: datetime | float) -> float:
    if isinstance(value, datetime):
        return (value - _FIRST) // timedelta(microseconds=1)  # a float of seconds would fold neighbouring instants
    return value


def encode(*parts: Any) -> str:
    """Return an opaque position."""
    return urlsafe_b64encode(json.dumps(parts).encode()).decode()


def decode(position: str, kinds: Sequence[type | tuple[type, ...]]) -> list[Any]:
    """Read a position back.

    Raises:
        InvalidInput: it is none, or not of these kinds.
    """
    try:
        parts = json.loads(urlsafe_b64decode(position.encode()))
    except ValueError:
        parts = None
    if not isinstance(parts, list) or len(parts) != len(kinds) or not all(map(isinstance, parts, kinds)):
        raise InvalidInput.of("cursor", position, _ALLOWED)
    return parts


def read_place(order: Order, position: str) -> Rank:
    """Read the sort key that `position` of a list in `order` stands for.

    Raises:
        InvalidInput: it is no position of this order.
    """
    name, null, number, id = decode(position, [str, bool, (int, float), str])
    if name != order.value:
        raise InvalidInput.of("cursor", position, _ALLOWED)
    return (null, number, id)
