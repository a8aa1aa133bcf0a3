"""What is asked of recall and what it answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, field

from sfm_core.model.filter import Filter
from sfm_core.model.memory import Memory

__all__ = ["Answer", "Explain", "Hit", "Page", "Part", "Prefer", "RecallQuery"]

Prefer = Literal["recent", "important"]


class RecallQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question for recall: exactly one of `query` (text) and `vector` (floats of the index's dimension).

    `namespace` may be a subtree ("a/**"). `kinds` narrows to kinds of memory. `deadline_ms` bounds the search: an arm that
    misses it is left out and named in the answer. `prefer` breaks near ties by recency or importance. `expand_links` (0..3)
    adds memories that many hops from hits as candidates. `min_score` (0..1) cuts the answer. `min_sequence` waits, bounded,
    until the index has seen that sequence.
    """

    query: str | None = None
    vector: tuple[float, ...] | None = None
    namespace: str | None = None
    k: int = 10
    filter: Filter | None = None
    kinds: tuple[str, ...] | None = None
    as_of: datetime | None = None
    deadline_ms: float | None = None
    explain: bool = False
    prefer: Prefer | None = None
    expand_links: int = 0
    min_score: float | None = None
    min_sequence: int | None = None


class Part(Struct, frozen=True):
    """One part of a score: its name, the value it had, the weight it was given, and the product that was added."""

    name: str
    value: float
    weight: float
    added: float


class Explain(Struct, frozen=True, kw_only=True):
    """Why a hit stands where it stands: the parts of its raw score and the arms that found it."""

    total: float
    parts: tuple[Part, ...]
    arms: tuple[str, ...]
    matched: tuple[str, ...] = ()


class Hit(Struct, frozen=True, kw_only=True):
    """A memory and its score, 0..1 within this answer (comparable inside one answer only)."""

    memory: Memory
    score: float
    explain: Explain | UnsetType = UNSET


class Answer(Struct, frozen=True, kw_only=True):
    """Hits, best first. `partial` names what is missing (an arm, `index_lag`); `arms_ms` only when explained."""

    hits: tuple[Hit, ...]
    partial: tuple[str, ...] = ()
    took_ms: float = 0.0
    arms_ms: dict[str, float] | UnsetType = UNSET


class Page(Struct, frozen=True):
    """One page of a list; `next` is the cursor of the following page or None at the end."""

    items: tuple[Any, ...] = ()
    next: str | None = field(default=None)
