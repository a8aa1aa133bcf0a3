"""Shapes of bodies and answers that only the REST API has; the others are those of `sfm_core.model`."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from sfm_app.http.problems import ProblemDetails
from sfm_core.model.memory import Memory, Outcome
from sfm_core.services.keys import KeyInfo
from sfm_core.services.principal import Verb

__all__ = [
    "BatchAnswer",
    "BatchBody",
    "BatchItem",
    "CreatedKey",
    "ForgetBody",
    "KeyBody",
    "LinkBody",
    "MemoryList",
    "PathBody",
    "RecallBatchAnswer",
    "RecallBatchBody",
    "RefusedAnswer",
    "RestoreBody",
]


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the bodies: unknown members are refused."""


class BatchBody(Body, frozen=True, kw_only=True):
    """Many memories; `atomic` stores all or none."""

    memories: Any
    atomic: bool = False


class BatchItem(Struct, frozen=True, kw_only=True):
    """What became of one memory of a batch: the status that it would have had alone, and its outcome or its problem."""

    status: int
    memory: Memory | UnsetType = UNSET
    outcome: Outcome | UnsetType = UNSET
    sequence: int | UnsetType = UNSET
    problem: ProblemDetails | UnsetType = UNSET


class BatchAnswer(Struct, frozen=True, kw_only=True):
    """One result per memory, in order, and the newest sequence among them."""

    results: tuple[BatchItem, ...]
    sequence: int


class MemoryList(Struct, frozen=True, kw_only=True):
    """A page of memories; `next` is the cursor of the following page, null at the end."""

    items: tuple[Memory, ...]
    next: str | None = None


class RestoreBody(Body, frozen=True, kw_only=True):
    """The version whose content becomes the newest version."""

    version: int


class LinkBody(Body, frozen=True, kw_only=True):
    """A link to make or to change."""

    source: str
    target: str
    relation: str | None = None
    weight: float | None = None
    metadata: dict[str, Any] | None = None


class PathBody(Body, frozen=True, kw_only=True):
    """The ends of a path, and the one relation it may use (all when null)."""

    source: str
    target: str
    relation: str | None = None


class ForgetBody(Body, frozen=True, kw_only=True):
    """What to forget: the memories of a namespace that pass a filter, or that a policy picks."""

    namespace: str
    filter: Any = None
    policy: Any = None
    dry_run: bool = True
    erase: bool = False


_VERBS: dict[str, Any] = {"items": {"enum": [verb.value for verb in Verb]}}


class KeyBody(Body, frozen=True, kw_only=True):
    """A key to make: what it opens, each a namespace, a subtree "a/**" or "**" for all, and what it may do there."""

    namespaces: list[str]
    verbs: Annotated[list[str], Meta(extra_json_schema=_VERBS)]
    name: str | None = None
    expires_at: str | None = None


class CreatedKey(KeyInfo, frozen=True, kw_only=True):
    """A key that was just made; `key` is what callers send as `Authorization: Bearer <key>`, shown this once."""

    key: str


class RecallBatchBody(Body, frozen=True, kw_only=True):
    """Many questions, answered in order."""

    queries: Any


_ANSWERED = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Answer", "RefusedAnswer")]}


class RefusedAnswer(Struct, frozen=True, kw_only=True):
    """Stands for the answer of a question that failed."""

    status: int
    problem: ProblemDetails


class RecallBatchAnswer(Struct, frozen=True, kw_only=True):
    """One answer per question, in order."""

    answers: tuple[Annotated[Any, Meta(extra_json_schema=_ANSWERED)], ...]
