"""What a point carries besides its vectors: every field that a filter can ask for, in a form that an index can answer from.

Times are microseconds, texts keywords; `facts` and `numbers` stand for what has no index of its own (`sfm_qdrant.tokens`);
`memory` is the memory without its content, for the few tests that no index decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import structs

from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope
from sfm_core.ports.vectors import Point
from sfm_qdrant.conditions import Condition, Match
from sfm_qdrant.tokens import Walker, path_of

__all__ = [
    "FRACTIONS",
    "GONE",
    "INDEXES",
    "KEYWORDS",
    "LIVE",
    "NUMBERS",
    "TIMES",
    "live",
    "micros",
    "of_scope",
    "text_of",
    "tombstone",
    "truth",
    "whole",
]

KEYWORDS = ("kind", "author", "thread", "source")
LISTS = ("tags", "derived_from")
FRACTIONS = ("importance",)
NUMBERS = ("position", "version", *FRACTIONS)
TIMES = ("occurred_at", "valid_from", "valid_to", "expires_at", "created_at", "updated_at")

INDEXES: dict[str, str] = {
    "namespace": "tenant",
    "within": "graph",
    "state": "keyword",
    **dict.fromkeys((*KEYWORDS, *LISTS), "keyword"),
    "pinned": "keyword",
    **dict.fromkeys(FRACTIONS, "float"),
    **dict.fromkeys(("position", "version", *TIMES), "integer"),
    "facts": "keyword",
    "numbers[].path": "keyword",
    "numbers[].value": "float",
}
"""Payload indexes: the tenant's, one with a graph of its own for each value, and plain ones."""

LIVE, GONE = "live", "gone"

_PATHS = {name: path_of((name,)) for name in ("payload", "coordinate", *LISTS)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LARGEST_INT, _LARGEST = 2**62, 1.7e308
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Memory).decode


def micros(time: datetime) -> int:
    """Return the microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def live(point: Point) -> dict[str, Any]:
    """Return the payload of a point."""
    memory = point.memory
    walker = Walker()
    for name in ("payload", *LISTS):
        walker.whole(_PATHS[name], getattr(memory, name))
    if memory.coordinate is not None:
        walker.walk(_PATHS["coordinate"], memory.coordinate)
    payload: dict[str, Any] = {name: getattr(memory, name) for name in (*KEYWORDS, "importance")}
    payload |= {name: list(values) for name in LISTS if (values := getattr(memory, name))}
    if walker.numbers:
        payload["numbers"] = [{"path": path, "value": _bounded(number)} for path, number in walker.numbers]
    payload |= {name: None if (time := getattr(memory, name)) is None else micros(time) for name in TIMES}
    if memory.position is not None:
        payload["position"] = min(memory.position, _LARGEST_INT)
    return {name: value for name, value in payload.items() if value is not None} | {
        "state": LIVE,
        "pinned": truth(memory.pinned),
        "namespace": point.namespace,
        "within": list(_ancestors(point.namespace)),
        "version": point.version,
        "facts": list(walker.facts),
        "memory": text_of(memory),
    }


def truth(value: bool) -> str:
    """Return a truth value as a keyword: not every engine tells it from a number."""
    return "true" if value else "false"


def tombstone(version: int) -> dict[str, Any]:
    """Return the payload of a point that is gone: its version and nothing else."""
    return {"state": GONE, "version": version}


def text_of(memory: Memory) -> str:
    """Return `memory` as JSON text, without its content: that is nowhere in the index."""
    return _encode(structs.replace(memory, content=None)).decode()


def whole(text: str) -> Memory:
    """Return the memory that `text_of` wrote."""
    return _decode(text)


def of_scope(scope: Scope) -> Condition:
    """Return what the points of `scope` pass; what is gone never does."""
    if not scope.subtree:
        return Match("namespace", (scope.namespace,))
    return Match("within", (scope.namespace,)) if scope.namespace else Match("state", (LIVE,))


def _ancestors(namespace: str) -> Iterable[str]:
    segments = namespace.split("/")
    return ("/".join(segments[:count]) for count in range(1, len(segments) + 1))


def _bounded(number: float) -> float:
    return float(max(-_LARGEST, min(_LARGEST, number)))
