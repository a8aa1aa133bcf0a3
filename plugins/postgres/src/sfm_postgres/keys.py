"""Keys that stand for texts: index terms, scopes, words, twins, places, locks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from struct import pack

from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope
from sfm_postgres.packing import BIGINT, INTEGER, array, bigint, integer

__all__ = [
    "STRIPES",
    "author_key",
    "marks_of",
    "place_key",
    "place_of",
    "scope_key",
    "stripe",
    "stripe_of",
    "term",
    "term_key",
    "terms_of",
    "twin_key",
    "word_of",
]

STRIPES = 4096
"""Locks of one schema: a bound for what one transaction, however large, takes of the server's lock table."""


_TERM, _WORD = (blake2b(digest_size=8, person=person) for person in (b"term", b"word"))
"""Hashes to begin with, where thousands are made: a copy costs half of a new one."""

_KEPT = 65_536
"""Keys of terms, and of words, that a process remembers."""


def _number(digest: bytes) -> int:
    """Return 63 bits of BLAKE2b; collisions are left to chance, which for a million texts is one in ten million."""
    return int.from_bytes(digest, "big") >> 1


def _key(text: str, person: bytes) -> int:
    return _number(blake2b(text.encode(), digest_size=8, person=person).digest())


def term_key(stem: str) -> int:
    """Return the key of an index term."""
    hashed = _TERM.copy()
    hashed.update(stem.encode())
    return _number(hashed.digest())


@lru_cache(maxsize=4096)
def scope_key(scope: Scope) -> int:
    """Return the key that every memory of `scope` (one namespace or a subtree) has among its terms."""
    return _key(scope.namespace, b"subtree" if scope.subtree else b"namespace")


class _Terms(dict[str, bytes]):
    """Packed keys of index terms. What is looked up by the thousand is found without a call of Python."""

    def __missing__(self, stem: str) -> bytes:
        if len(self) >= _KEPT:
            self.clear()
        found = self[stem] = bigint(term_key(stem))
        return found


class _Words(dict[tuple[str, str], tuple[int, bytes, bytes]]):
    """For words of the vocabulary, with their stems: the place in order, the key and its mark, both packed.

    The mark is the short form of the key that memories keep: 32 bits.
    """

    def __missing__(self, word: tuple[str, str]) -> tuple[int, bytes, bytes]:
        if len(self) >= _KEPT:
            self.clear()
        hashed = _WORD.copy()
        hashed.update("\0".join(word).encode())
        key = _number(hashed.digest())
        low = key & 0xFFFFFFFF
        found = self[word] = (low, bigint(key), integer(low - 0x80000000))
        return found


term = _Terms().__getitem__
word_of = _Words().__getitem__


@lru_cache(maxsize=4096)
def _scopes(namespace: str) -> tuple[bytes, ...]:
    """Return the keys of all scopes that `namespace` lies in, save the whole store."""
    segments = namespace.split("/")
    above = ("/".join(segments[:count]) for count in range(1, len(segments) + 1))
    scopes = (Scope(namespace), *(Scope(name, subtree=True) for name in above))
    return tuple([bigint(scope_key(scope)) for scope in scopes])


def terms_of(namespace: str, stems: Iterable[str]) -> bytes:
    """Return, packed, the sorted keys of `stems`, repeats kept, and of the scopes of `namespace`."""
    # No key is below zero, so their bytes sort as they do.
    return array(BIGINT, sorted([*map(term, stems), *_scopes(namespace)]))


def marks_of(words: Iterable[tuple[str, str]]) -> bytes:
    """Return, packed, the marks of words."""
    return array(INTEGER, [mark for _, _, mark in map(word_of, words)])


@lru_cache(maxsize=4096)
def author_key(folded: str) -> int | None:
    """Return the key of an author's folded name, None for none."""
    return _key(folded, b"author") if folded else None


@lru_cache(maxsize=4096)
def twin_key(namespace: str, digest: bytes) -> str:
    """Return the key that equal content and payload have in a namespace, as a UUID text."""
    return _id(blake2b(digest + namespace.encode(), digest_size=16, person=b"twin").hexdigest())


def place_key(namespace: str, coordinate: Sequence[float]) -> str:
    """Return the key of a coordinate in a namespace, as a UUID text; -0.0 is 0.0."""
    packed = pack(f">{len(coordinate)}d", *(value + 0.0 for value in coordinate))
    return _id(blake2b(packed + namespace.encode(), digest_size=16, person=b"place").hexdigest())


def _id(text: str) -> str:
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def place_of(memory: Memory) -> str | None:
    """Return the key of the place that a live memory holds."""
    return place_key(memory.namespace, memory.coordinate) if memory.coordinate is not None else None


def stripe_of(key: str) -> int:
    """Return which lock stands for what a twin key or the key of a place stands for: one of `STRIPES`."""
    return int(key[-3:], 16) % STRIPES


def stripe(text: str) -> int:
    """Return which lock stands for `text`: one of `STRIPES`."""
    return _key(text, b"lock") % STRIPES
