"""Answers of write routes: from fresh results, or from what an earlier request with the same key did.

Content goes only to principals that may read it: to others a receipt shows a memory without it, save the one they just made.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from msgspec import UNSET, Struct
from msgspec.structs import replace

from sfm_core import errors
from sfm_core.errors import BackendError, InvalidInput, NotFound, Problem, SfmError
from sfm_core.model.memory import Memory, Outcome, Receipt
from sfm_core.model.namespace import Scope
from sfm_core.ports.storage import Result, Storage
from sfm_core.ports.writes import Applied, Operation
from sfm_core.services.commit import Committed
from sfm_core.services.idempotency import ReplayedResult
from sfm_core.services.principal import Principal, Verb

__all__ = ["BatchReceipt", "ItemResult", "batch_receipt", "receipt", "refusal", "refusal_note"]


class ItemResult(Struct, frozen=True, kw_only=True):
    """What became of one item of a batch: a memory and its outcome, or the error that refused it."""

    memory: Memory | None = None
    outcome: Outcome | None = None
    sequence: int | None = None
    error: SfmError | None = None


class BatchReceipt(Struct, frozen=True):
    """The answer of a batch: one result per item, in order, and the newest sequence among them (0 when none)."""

    results: tuple[ItemResult, ...]
    sequence: int


async def _results(storage: Storage, committed: Committed) -> Sequence[Result]:
    """Return the results of `committed`, those of a replay rebuilt from storage."""
    if committed.replay is None:
        return committed.results
    rebuilt: list[Result] = []
    for result in committed.replay.results:
        rebuilt.append(await _rebuilt(storage, result, committed.replay.operation))  # noqa: PERF401  reads one by one
    return rebuilt


async def _rebuilt(storage: Storage, result: ReplayedResult, operation: str | None) -> Result:
    if result.error is not None:
        return refusal(result.error, [], result.detail or "")
    if result.id is None:
        found = await storage.operation(result.operation or "")
        return found or NotFound("the operation of the first request is gone")
    version = result.version or 1
    if result.outcome == "erased":
        erasure = await storage.operation(operation or "")
        if erasure is None:
            return NotFound(f"the erasure of memory {result.id} is gone")
        return Applied(_thin(result.id, erasure.namespace, version, erasure.created_at), "erased", result.sequence)
    found_versions = await storage.history(result.id, limit=1, before=version + 1)
    if not found_versions or found_versions[0].memory.version != version:
        return NotFound(f"memory {result.id} of the first request was erased since")
    return Applied(found_versions[0].memory, cast(Outcome, result.outcome), result.sequence)


def _thin(id: str, namespace: str, version: int, time: datetime) -> Memory:
    return Memory(id=id, namespace=namespace, version=version, occurred_at=time, created_at=time, updated_at=time)


def _shown(principal: Principal, done: Applied, erasure: Operation | None) -> Memory:
    """Return the memory as this principal may see it; of an erased one only id, namespace, version and time are left."""
    memory = done.memory
    if done.outcome == "erased":
        time = erasure.created_at if erasure is not None else memory.updated_at
        return _thin(memory.id, memory.namespace, memory.version + 1, time)
    if done.outcome == "created" or principal.may(Verb.READ, Scope(memory.namespace)):
        return memory
    return replace(_thin(memory.id, memory.namespace, memory.version, memory.created_at), updated_at=memory.updated_at)


async def receipt(storage: Storage, principal: Principal, verb: Verb, committed: Committed) -> Receipt:
    """Return the receipt of the (first) memory write of `committed`.

    Raises:
        SfmError: the write was refused, or what a replay speaks of was erased since.
        Forbidden: a replay speaks of a namespace where the principal may not use `verb` any more.
    """
    operation: Operation | None = None
    for result in await _results(storage, committed):
        if isinstance(result, SfmError):
            raise result
        if isinstance(result, Operation):
            operation = result
        if isinstance(result, Applied):
            principal.require(verb, Scope(result.memory.namespace))
            return Receipt(
                memory=_shown(principal, result, operation),
                outcome=result.outcome,
                sequence=result.sequence,
                indexed=committed.indexed,
                operation=UNSET if operation is None else operation.id,
            )
    raise NotFound("the first request with this key wrote no memory")


def refusal_note(index: int, error: SfmError) -> list[object]:
    """Return what is kept with an idempotency key of a refused item of a batch."""
    problems = error.problems if isinstance(error, InvalidInput) else ()
    return [index, type(error).__name__, [[p.field, p.given, p.allowed] for p in problems], str(error)]


def refusal(name: str, problems: Sequence[Sequence[str]], text: str) -> SfmError:
    """Rebuild a kept error."""
    kind = getattr(errors, name, BackendError)
    if issubclass(kind, InvalidInput):
        return cast(SfmError, kind([Problem(*problem) for problem in problems]))
    return errors.StaleVersion(text, current=0) if kind is errors.StaleVersion else cast(SfmError, kind(text))


async def batch_receipt(
    storage: Storage, principal: Principal, committed: Committed, refused: Sequence[tuple[int, SfmError]]
) -> BatchReceipt:
    """Return the receipt of a batch whose items at the given places were refused before anything was written."""
    if committed.replay is not None:
        kept = committed.replay.note.get("refused", ())
        refused = [(index, refusal(name, problems, text)) for index, name, problems, text in kept]
    items = [_item(principal, result) for result in await _results(storage, committed)]
    for index, error in refused:
        items.insert(index, ItemResult(error=error))
    return BatchReceipt(tuple(items), max((i.sequence or 0 for i in items), default=0))


def _item(principal: Principal, result: Result) -> ItemResult:
    if isinstance(result, SfmError):
        return ItemResult(error=result)
    done = cast(Applied, result)
    principal.require(Verb.WRITE, Scope(done.memory.namespace))
    return ItemResult(memory=_shown(principal, done, None), outcome=done.outcome, sequence=done.sequence)
