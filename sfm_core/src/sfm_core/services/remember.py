"""Remembering: new memories, batches and updates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from sfm_core.errors import InvalidInput, LimitExceeded, NotFound, Problem, SfmError, StaleVersion
from sfm_core.model.filter import json_equal
from sfm_core.model.memory import Memory, NewMemory, Receipt
from sfm_core.model.namespace import Scope
from sfm_core.model.twins import digest
from sfm_core.ports.storage import Storage
from sfm_core.ports.writes import Analysis, Applied, Put, Replace
from sfm_core.services.checks import check_bool, check_version
from sfm_core.services.commit import Committed, Committer, until_not_stale
from sfm_core.services.idempotency import IdempotencyKey
from sfm_core.services.ids import check_id
from sfm_core.services.principal import Principal, Verb
from sfm_core.services.replies import BatchReceipt, batch_receipt, receipt, refusal_note
from sfm_core.services.validate import MemoryReader

__all__ = ["Analyse", "Remember"]

Analyse = Callable[[Memory], Analysis]


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
        check_bool(dedupe, "dedupe")
        principal.require_verb(Verb.WRITE)
        committed = await self._committer.replayed(key, wait=wait)
        if committed is None:
            put = self._put(principal, item, dedupe, "")
            committed = await self._committer.commit(principal, [put], wait=wait, key=key)
        return await receipt(self._storage, principal, Verb.WRITE, committed)

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
        check_bool(atomic, "atomic")
        check_bool(dedupe, "dedupe")
        principal.require_verb(Verb.WRITE)
        if not isinstance(items, list | tuple):
            raise InvalidInput.of("memories", items, "a list of memories")
        most = self._committer.limits.batch
        if len(items) > most:
            raise LimitExceeded([Problem("memories", f"{len(items)} items", f"at most {most}")])
        refused: list[tuple[int, SfmError]] = []
        committed = await self._committer.replayed(key, wait=wait)
        if committed is None:
            puts, refused = self._puts(principal, items, dedupe, atomic)
            note: dict[str, object] = {"refused": [refusal_note(*pair) for pair in refused]} if refused else {}
            if puts or key is not None:
                committed = await self._committer.commit(principal, puts, atomic=atomic, wait=wait, key=key, note=note)
            else:
                committed = Committed([], self._committer.projector.keeps_up)
        return await batch_receipt(self._storage, principal, committed, refused)

    def _puts(
        self, principal: Principal, items: Sequence[NewMemory | Mapping[str, object]], dedupe: bool, atomic: bool
    ) -> tuple[list[Put], list[tuple[int, SfmError]]]:
        puts: list[Put] = []
        refused: list[tuple[int, SfmError]] = []
        for n, item in enumerate(items):
            try:
                puts.append(self._put(principal, item, dedupe, f"memories.{n}."))
            except SfmError as error:
                if atomic:
                    raise
                refused.append((n, error))
        return puts, refused

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
        expected = check_version(expected_version)
        principal.require_verb(Verb.WRITE)

        async def attempt() -> Committed:
            memory = await self._live(principal, id)
            if expected is not None and memory.version != expected:
                raise StaleVersion(f"memory {id} has version {memory.version}, not {expected}", current=memory.version)
            new = self._reader.patched(memory, changes, now=self._committer.clock())
            if not _same(memory, new):
                new = self._committer.approved(new, principal)
            if _same(memory, new):
                return await self._unchanged(principal, memory, key)
            write = Replace(
                memory=new, analysis=self._analyse(new), digest=digest(new), expected_version=memory.version
            )
            return await self._committer.commit(principal, [write], wait=wait, key=key)

        committed = await self._committer.replayed(key, wait=wait)
        if committed is None:
            committed = await (attempt() if expected is not None else until_not_stale(attempt, f"memory {id}"))
        return await receipt(self._storage, principal, Verb.WRITE, committed)

    async def _live(self, principal: Principal, id: str) -> Memory:
        [memory] = await self._storage.get([id], now=self._committer.clock())
        if memory is None or not principal.may(Verb.WRITE, Scope(memory.namespace)):
            raise NotFound(f"no memory {id}")
        return memory

    async def _unchanged(self, principal: Principal, memory: Memory, key: IdempotencyKey | None) -> Committed:
        [stored] = await self._storage.locate([memory.id])
        sequence = stored.sequence if stored is not None else 0
        if key is not None:
            note: dict[str, object] = {"unchanged": [memory.id, memory.version, sequence]}
            claimed = await self._committer.commit(principal, [], key=key, note=note)
            if claimed.replay is not None:
                return claimed
        return Committed([Applied(memory, "unchanged", sequence)], self._committer.projector.keeps_up)

    def _put(self, principal: Principal, item: NewMemory | Mapping[str, object], dedupe: bool, prefix: str) -> Put:
        memory, given = self._reader.read(item, now=self._committer.clock(), prefix=prefix)
        principal.require(Verb.WRITE, Scope(memory.namespace))
        memory = self._committer.approved(memory, principal)
        return Put(memory=memory, analysis=self._analyse(memory), digest=digest(memory), given=given, dedupe=dedupe)


def _same(old: Memory, new: Memory) -> bool:
    after = msgspec.structs.replace(new, updated_at=old.updated_at, version=old.version)
    return old == after and json_equal(old.payload, new.payload)  # Python takes 1 for true
