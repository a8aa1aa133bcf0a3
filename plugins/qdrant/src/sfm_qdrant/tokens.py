"""Facts about a JSON value as short texts, so that a keyword index can tell deep equality, types and what a list holds.

A fact is the hash (96 bits) of its kind, the path it is about and the value. Equal JSON values have equal digests: 1 and 1.0,
objects in any order; true and 1 have not. So a condition on a fact is the filter language's test itself, on every engine.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

__all__ = ["Walker", "equal", "holds", "is_number", "is_text", "path_of", "present"]

_SIZE = 12


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=_SIZE).digest()


def _token(kind: bytes, path: bytes, value: bytes = b"") -> str:
    return urlsafe_b64encode(_hash(kind + path + value)).decode("ascii")


def path_of(keys: Sequence[str]) -> bytes:
    """Return what stands for a path: the memory's own field, and the keys below it."""
    path = b""
    for key in keys:
        path = _hash(path + key.encode())
    return path


def _scalar(value: object) -> bytes:
    if value is None or isinstance(value, bool):
        return _hash(repr(value).encode())
    if isinstance(value, float) and not value.is_integer():
        return _hash(b"d" + value.hex().encode())
    if isinstance(value, int | float):
        return _hash(b"i" + hex(int(value)).encode())
    return _hash(b"s" + str(value).encode())


def _digest(value: object) -> bytes:
    if isinstance(value, Mapping):
        return _object(sorted((_hash(key.encode()), _digest(item)) for key, item in value.items()))
    if isinstance(value, list | tuple):
        return _list([_digest(item) for item in value])
    return _scalar(value)


def _object(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    return _hash(b"o" + b"".join(key + digest for key, digest in pairs))


def _list(digests: Sequence[bytes]) -> bytes:
    return _hash(b"l" + b"".join(digests))


def present(path: bytes) -> str:
    """Return the fact that there is something at `path`."""
    return _token(b"?", path)


def is_number(path: bytes) -> str:
    """Return the fact that a number is at `path`."""
    return _token(b"#", path)


def is_text(path: bytes) -> str:
    """Return the fact that a text is at `path`."""
    return _token(b"$", path)


def equal(path: bytes, value: object) -> str:
    """Return the fact that the value at `path` equals `value`."""
    return _token(b"=", path, _digest(value))


def holds(path: bytes, value: object) -> str:
    """Return the fact that the list at `path` holds `value`."""
    return _token(b"@", path, _digest(value))


class Walker:
    """Goes through a value once and collects all its facts, and the numbers in it.

    Attributes:
        facts: distinct.
        numbers: (path as a fact that it is a number, the number).
    """

    def __init__(self) -> None:
        self.facts: dict[str, None] = {}
        self.numbers: list[tuple[str, Any]] = []

    def walk(self, path: bytes, value: object) -> bytes:
        """Add the facts about `value`, which is at `path`; return its digest."""
        digest = self._inside(path, value)
        self.facts |= dict.fromkeys(self._about(path, value, digest))
        return digest

    def whole(self, path: bytes, value: object) -> None:
        """Add what `value`, which is always there, equals, and the facts about what is below it: nobody asks for more."""
        digest = self._inside(path, value) if isinstance(value, Mapping) else _digest(value)
        self.facts[_token(b"=", path, digest)] = None

    def _inside(self, path: bytes, value: object) -> bytes:
        if isinstance(value, Mapping):
            pairs = [(_hash(key.encode()), self.walk(_hash(path + key.encode()), item)) for key, item in value.items()]
            return _object(sorted(pairs))
        if isinstance(value, list | tuple):
            digests = [_digest(item) for item in value]
            self.facts |= dict.fromkeys(_token(b"@", path, digest) for digest in digests)
            return _list(digests)
        return _scalar(value)

    def _about(self, path: bytes, value: object, digest: bytes) -> Iterator[str]:
        yield present(path)
        yield _token(b"=", path, digest)
        if isinstance(value, str):
            yield is_text(path)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self.numbers.append((is_number(path), value))
            yield is_number(path)
