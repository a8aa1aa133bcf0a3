"""What every write has in common: claim the key, apply in one transaction, forget copies, project, tell the hooks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from msgspec import Struct

from sfm_core.errors import Conflict, StaleVersion
from sfm_core.model.memory import Memory
from sfm_core.plugins.hooks import OperationHooks
from sfm_core.ports.storage import Result, Storage
from sfm_core.ports.writes import Applied, AppliedLink, Erase, ImportMemory, Put, Replace, Replayed, Write
from sfm_core.services.clock import Clock
from sfm_core.services.copies import Copies
from sfm_core.services.idempotency import IdempotencyKey, Replay
from sfm_core.services.limits import Limits
from sfm_core.services.principal import Principal
from sfm_core.services.projector import Projector
from sfm_core.services.validate import MemoryReader

__all__ = ["Committed", "Committer", "until_not_stale"]

_GONE = ("deleted", "erased")
_UNWRITTEN = ("duplicate", "unchanged")
_ATTEMPTS = 100
_LONGEST_PAUSE = 0.05

_T = TypeVar("_T")


class Committed(Struct, frozen=True):
    """What became of a transaction.

    Attributes:
        results: of its writes, in order.
        indexed: whether the projections hold them.
        replay: what an earlier request with the key did.
        forgotten: whether no cached copy is left of what was deleted.
    """

    results: list[Result]
    indexed: bool
    replay: Replay | None = None
    forgotten: bool = True

    @property
    def sequence(self) -> int:
        """The newest sequence among the results, 0 when nothing was written."""
        return max((r.sequence for r in self.results if isinstance(r, Applied | AppliedLink)), default=0)


class Committer:
    """Applies writes to storage and carries them on.

    Args:
        storage: the source of truth.
        projector: keeps the projections, here or in a consumer.
        hooks: the operation hooks.
        reader: checks what a hook made of a memory.
        clock, limits: as everywhere.
        copies: cached copies of memories, None when there are none.
    """

    def __init__(
        self,
        storage: Storage,
        projector: Projector,
        hooks: OperationHooks,
        reader: MemoryReader,
        clock: Clock,
        limits: Limits,
        copies: Copies | None = None,
    ) -> None:
        self.storage = storage
        self.projector = projector
        self.hooks = hooks
        self._reader = reader
        self.clock = clock
        self.limits = limits
        self._copies = copies

    def approved(self, memory: Memory, principal: Principal) -> Memory:
        """Return what the `sfm_remembering` hooks make of `memory`, checked again when they changed it.

        Raises:
            SfmError: a hook refuses the write, or its result is refused.
        """
        if not self.hooks.has_remembering:
            return memory
        changed = self.hooks.remembering(memory, principal)
        return changed if changed is memory else self._reader.recheck(changed)

    async def replayed(self, key: IdempotencyKey | None, *, wait: bool = False) -> Committed | None:
        """Return what an earlier request with `key` did, None when there was none.

        Asked before a write is prepared: what the first request did may make the same request impossible now. With `wait` it
        waits as `commit` does.

        Raises:
            InvalidInput: the key is malformed.
            IdempotencyMismatch: it was used for another request.
        """
        if key is None:
            return None
        answer = await self.storage.answered(key.claim(self.clock(), self.limits))
        return None if answer is None else await self._replay(answer, wait)

    async def commit(
        self,
        principal: Principal,
        writes: Sequence[Write],
        *,
        atomic: bool = True,
        wait: bool = False,
        key: IdempotencyKey | None = None,
        note: dict[str, object] | None = None,
    ) -> Committed:
        """Apply `writes`, project them and call the hooks.

        Args:
            principal: who writes, for the hooks.
            writes: intents of `sfm_core.ports.writes`; with none of them only the key is claimed.
            atomic: as in `Storage.apply`.
            wait: wait, bounded, until the projections hold the writes.
            key: an idempotency key of the caller.
            note: kept with the key.
        """
        claim = None if key is None else key.claim(self.clock(), self.limits, note)
        try:
            answer = await self.storage.apply(writes, atomic=atomic, idempotency=claim)
            if isinstance(answer, Replayed):
                return await self._replay(answer, wait)
            live, gone, sequences = _effects(writes, answer)
            forgotten = self._copies is None or not gone or await self._copies.forget(list(gone))
            indexed = await self.projector.written(list(live.values()), list(gone.items()), sequences)
        except asyncio.CancelledError:
            # What was stored may not be projected by this call any more: the log tells the projector.
            self.projector.kick()
            raise
        done = Committed(answer, indexed, forgotten=forgotten)
        if wait and not indexed:
            # Also what was there before: the index may not hold it yet.
            stand = [result.memory for result in answer if isinstance(result, Applied)]
            indexed = await self.projector.reached(
                done.sequence, self.limits.wait_seconds, live=None if gone else stand
            )
            done = Committed(answer, indexed, forgotten=forgotten)
        if self.hooks.has_remembered:
            self._tell(principal, writes, answer)
        return done

    async def _replay(self, answer: Replayed, wait: bool) -> Committed:
        replay = Replay.read(answer.answer)
        sequence = max((result.sequence for result in replay.results), default=0)
        indexed = await self.projector.reached(sequence, self.limits.wait_seconds if wait else 0.0)
        return Committed([], indexed, replay)

    def _tell(self, principal: Principal, writes: Sequence[Write], results: Sequence[Result]) -> None:
        for write, result in zip(writes, results, strict=True):
            if not isinstance(result, Applied) or result.outcome in _UNWRITTEN:
                continue
            if isinstance(write, Put | Replace | ImportMemory) and not _buries(write):
                self.hooks.remembered(result.memory, principal)


def _effects(writes: Sequence[Write], results: Sequence[Result]) -> tuple[dict[str, Memory], dict[str, int], list[int]]:
    """Return the memories that are to be found now, the version with which each that is not went, and all sequences."""
    live: dict[str, Memory] = {}
    gone: dict[str, int] = {}
    sequences: list[int] = []
    for write, result in zip(writes, results, strict=True):
        if not isinstance(result, Applied | AppliedLink) or result.outcome in _UNWRITTEN:
            continue
        sequences.append(result.sequence)
        if isinstance(result, AppliedLink):
            continue
        if result.outcome in _GONE or _buries(write):
            live.pop(result.memory.id, None)
            gone[result.memory.id] = result.memory.version + (1 if isinstance(write, Erase) else 0)
        else:
            gone.pop(result.memory.id, None)
            live[result.memory.id] = result.memory
    return live, gone, sequences


def _buries(write: Write) -> bool:
    return isinstance(write, ImportMemory) and write.deleted


async def until_not_stale(attempt: Callable[[], Awaitable[_T]], what: str) -> _T:
    """Return what `attempt` returns; while another write comes between its reading and its writing, begin again.

    Raises:
        Conflict: others came between too many times in a row.
    """
    for count in range(1, _ATTEMPTS + 1):
        try:
            return await attempt()
        except StaleVersion:
            await asyncio.sleep(random.uniform(0, min(0.001 * count, _LONGEST_PAUSE)))
    raise Conflict(f"{what} was changed by others {_ATTEMPTS} times in a row; try again")
