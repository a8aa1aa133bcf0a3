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
    "mark_of",
    "marks_of",
    "place_key",
    "place_of",
    "scope_key",
    "stripe",
    "term_key",
    "terms_of",
    "twin_key",
    "word_key",
]

STRIPES = 4096
"""Locks of one schema: a bound for what one transaction, however large, takes of the server's lock table."""


def _key(text: str, person: bytes) -> int:
    """Return 63 bits of BLAKE2b; collisions are left to chance, which for a million texts is one in ten million."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8, person=person).digest(), "big") >> 1


@lru_cache(maxsize=65_536)
def term_key(stem: str) -> int:
    """Return the key of an index term."""
    return _key(stem, b"term")


@lru_cache(maxsize=4096)
def scope_key(scope: Scope) -> int:
    """Return the key that every memory of `scope` (one namespace or a subtree) has among its terms."""
    return _key(scope.namespace, b"subtree" if scope.subtree else b"namespace")


@lru_cache(maxsize=65_536)
def _term(stem: str) -> bytes:
    return bigint(term_key(stem))


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
    return array(BIGINT, sorted([*map(_term, stems), *_scopes(namespace)]))


@lru_cache(maxsize=65_536)
def word_key(word: str, stem: str) -> int:
    """Return the key of a word of the vocabulary."""
    return _key(f"{word}\0{stem}", b"word")


def mark_of(key: int) -> int:
    """Return the short form of a word's key that memories keep: 32 bits."""
    return (key & 0xFFFFFFFF) - 0x80000000


@lru_cache(maxsize=65_536)
def _mark(word: tuple[str, str]) -> bytes:
    return integer(mark_of(word_key(*word)))


def marks_of(words: Iterable[tuple[str, str]]) -> bytes:
    """Return, packed, the short keys of words."""
    return array(INTEGER, list(map(_mark, words)))


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


def stripe(text: str) -> int:
    """Return which lock stands for `text`: one of `STRIPES`."""
    return _key(text, b"lock") % STRIPES
