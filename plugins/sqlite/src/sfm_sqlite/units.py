"""Carrying out one call of `Storage.apply` inside the writer's transaction."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from sfm_core.errors import SfmError
from sfm_core.ports.storage import Result
from sfm_core.ports.writes import (
    Erase,
    Idempotency,
    ImportLink,
    ImportMemory,
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
from sfm_sqlite.imports import import_memory
from sfm_sqlite.ledger import Ledger
from sfm_sqlite.links import import_link, put_link, remove_link
from sfm_sqlite.memories import put, remove, replace_memory, revive
from sfm_sqlite.operations import keep_answer, replay, start_operation

__all__ = ["Outcome", "Unit", "carry_out"]

Outcome = list[Result] | Replayed | Exception


def _erase(ledger: Ledger, write: Erase) -> Result:
    from sfm_sqlite.erasure import erase  # brings NumPy, which a process that only writes does not need

    return erase(ledger, write)


_HANDLERS: Mapping[type, Callable[[Ledger, Any], Result]] = {
    Put: put,
    Replace: replace_memory,
    Remove: remove,
    Erase: _erase,
    Revive: revive,
    PutLink: put_link,
    RemoveLink: remove_link,
    StartOperation: start_operation,
    ImportMemory: import_memory,
    ImportLink: import_link,
}


class Unit(Struct, frozen=True, eq=False):
    """One call of `apply` on its way through the writer."""

    writes: Sequence[Write]
    atomic: bool
    idempotency: Idempotency | None
    loop: AbstractEventLoop
    future: Future[Any]


def carry_out(ledger: Ledger, unit: Unit, *, alone: bool) -> Outcome:
    """Carry out `unit`: whole or, when it is refused, not at all.

    Every write decides before it changes anything, so only a unit of several writes needs a savepoint; one that is alone in
    its transaction leaves taking it back to its caller, who must roll back when an error comes out.

    Returns:
        The results; a refusal as the error.

    Raises:
        sqlite3.Error: the whole transaction is void.
    """
    mark = None
    if unit.atomic and not alone and len(unit.writes) > 1:
        mark = ledger.mark()
    try:
        return _carry_out(ledger, unit)
    except SfmError as error:
        if mark is not None:
            ledger.take_back(mark)
            mark = None
        return error
    finally:
        if mark is not None:
            ledger.keep()


def _carry_out(ledger: Ledger, unit: Unit) -> list[Result] | Replayed:
    if unit.idempotency is not None and (replayed := replay(ledger, unit.idempotency)) is not None:
        return replayed
    results = [_do(ledger, write, unit.atomic) for write in unit.writes]
    if unit.idempotency is not None:
        keep_answer(ledger, unit.idempotency, results)
    return results


def _do(ledger: Ledger, write: Write, atomic: bool) -> Result:
    try:
        return _HANDLERS[type(write)](ledger, write)
    except SfmError as error:
        if atomic:
            raise
        return error
