"""What the index asks of an engine, whether it is a server over HTTP or gRPC or runs in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from sfm_core.ports.vectors import Space
from sfm_qdrant.conditions import Condition

__all__ = ["DENSE", "WORDS", "Ask", "Engine", "Found", "Row", "Sparse"]

DENSE, WORDS = "dense", "words"
"""The names of a point's two vectors."""


class Sparse(Struct, frozen=True):
    """A sparse vector: numbers of terms, rising, and the weight of each."""

    indices: list[int]
    values: list[float]


class Row(Struct, frozen=True):
    """A point as it is stored. One without vectors is found by nothing and only remembers its version."""

    id: str
    version: int
    payload: dict[str, Any]
    dense: list[float] | None = None
    words: Sparse | None = None


class Ask(Struct, frozen=True, kw_only=True):
    """A search by one of the two vectors; `fields` of the payload come back, and the words when `with_words`.

    `exact`: without the graph.
    """

    using: str
    vector: list[float] | Sparse
    where: Condition
    limit: int
    fields: tuple[str, ...] = ()
    with_words: bool = False
    exact: bool = False


class Found(Struct, frozen=True):
    """What a search found."""

    id: str
    score: float
    payload: Mapping[str, Any]
    words: Sparse | None = None


class Engine(Protocol):
    """One index. Its methods raise `BackendError`, `BackendUnavailable` while it is down, `ConfigError` at first contact.

    Attributes:
        walks: whether a search that is not `exact` may walk a graph, and so miss some that pass.
    """

    walks: bool

    async def write(self, rows: Sequence[Row], *, deletions: bool) -> None:
        """Store each row whose id has no point, or one of a lower version (with `deletions`: not above the row's).

        Seen by reads when this returns. No id comes twice.
        """
        ...

    async def read(self, ids: Sequence[str], fields: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
        """Return `fields` of the payloads of those `ids` that have a point."""
        ...

    async def search(self, asks: Sequence[Ask]) -> list[list[Found]]:
        """Answer all of `asks` in one round trip, each best first."""
        ...

    async def count(self, where: Condition) -> int:
        """Return the exact number of points."""
        ...

    async def flush(self) -> None:
        """Make everything before this call durable."""
        ...

    async def clear(self, space: Space | None) -> None:
        """Put an empty index of `space` (None: words alone) in the place of this one."""
        ...

    async def check(self) -> None:
        """Ask for a sign of life."""
        ...

    async def close(self) -> None:
        """Let go of connections and files."""
        ...
