"""Remembering: new memories, batches and updates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from sfm_core.errors import Conflict, InvalidInput, LimitExceeded, NotFound, Problem, SfmError, StaleVersion
from sfm_core.model.memory import Memory, NewMemory, Receipt
from sfm_core.model.namespace import Scope
from sfm_core.model.twins import digest
from sfm_core.ports.storage import Storage
from sfm_core.ports.writes import Analysis, Put, Replace, Write
from sfm_core.services.commit import Committed, Committer
from sfm_core.services.idempotency import IdempotencyKey
from sfm_core.services.ids import check_id
from sfm_core.services.principal import Principal, Verb
from sfm_core.services.replies import BatchReceipt, ItemResult, batch_receipt, receipt
from sfm_core.services.validate import MemoryReader

__all__ = ["Analyse", "Remember"]

Analyse = Callable[[Memory], Analysis]
_ATTEMPTS = 16


class Remember:
    """Stores new memories and new versions of memories."""

    def __init__(self, committer: Committer, reader: MemoryReader, analyse: Analyse) -> None:
        self._committer = committer
        self._storage: Storage = committer.storage
        self._reader = reader
        self._analyse = analyse

    async def remember(
        self,
        principal: Principal,
        item: NewMemory | Mapping[str, object],
        *,
        dedupe: bool = True,
        wait: bool = False,
        key: IdempotencyKey | None = None,
    ) -> Receipt:
        """Store one memory and return when it is durable.

        Raises:
            InvalidInput: naming every refused field; nothing was stored.
            Conflict: the given id is taken.
            Forbidden: the principal may not write in the namespace.
        """
        put = self._put(principal, item, dedupe, "")
        return await receipt(self._storage, await self._committer.commit(principal, [put], wait=wait, key=key))

    async def remember_many(
        self,
        principal: Principal,
        items: Sequence[NewMemory | Mapping[str, object]],
        *,
        atomic: bool = False,
        dedupe: bool = True,
        wait: bool = False,
        key: IdempotencyKey | None = None,
    ) -> BatchReceipt:
        """Store many memories in one transaction.

        Args:
            principal, dedupe, wait, key: as in `remember`.
            items: at most `Limits.batch`.
            atomic: store all or nothing: the first refused item's error is raised, fields prefixed by `memories.<n>.`;
                else a refused item has its error in the results and the others are stored.
        """
        if not isinstance(items, list | tuple):
            raise InvalidInput.of("memories", items, "a list of memories")
        most = self._committer.limits.batch
        if len(items) > most:
            raise LimitExceeded([Problem("memories", f"{len(items)} items", f"at most {most}")])
        puts: list[Put | SfmError] = []
        for n, item in enumerate(items):
            try:
                puts.append(self._put(principal, item, dedupe, f"memories.{n}."))
            except SfmError as error:
                if atomic:
                    raise
                puts.append(error)
        writes: list[Write] = [p for p in puts if isinstance(p, Put)]
        refused = [[i, type(p).__name__, _problems(p)] for i, p in enumerate(puts) if isinstance(p, SfmError)]
        committed = (
            await self._committer.commit(
                principal, writes, atomic=atomic, wait=wait, key=key, note={"refused": refused} if refused else None
            )
            if writes
            else Committed([], True)
        )
        stored = await batch_receipt(self._storage, committed)
        if not refused:
            return stored
        rest = iter(stored.results)
        merged = [next(rest) if isinstance(p, Put) else ItemResult(error=p) for p in puts]
        return BatchReceipt(tuple(merged), stored.sequence)

    async def update(
        self,
        principal: Principal,
        id: str,
        changes: Mapping[str, object],
        *,
        expected_version: int | None = None,
        wait: bool = False,
        key: IdempotencyKey | None = None,
    ) -> Receipt:
        """Apply a JSON merge patch to a memory; a change makes a new version, none is "unchanged".

        Racing updates are applied one after the other, each to the result of the one before.

        Raises:
            NotFound: unknown, deleted, expired or erased.
            StaleVersion: `expected_version` is given and not the stored one.
            Conflict: the new coordinate is occupied.
            InvalidInput: an unknown, unchangeable or refused field.
        """
        id = check_id(id)
        for _ in range(_ATTEMPTS):
            memory = await self._live(principal, id)
            if expected_version is not None and memory.version != expected_version:
                raise StaleVersion(
                    f"memory {id} has version {memory.version}, not {expected_version}", current=memory.version
                )
            now = self._committer.clock()
            new = self._reader.patched(memory, changes, now=now)
            if _same(memory, new):
                return await self._unchanged(memory)
            new = self._committer.approved(new, principal)
            write = Replace(
                memory=new, analysis=self._analyse(new), digest=digest(new), expected_version=memory.version
            )
            try:
                committed = await self._committer.commit(principal, [write], wait=wait, key=key)
            except StaleVersion:
                if expected_version is not None:
                    raise
                continue
            return await receipt(self._storage, committed)
        raise Conflict(f"memory {id} was changed by others {_ATTEMPTS} times in a row; try again")

    async def _live(self, principal: Principal, id: str) -> Memory:
        [memory] = await self._storage.get([id], now=self._committer.clock())
        if memory is None or not principal.may(Verb.READ, Scope(memory.namespace)):
            raise NotFound(f"no memory {id}")
        principal.require(Verb.WRITE, Scope(memory.namespace))
        return memory

    async def _unchanged(self, memory: Memory) -> Receipt:
        [stored] = await self._storage.locate([memory.id])
        return Receipt(memory=memory, outcome="unchanged", sequence=stored.sequence if stored else 0, indexed=True)

    def _put(self, principal: Principal, item: NewMemory | Mapping[str, object], dedupe: bool, prefix: str) -> Put:
        memory, given = self._reader.read(item, now=self._committer.clock(), prefix=prefix)
        principal.require(Verb.WRITE, Scope(memory.namespace))
        memory = self._committer.approved(memory, principal)
        return Put(memory=memory, analysis=self._analyse(memory), digest=digest(memory), given=given, dedupe=dedupe)


def _same(old: Memory, new: Memory) -> bool:
    return old == msgspec.structs.replace(new, updated_at=old.updated_at, version=old.version)


def _problems(error: object) -> list[tuple[str, str, str]]:
    found = error.problems if isinstance(error, InvalidInput) else ()
    return [(p.field, p.given, p.allowed) for p in found]
