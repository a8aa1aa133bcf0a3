"""A memory, what a caller may give of it, and what a write answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, field

__all__ = ["DEFAULT_NAMESPACE", "Kind", "Memory", "NewMemory", "Outcome", "Receipt", "StoreState"]

DEFAULT_NAMESPACE = "default"

Kind = Literal["episodic", "semantic", "procedural"]
Outcome = Literal["created", "versioned", "duplicate", "unchanged", "deleted", "erased", "restored"]


class Memory(Struct, frozen=True, kw_only=True):
    """One version of a memory as it is stored.

    `id` is a canonical lower-case UUID text. All times are aware, in UTC, with microseconds. `coordinate` is canonical:
    floats, no negative zero. `version` starts at 1 and rises with every change, tombstone and undo included.
    """

    id: str
    namespace: str = DEFAULT_NAMESPACE
    kind: Kind = "episodic"
    content: str | None = None
    payload: dict[str, Any] = field(default_factory=dict)
    coordinate: tuple[float, ...] | None = None
    author: str | None = None
    thread: str | None = None
    position: int | None = None
    importance: float = 0.5
    tags: tuple[str, ...] = ()
    source: str | None = None
    pinned: bool = False
    occurred_at: datetime
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    expires_at: datetime | None = None
    derived_from: tuple[str, ...] = ()
    created_at: datetime
    updated_at: datetime
    version: int = 1


class NewMemory(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a caller gives to remember: any subset; None and absent both mean "not given"."""

    content: str | None = None
    id: str | None = None
    namespace: str | None = None
    kind: str | None = None
    payload: dict[str, Any] | None = None
    coordinate: tuple[float, ...] | None = None
    author: str | None = None
    thread: str | None = None
    position: int | None = None
    importance: float | None = None
    tags: tuple[str, ...] | None = None
    source: str | None = None
    pinned: bool | None = None
    occurred_at: datetime | str | None = None
    valid_from: datetime | str | None = None
    valid_to: datetime | str | None = None
    expires_at: datetime | str | None = None
    derived_from: tuple[str, ...] | None = None


class StoreState(Struct, frozen=True):
    """How far an operation has come in one store: `done`, `pending` or `failed`."""

    store: str
    state: str


class Receipt(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """The answer of an acknowledged single write.

    `sequence` is the change log's number of this write (of the newest change of that memory for a duplicate or an
    unchanged one). `indexed` tells whether every projection has seen it. `operation` names the undoable operation.
    """

    memory: Memory
    outcome: Outcome
    sequence: int
    indexed: bool
    operation: str | UnsetType = UNSET
    stores: tuple[StoreState, ...] | UnsetType = UNSET
