"""Checks of single values that callers give: each returns the canonical value or raises `InvalidInput` naming the field."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from sfm_core.errors import InvalidInput, LimitExceeded, Problem, shown
from sfm_core.model.times import parse_time

__all__ = [
    "check_bool",
    "check_coordinate",
    "check_count",
    "check_cursor",
    "check_json_object",
    "check_levels",
    "check_number",
    "check_one_of",
    "check_text",
    "check_texts",
    "check_time",
    "check_vector",
    "check_version",
]

_INT_LOW, _INT_HIGH = -(2**63), 2**63 - 1
_CURSOR = 1000


def _too_large(field: str, given: str, allowed: str) -> LimitExceeded:
    return LimitExceeded([Problem(field, given, allowed)])


def check_text(value: object, field: str, *, longest: int, unit: str = "characters") -> str:
    """Accept non-blank text without NUL and lone surrogates, of at most `longest` characters (or bytes of UTF-8)."""
    if not isinstance(value, str) or not value or value.isspace():
        raise InvalidInput.of(field, value, "non-blank text")
    _check_characters(value, field)
    size = len(value) if unit == "characters" or len(value) * 4 <= longest else len(value.encode())
    if size > longest:
        raise _too_large(field, f"{size} {unit}", f"at most {longest} {unit}")
    return value


def _check_characters(value: str, field: str) -> None:
    # The place is told, not the text: messages are logged and kept.
    if "\0" in value:
        raise InvalidInput([Problem(field, f"a NUL at {value.index(chr(0))}", "text without NUL characters")])
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            given = f"a lone surrogate at {error.start}"
            raise InvalidInput([Problem(field, given, "text without lone surrogates")]) from None


def check_texts(value: object, field: str, *, most: int, longest: int) -> tuple[str, ...]:
    """Accept a list of at most `most` distinct non-blank texts."""
    items = _items(value, field, f"a list of at most {most} distinct texts")
    if len(items) > most:
        raise _too_large(field, f"{len(items)} items", f"at most {most}")
    texts = tuple(check_text(item, f"{field}.{i}", longest=longest) for i, item in enumerate(items))
    if len(set(texts)) != len(texts):
        raise InvalidInput.of(field, value, "distinct texts")
    return texts


def _items(value: object, field: str, allowed: str) -> list[Any]:
    if not isinstance(value, list | tuple | set | frozenset):
        raise InvalidInput.of(field, value, allowed)
    return sorted(value, key=str) if isinstance(value, set | frozenset) else list(value)


def check_one_of(value: object, field: str, allowed: Sequence[str]) -> str:
    """Accept one of some texts."""
    if not isinstance(value, str) or value not in allowed:
        raise InvalidInput.of(field, value, f"one of {', '.join(allowed)}")
    return value


def check_bool(value: object, field: str) -> bool:
    """Accept true and false only."""
    if not isinstance(value, bool):
        raise InvalidInput.of(field, value, "true or false")
    return value


def check_count(value: object, field: str, *, low: int, high: int = _INT_HIGH) -> int:
    """Accept a whole number (no bool, no float) in low..high."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidInput.of(field, value, f"a whole number from {low} to {high}")
    return value


def check_version(value: object, field: str = "expected_version") -> int | None:
    """Accept the number of a version, or None."""
    return None if value is None else check_count(value, field, low=1)


def check_cursor(value: object, field: str = "cursor") -> str | None:
    """Accept what may be the `next` of a page, or None; the storage knows its own."""
    if value is None or (isinstance(value, str) and 0 < len(value) <= _CURSOR and value.isascii()):
        return value
    raise InvalidInput.of(field, value, "the `next` of an earlier page of the same list")


def check_number(
    value: object, field: str, *, low: float | None = None, high: float | None = None, above: float | None = None
) -> float:
    """Accept a finite number (no bool) within the bounds given."""
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if (
        not math.isfinite(number)
        or (low is not None and number < low)
        or (high is not None and number > high)
        or (above is not None and number <= above)
    ):
        bounds = [
            f"{word} {bound}" for word, bound in (("from", low), ("above", above), ("to", high)) if bound is not None
        ]
        raise InvalidInput.of(field, value, " ".join(["a finite number", *bounds]))
    return number


