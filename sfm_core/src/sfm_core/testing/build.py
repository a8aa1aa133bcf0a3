"""Short ways to build what tests store: memories, writes and the analysis that goes with them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import uuid4

from msgspec.structs import replace

from sfm_core.model.link import Link
from sfm_core.model.memory import Memory, Outcome
from sfm_core.model.namespace import Scope
from sfm_core.model.twins import digest
from sfm_core.ports.storage import Result, Storage, TextQuery, WordGroup
from sfm_core.ports.writes import (
    Analysis,
    Applied,
    AppliedLink,
    Erase,
    Operation,
    OperationKind,
    Put,
    PutLink,
    Remove,
    RemoveLink,
    Replace,
    Replayed,
    Revive,
    StartOperation,
    Write,
)

__all__ = [
    "HERE",
    "NAMESPACE",
    "NOW",
    "analyse",
    "applied",
    "applied_link",
    "at",
    "erase",
    "ids_of",
    "link",
    "memory",
    "new_id",
    "operation",
    "put",
    "question",
    "remove",
    "replacing",
    "revive",
    "store",
    "tie",
    "untie",
    "write",
]

NAMESPACE = "acme/agent"
HERE = Scope(NAMESPACE)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
_WORD = re.compile(r"\w+")


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


def at(seconds: float) -> datetime:
    """Return the instant that many seconds after `NOW`."""
    return NOW + timedelta(seconds=seconds)


def new_id() -> str:
    """Return a fresh id."""
    return str(uuid4())


def memory(content: str | None = "tea at four", **fields: Any) -> Memory:
    """Return a memory in `NAMESPACE` with times at `NOW`; `time` sets created, updated and occurred in one."""
    time = fields.pop("time", NOW)
    times = {"occurred_at": time, "created_at": time, "updated_at": time}
    return Memory(**{"id": new_id(), "namespace": NAMESPACE, "content": content, **times, **fields})


def analyse(content: str | None, author: str | None = None) -> Analysis:
    """Return an analysis by the simplest rule: lower-case words are their own stems."""
    words = tuple(_WORD.findall((content or "").lower()))
    return Analysis(
        stems=words,
        words=tuple(sorted({(word, word) for word in words})),
        length=len(words),
        asks=1.0 if content and content.endswith("?") else 0.0,
        time="yesterday" in words,
        duration="hours" in words,
        author_key=(author or "").casefold(),
    )


def put(content: str | Memory | None = "tea at four", *, dedupe: bool = True, **fields: Any) -> Put:
    """Return the write that remembers a memory; all keyword fields but `time` count as given by the caller."""
    given = frozenset(fields) - {"time"}
    what = content if isinstance(content, Memory) else memory(content, **fields)
    if isinstance(content, Memory):
        given = frozenset({"content", "payload"})
    return Put(
        memory=what, analysis=analyse(what.content, what.author), digest=digest(what), given=given, dedupe=dedupe
    )


def replacing(
    stored: Memory,
    *,
    time: datetime | None = None,
    outcome: Outcome = "versioned",
    revive: bool = False,
    expected: int | None = None,
    **changes: Any,
) -> Replace:
    """Return the write that makes `changes` the next version of `stored`."""
    version = stored.version if expected is None else expected
    moment = time or stored.updated_at + timedelta(seconds=1)
    after = replace(stored, **changes, version=version + 1, updated_at=moment)
    return Replace(
        memory=after,
        analysis=analyse(after.content, after.author),
        digest=digest(after),
        expected_version=version,
        outcome=outcome,
        revive=revive,
    )


def remove(what: _HasId, *, operation: str = "", time: datetime | None = None, expected: int | None = None) -> Remove:
    """Return the write that makes a memory a tombstone."""
    return Remove(id=what.id, operation=operation or new_id(), time=time or at(1), expected_version=expected)


def erase(what: _HasId, *, operation: str = "", time: datetime | None = None, expected: int | None = None) -> Erase:
    """Return the write that erases a memory."""
    return Erase(id=what.id, operation=operation or new_id(), time=time or at(1), expected_version=expected)


def revive(what: _HasId, operation: str, *, time: datetime | None = None) -> Revive:
    """Return the write that undoes a tombstone."""
    return Revive(id=what.id, operation=operation, time=time or at(2))


def operation(id: str = "", kind: OperationKind = "delete", **fields: Any) -> StartOperation:
    """Return the write that starts an operation."""
    values = {"namespace": NAMESPACE, "principal": "tester", "created_at": NOW, **fields}
    return StartOperation(operation=Operation(id=id or new_id(), kind=kind, **values))


def link(source: _HasId, target: _HasId, **fields: Any) -> Link:
    """Return a link between two memories, with times at `NOW` unless `time` is given."""
    time = fields.pop("time", NOW)
    values = {"namespace": NAMESPACE, "created_at": time, "updated_at": time, **fields}
    return Link(source=source.id, target=target.id, **values)


def tie(source: _HasId, target: _HasId, **fields: Any) -> PutLink:
    """Return the write that links two memories."""
    return PutLink(link=link(source, target, **fields))


def untie(source: _HasId, target: _HasId, relation: str = "related", *, time: datetime | None = None) -> RemoveLink:
    """Return the write that removes a link."""
    return RemoveLink(source=source.id, target=target.id, relation=relation, time=time or at(1))


def question(*words: str, weights: Sequence[float] | None = None) -> TextQuery:
    """Return a text query with one group for each word, each with one alternative."""
    heavy = weights or [1.0] * len(words)
    return TextQuery(tuple(WordGroup(((word, weight),)) for word, weight in zip(words, heavy, strict=True)))


def applied(result: Result) -> Applied:
    """Return `result` as what became of a memory.

    Raises:
        AssertionError: it is something else.
    """
    assert isinstance(result, Applied), result
    return result


def applied_link(result: Result) -> AppliedLink:
    """Return `result` as what became of a link.

    Raises:
        AssertionError: it is something else.
    """
    assert isinstance(result, AppliedLink), result
    return result


async def write(backend: Storage, *writes: Write) -> list[Result]:
    """Apply `writes` in one transaction and return what became of each."""
    results = await backend.apply(writes)
    assert not isinstance(results, Replayed)
    return results


async def store(backend: Storage, *writes: Write) -> list[Memory]:
    """Apply `writes` in one transaction and return the memories as stored."""
    return [result.memory for result in await write(backend, *writes) if isinstance(result, Applied)]


def ids_of(found: Sequence[_HasId | None]) -> list[str]:
    """Return the ids of what was found."""
    return [one.id for one in found if one is not None]
