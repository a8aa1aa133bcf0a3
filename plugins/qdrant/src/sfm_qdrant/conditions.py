"""Conditions on a point's payload, apart from how an engine writes them. Simplified while they are built."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

__all__ = [
    "ALL",
    "NOTHING",
    "AllOf",
    "AnyOf",
    "Condition",
    "Ids",
    "Inside",
    "Match",
    "NoneOf",
    "Present",
    "Range",
    "all_of",
    "any_of",
    "none_of",
]


class Match(Struct, frozen=True):
    """The field, or one item of it, is one of `values`."""

    key: str
    values: tuple[str, ...]


class Range(Struct, frozen=True):
    """The field, or one item of it, is a number between the bounds."""

    key: str
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None


class Present(Struct, frozen=True):
    """The point has the field."""

    key: str


class Ids(Struct, frozen=True):
    """The point is one of these."""

    ids: tuple[str, ...]


class Inside(Struct, frozen=True):
    """One object of the list `key` passes all of `parts`, whose keys are those of the object."""

    key: str
    parts: tuple[Match | Range, ...]


class AllOf(Struct, frozen=True):
    """All of these; with none of them, everything."""

    parts: tuple[Condition, ...]


class AnyOf(Struct, frozen=True):
    """One of these; with none of them, nothing."""

    parts: tuple[Condition, ...]


class NoneOf(Struct, frozen=True):
    """Not this."""

    part: Condition


Condition = Match | Range | Present | Ids | Inside | AllOf | AnyOf | NoneOf

ALL = AllOf(())
NOTHING = AnyOf(())


def all_of(parts: Iterable[Condition]) -> Condition:
    """Return what passes all of `parts`."""
    kept: dict[Condition, None] = {}
    for part in parts:
        if part == NOTHING:
            return NOTHING
        kept |= dict.fromkeys(part.parts if isinstance(part, AllOf) else (part,))
    return next(iter(kept)) if len(kept) == 1 else AllOf(tuple(kept))


def any_of(parts: Iterable[Condition]) -> Condition:
    """Return what passes one of `parts`."""
    kept: dict[Condition, None] = {}
    for part in parts:
        if part == ALL:
            return ALL
        kept |= dict.fromkeys(part.parts if isinstance(part, AnyOf) else (part,))
    return next(iter(kept)) if len(kept) == 1 else AnyOf(tuple(kept))


def none_of(part: Condition) -> Condition:
    """Return what does not pass `part`."""
    if part == ALL:
        return NOTHING
    if part == NOTHING:
        return ALL
    return part.part if isinstance(part, NoneOf) else NoneOf(part)
