"""What every write has in common: claim the key, apply in one transaction, project, tell the hooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from sfm_core.model.memory import Memory
from sfm_core.plugins.hooks import OperationHooks
from sfm_core.ports.storage import Result, Storage
from sfm_core.ports.writes import Applied, AppliedLink, Erase, Operation, Put, Replace, Replayed, Write
from sfm_core.services.clock import Clock
from sfm_core.services.idempotency import IdempotencyKey, Replay
from sfm_core.services.limits import Limits
from sfm_core.services.principal import Principal
from sfm_core.services.projector import Projector
from sfm_core.services.validate import MemoryReader

__all__ = ["Committed", "Committer"]

_GONE = ("deleted", "erased")
_UNWRITTEN = ("duplicate", "unchanged")


class Committed(Struct, frozen=True):
    """The results of a transaction, whether the projections hold them, or what an earlier request with the key did."""

    results: list[Result]
    indexed: bool
    replay: Replay | None = None

    @property
    def sequence(self) -> int:
        """The newest sequence among the results, 0 when nothing was written."""
        return max((r.sequence for r in self.results if isinstance(r, Applied | AppliedLink)), default=0)


class Committer:
    """Applies writes to storage and carries them on.

    Args:
        storage: the source of truth.
        projector: projects inline; None when a consumer does it.
        hooks: the operation hooks.
        reader: checks what a hook made of a memory.
        clock, limits: as everywhere.
    """

    def __init__(
        self,
        storage: Storage,
        projector: Projector | None,
        hooks: OperationHooks,
        reader: MemoryReader,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self.storage = storage
        self.projector = projector
        self.hooks = hooks
        self._reader = reader
        self.clock = clock
        self.limits = limits

    def approved(self, memory: Memory, principal: Principal) -> Memory:
        """Return what the `sfm_remembering` hooks make of `memory`, checked again when they changed it.

        Raises:
            SfmError: a hook refuses the write, or its result is refused.
        """
        if not self.hooks.has_remembering:
            return memory
        changed = self.hooks.remembering(memory, principal)
        return changed if changed is memory else self._reader.recheck(changed)

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
            writes: intents of `sfm_core.ports.writes`.
            atomic: as in `Storage.apply`.
            wait: wait, bounded, until the projections hold the writes.
            key: an idempotency key of the caller.
            note: kept with the key.
        """
        claim = None if key is None else key.claim(self.clock(), self.limits, note)
        answer = await self.storage.apply(writes, atomic=atomic, idempotency=claim)
        if isinstance(answer, Replayed):
            return Committed([], True, Replay.read(answer.answer))
        indexed = await self._project(writes, answer)
        done = Committed(answer, indexed)
        if wait and not indexed and self.projector is not None:
            done = Committed(answer, await self.projector.reached(done.sequence, self.limits.wait_seconds))
        if self.hooks.has_remembered:
            for write, result in zip(writes, answer, strict=True):
                if (
                    isinstance(write, Put | Replace)
                    and isinstance(result, Applied)
                    and result.outcome not in _UNWRITTEN
                ):
                    self.hooks.remembered(result.memory, principal)
        return done

    async def _project(self, writes: Sequence[Write], results: Sequence[Result]) -> bool:
        if self.projector is None:
            return False
        live: dict[str, tuple[Memory, Sequence[tuple[str, str]] | None]] = {}
        gone: dict[str, int] = {}
        sequences: list[int] = []
        for write, result in zip(writes, results, strict=True):
            if isinstance(result, AppliedLink):
                sequences.append(result.sequence)
            if not isinstance(result, Applied) or result.outcome in _UNWRITTEN:
                continue
            sequences.append(result.sequence)
            if result.outcome in _GONE:
                live.pop(result.memory.id, None)
                gone[result.memory.id] = result.memory.version + (1 if isinstance(write, Erase) else 0)
            else:
                gone.pop(result.memory.id, None)
                words = write.analysis.words if isinstance(write, Put | Replace) else None
                live[result.memory.id] = (result.memory, words)
        if not live and not gone:
            return not self.projector.failing
        return await self.projector.written(
            [memory for memory, _ in live.values()], list(gone.items()), sequences, words=_words(live.values())
        )


def _words(
    live: Iterable[tuple[Memory, Sequence[tuple[str, str]] | None]],
) -> list[Sequence[tuple[str, str]]] | None:
    words = [pairs for _, pairs in live]
    known = [pairs for pairs in words if pairs is not None]
    return known if len(known) == len(words) else None


def operation_of(results: Sequence[Result]) -> Operation | None:
    """Return the operation among the results of a transaction."""
    return next((r for r in results if isinstance(r, Operation)), None)
