"""Links between memories: directed, typed, weighted; unique per (source, target, relation)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct, field

from sfm_core.model.memory import Memory

__all__ = ["Direction", "Link", "LinkReceipt", "Neighbor", "Path"]

Direction = Literal["out", "in", "both"]


class Link(Struct, frozen=True, kw_only=True):
    """A directed edge; `weight` is a cost above zero. Both ends live in one namespace."""

    source: str
    target: str
    relation: str = "related"
    weight: float = 1.0
    metadata: dict[str, Any] = field(default_factory=dict)
    namespace: str
    created_at: datetime
    updated_at: datetime


class LinkReceipt(Struct, frozen=True, kw_only=True):
    """The answer of a link write: `created`, `updated`, `unchanged` or `deleted`, and the change log's number."""

    link: Link
    outcome: Literal["created", "updated", "unchanged", "deleted"]
    sequence: int


class Neighbor(Struct, frozen=True):
    """A memory reached over links, the link that reached it first, and the number of hops (1 = direct)."""

    memory: Memory
    link: Link
    depth: int


class Path(Struct, frozen=True):
    """A cheapest path: the memories in order, the links between them, and the sum of their weights."""

    nodes: tuple[Memory, ...]
    links: tuple[Link, ...]
    cost: float