def check_coordinate(value: object, field: str = "coordinate", *, most: int = 64) -> tuple[float, ...]:
    """Accept 1 to `most` finite numbers; the canonical form has floats only and no negative zero."""
    allowed = f"a list of 1 to {most} finite numbers"
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= most:
        raise InvalidInput.of(field, value, allowed)
    return tuple(check_number(item, f"{field}.{i}") + 0.0 for i, item in enumerate(value))


def check_vector(value: object, field: str, *, dimension: int | None = None) -> tuple[float, ...]:
    """Accept finite numbers, not all zero, exactly `dimension` of them when that is known."""
    to_list = getattr(value, "tolist", None)
    if to_list is not None:
        value = to_list()
    allowed = f"{'a list of' if dimension is None else f'exactly {dimension}'} finite numbers, not all zero"
    if not isinstance(value, list | tuple) or not value:
        raise InvalidInput.of(field, value, allowed)
    if dimension is not None and len(value) != dimension:
        raise InvalidInput([Problem(field, f"{len(value)} numbers", allowed)])
    if set(map(type, value)) != {float} or not all(map(math.isfinite, value)):  # at the speed of C for a good one
        for i, item in enumerate(value):
            check_number(item, f"{field}.{i}")
    if not any(value):
        raise InvalidInput([Problem(field, "zeros only", allowed)])
    return tuple(map(float, value))


def check_time(value: object, field: str) -> datetime:
    """Accept an ISO 8601 text or a datetime; without a zone it is UTC. The result is aware, in UTC."""
    if isinstance(value, datetime) and value.tzinfo is UTC:
        return value
    return parse_time(value, field)


def check_json_object(value: object, field: str, *, most_bytes: int, depth: int) -> dict[str, Any]:
    """Accept a JSON object: text keys, finite numbers, whole numbers of 64 bits, lists, at most `depth` levels.

    Returns:
        A deep copy, so that later changes of the caller's object change nothing.
    """
    if not isinstance(value, dict):
        raise InvalidInput.of(field, value, "a JSON object")
    check_levels(value, field, most_bytes=most_bytes, depth=depth)
    try:
        encoded = msgspec.json.encode(value)
    except TypeError:
        raise InvalidInput.of(field, value, "JSON values of the plain types") from None
    if len(encoded) > most_bytes:
        raise _too_large(field, f"{len(encoded)} bytes", f"at most {most_bytes} bytes of JSON")
    copy: dict[str, Any] = msgspec.json.decode(encoded)
    return copy


def check_levels(top: Mapping[Any, Any], field: str, *, most_bytes: int, depth: int) -> None:
    """Refuse an object of more than `depth` levels, or with values that JSON does not have; never recurses.

    Raises:
        InvalidInput: naming the path of the culprit.
        LimitExceeded: too deep, or more values (shared ones count each time) than `most_bytes` of JSON can hold.
    """
    level: list[tuple[str, Collection[object]]] = [(field, top)]
    left = most_bytes // 2 + 1  # a value and what divides it from the next take two bytes
    for _ in range(depth):
        below: list[tuple[str, Collection[object]]] = []
        for path, value in level:
            left -= len(value)
            if left < 0:
                raise _too_large(field, "too many values", f"at most {most_bytes} bytes of JSON")
            below += _children(path, value)
        if not below:
            return
        level = below
    raise _too_large(field, f"more than {depth} levels", f"at most {depth} levels")


def _children(path: str, value: Collection[object]) -> Iterable[tuple[str, Collection[object]]]:
    """Yield the containers inside a container, after checking its plain values and keys."""
    pairs: Iterable[tuple[object, object]]
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, child in pairs:
        name = f"{path}.{key}"
        if isinstance(value, Mapping):
            if not isinstance(key, str):
                raise InvalidInput([Problem(path, f"the key {shown(key)}", "text keys")])
            _check_characters(key, path)
        if isinstance(child, dict | list):
            yield name, child
        elif isinstance(child, str):
            _check_characters(child, name)
        elif isinstance(child, float):
            if not math.isfinite(child):
                raise InvalidInput.of(name, child, "a finite number")
        elif isinstance(child, int) and not isinstance(child, bool):
            if not _INT_LOW <= child <= _INT_HIGH:
                raise InvalidInput.of(name, "a number of more than 64 bits", "whole numbers of 64 bits")
        elif child is not None and not isinstance(child, bool):
            raise InvalidInput.of(name, child, "a JSON value (text, number, true, false, null, list, object)")
