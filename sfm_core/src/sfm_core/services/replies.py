"""Answers of write routes: from fresh results, or from what an earlier request with the same key did."""

from __future__ import annotations

from typing import cast

from msgspec import UNSET, Struct

from sfm_core import errors
from sfm_core.errors import Conflict, NotFound, SfmError
from sfm_core.model.link import LinkReceipt
from sfm_core.model.memory import Memory, Outcome, Receipt
from sfm_core.ports.storage import Result, Storage
from sfm_core.ports.writes import Applied, AppliedLink
from sfm_core.services.commit import Committed
from sfm_core.services.idempotency import ReplayedResult

__all__ = ["BatchReceipt", "ItemResult", "applied", "batch_receipt", "link_receipt", "receipt"]


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


async def applied(storage: Storage, committed: Committed) -> list[Result]:
    """Return the results of `committed`, those of a replay rebuilt from storage."""
    if committed.replay is None:
        return committed.results
    return [await _rebuilt(storage, result) for result in committed.replay.results if result.link is None]


async def _rebuilt(storage: Storage, result: ReplayedResult) -> Result:
    if result.error is not None:
        kind = getattr(errors, result.error, Conflict)
        return _error(kind, result.detail or "")
    if result.id is None:
        operation = await storage.operation(result.operation or "")
        return operation or NotFound("the operation of the first request is gone")
    version = result.version or 1
    found = await storage.history(result.id, limit=1, before=version + 1)
    if not found or found[0].memory.version != version:
        return NotFound(f"memory {result.id} of the first request was erased since")
    return Applied(found[0].memory, cast(Outcome, result.outcome), result.sequence)


def _error(kind: type[SfmError], detail: str) -> SfmError:
    return errors.StaleVersion(detail, current=0) if kind is errors.StaleVersion else kind(detail)


async def receipt(storage: Storage, committed: Committed, *, operation: str | None = None) -> Receipt:
    """Return the receipt of the (first) memory write of `committed`.

    Raises:
        SfmError: the write was refused, or what a replay speaks of was erased since.
    """
    for result in await applied(storage, committed):
        if isinstance(result, SfmError):
            raise result
        if isinstance(result, Applied):
            return Receipt(
                memory=result.memory,
                outcome=result.outcome,
                sequence=result.sequence,
                indexed=committed.indexed,
                operation=UNSET if operation is None else operation,
            )
    raise NotFound("the first request with this key wrote no memory")


async def batch_receipt(storage: Storage, committed: Committed) -> BatchReceipt:
    """Return the receipt of a batch."""
    items = [_item(result) for result in await applied(storage, committed)]
    return BatchReceipt(tuple(items), max((i.sequence or 0 for i in items), default=0))


def _item(result: Result) -> ItemResult:
    if isinstance(result, SfmError):
        return ItemResult(error=result)
    done = cast(Applied, result)
    return ItemResult(memory=done.memory, outcome=done.outcome, sequence=done.sequence)


def link_receipt(committed: Committed) -> LinkReceipt:
    """Return the receipt of a link write.

    Raises:
        SfmError: the write was refused.
    """
    [result] = committed.results
    if isinstance(result, SfmError):
        raise result
    done = cast(AppliedLink, result)
    return LinkReceipt(link=done.link, outcome=done.outcome, sequence=done.sequence)
