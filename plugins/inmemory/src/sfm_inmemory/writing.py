"""What each write does to the tables. A refused write raises before or after touching them; the caller rolls back."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from functools import singledispatchmethod
from typing import NoReturn

from msgspec.structs import replace

from sfm_core.errors import Conflict, NotFound, StaleVersion
from sfm_core.model.event import ChangeType
from sfm_core.model.filter import json_equal
from sfm_core.model.memory import Memory, Outcome
from sfm_core.model.twins import is_twin
from sfm_core.ports.storage import Stored
from sfm_core.ports.writes import (
    Analysis,
    Applied,
    AppliedLink,
    Erase,
    ImportLink,
    ImportMemory,
    Operation,
    Put,
    PutLink,
    Remove,
    RemoveLink,
    Replace,
    Revive,
    StartOperation,
    Write,
)
from sfm_inmemory.state import Record, State, is_live, link_key

__all__ = ["Writer"]


def _refuse(kind: type[Conflict] | type[NotFound], text: str) -> NoReturn:
    raise kind(f"inmemory/storage: {text}")


def _equal(one: Memory, other: Memory) -> bool:
    return one == other and json_equal(one.payload, other.payload)  # Python takes 1 for true


class Writer:
    """Carries out writes on a `State`, one after the other."""

    def __init__(self, state: State) -> None:
        self._state = state

    @singledispatchmethod
    def do(self, write: Write) -> Applied | AppliedLink | Operation:
        """Carry out one write.

        Raises:
            Conflict, StaleVersion, NotFound: it is refused.
        """
        raise TypeError(f"not a write: {type(write).__name__}")

    @do.register
    def _(self, write: Put) -> Applied:
        memory, now = write.memory, write.memory.updated_at
        twin = self._twin(write, now) if write.dedupe else None
        if twin is not None:
            return Applied(twin.memory, "duplicate", twin.newest.sequence)
        holder = self._holder(memory, now)
        if holder is None or ("id" in write.given and memory.id != holder.memory.id):
            self._require_free_id(memory.id)
        if holder is None:
            return self._store(None, memory, write.analysis, write.digest, "memory.created", "created")
        if "id" in write.given and memory.id != holder.memory.id:
            _refuse(Conflict, f"the coordinate is held by memory {holder.memory.id}, not by {memory.id}")
        there = holder.memory
        version = replace(memory, id=there.id, created_at=there.created_at, version=there.version + 1)
        return self._store(holder, version, write.analysis, write.digest, "memory.updated", "versioned")

    @do.register
    def _(self, write: Replace) -> Applied:
        memory = write.memory
        record = self._known(memory.id)
        if not is_live(record.newest, memory.updated_at) and not write.revive:
            _refuse(NotFound, f"memory {memory.id} is not there")
        self._require_version(record, write.expected_version)
        self._require_free_coordinate(memory, memory.updated_at)
        kind: ChangeType = "memory.restored" if write.outcome == "restored" else "memory.updated"
        return self._store(record, memory, write.analysis, write.digest, kind, write.outcome)

    @do.register
    def _(self, write: Remove) -> Applied:
        record = self._known(write.id)
        if record.newest.deleted:
            _refuse(NotFound, f"memory {write.id} is not there")
        self._require_version(record, write.expected_version)
        memory = replace(record.memory, version=record.memory.version + 1, updated_at=write.time)
        sequence = self._state.log("memory.deleted", memory, time=write.time)
        stored = Stored(memory=memory, deleted=True, sequence=sequence)
        self._state.place(replace(record, versions=(*record.versions, stored), operation=write.operation))
        self._state.touch(write.operation, write.id, memory.version, sequence)
        return Applied(memory, "deleted", sequence)

    @do.register
    def _(self, write: Erase) -> Applied:
        record = self._known(write.id)
        self._require_version(record, write.expected_version)
        memory, version = record.memory, record.memory.version + 1
        sequence = self._state.log("memory.erased", memory, time=write.time, version=version)
        self._state.wipe(record)
        self._state.put(self._state.erased, write.id, version)
        self._state.touch(write.operation, write.id, version, sequence)
        return Applied(memory, "erased", sequence)

    @do.register
    def _(self, write: Revive) -> Applied:
        record = self._known(write.id)
        if not record.newest.deleted or record.operation != write.operation:
            _refuse(NotFound, f"memory {write.id} is not deleted by operation {write.operation}")
        memory = replace(record.memory, version=record.memory.version + 1, updated_at=write.time)
        self._require_free_coordinate(memory, write.time)
        applied = self._store(record, memory, record.analysis, record.digest, "memory.restored", "restored")
        self._state.touch(write.operation, write.id, memory.version, applied.sequence)
        return applied

    @do.register
    def _(self, write: PutLink) -> AppliedLink:
        link = write.link
        source = self._live_end(link.source, link.namespace, link.updated_at)
        self._live_end(link.target, link.namespace, link.updated_at)
        return self._tie(write, source)

    @do.register
    def _(self, write: RemoveLink) -> AppliedLink:
        key = (write.source, write.target, write.relation)
        ends = [self._state.records.get(end) for end in key[:2]]
        if key not in self._state.links or not all(end and is_live(end.newest, write.time) for end in ends):
            _refuse(NotFound, f"no link from {write.source} to {write.target} by that relation")
        link, _ = self._state.links[key]
        self._state.unlink(key)
        source = self._known(write.source).memory
        sequence = self._state.log("memory.unlinked", source, time=write.time, target=write.target)
        return AppliedLink(link, "deleted", sequence)

    @do.register
    def _(self, write: StartOperation) -> Operation:
        state, id = self._state, write.operation.id
        state.put(state.operations, id, write.operation)
        return replace(write.operation, sequence=state.moved.get(id, 0), count=len(state.members[id]))

    @do.register
    def _(self, write: ImportMemory) -> Applied:
        memory = write.versions[-1]
        known = self._state.records.get(memory.id)
        if known is not None and _equal(known.memory, memory) and known.newest.deleted == write.deleted:
            return Applied(memory, "duplicate", known.newest.sequence)
        self._require_free_id(memory.id)
        if not write.deleted:
            self._require_free_coordinate(memory, memory.updated_at)
        kind: ChangeType = "memory.deleted" if write.deleted else "memory.created"
        sequence = self._state.log(kind, memory, time=memory.updated_at)
        versions = tuple(
            Stored(memory=version, deleted=version.version in write.tombstones, sequence=sequence)
            for version in write.versions[:-1]
        )
        newest = Stored(memory=memory, deleted=write.deleted, sequence=sequence)
        self._place(None, (*versions, newest), write.analysis, write.digest)
        return Applied(memory, "created", sequence)

    @do.register
    def _(self, write: ImportLink) -> AppliedLink:
        source = self._end(write.link.source, write.link.namespace)
        self._end(write.link.target, write.link.namespace)
        return self._tie(write, source)

    def _tie(self, write: PutLink | ImportLink, source: Memory) -> AppliedLink:
        link = write.link
        before = self._state.links.get(link_key(link))
        if before is not None:
            there, sequence = before
            if there.weight == link.weight and json_equal(there.metadata, link.metadata):
                return AppliedLink(there, "unchanged", sequence)
            link = replace(link, created_at=there.created_at)
        sequence = self._state.log("memory.linked", source, time=link.updated_at, target=link.target)
        self._state.tie(link, sequence)
        return AppliedLink(link, "created" if before is None else "updated", sequence)

    def _store(
        self,
        record: Record | None,
        memory: Memory,
        analysis: Analysis,
        digest: bytes,
        kind: ChangeType,
        outcome: Outcome,
    ) -> Applied:
        sequence = self._state.log(kind, memory, time=memory.updated_at)
        stored = Stored(memory=memory, deleted=False, sequence=sequence)
        self._place(record, (*(record.versions if record else ()), stored), analysis, digest)
        return Applied(memory, outcome, sequence)

    def _place(self, record: Record | None, versions: tuple[Stored, ...], analysis: Analysis, digest: bytes) -> None:
        words = frozenset(analysis.words) | (record.words if record else frozenset())
        self._state.place(Record(versions, analysis, digest, Counter(analysis.stems), words))

    def _twin(self, write: Put, now: datetime) -> Record | None:
        ids = self._state.by_digest.get((write.memory.namespace, write.digest), ())
        same = [self._state.records[id] for id in ids]
        twins = [r for r in same if is_live(r.newest, now) and is_twin(write.memory, write.given, r.memory)]
        return min(twins, key=lambda r: (r.memory.id != write.memory.id, r.memory.id), default=None)

    def _holder(self, memory: Memory, now: datetime) -> Record | None:
        if memory.coordinate is None:
            return None
        id = self._state.coordinates.get((memory.namespace, memory.coordinate))
        record = self._state.records[id] if id is not None else None
        return record if record is not None and is_live(record.newest, now) else None

    def _known(self, id: str) -> Record:
        record = self._state.records.get(id)
        if record is None:
            _refuse(NotFound, f"memory {id} is not there")
        return record

    def _end(self, id: str, namespace: str) -> Memory:
        memory = self._known(id).memory
        if memory.namespace != namespace:
            _refuse(NotFound, f"memory {id} is not in the namespace of the link")
        return memory

    def _live_end(self, id: str, namespace: str, now: datetime) -> Memory:
        if not is_live(self._known(id).newest, now):
            _refuse(NotFound, f"memory {id} is not there")
        return self._end(id, namespace)

    def _require_version(self, record: Record, expected: int | None) -> None:
        current = record.memory.version
        if expected is not None and expected != current:
            text = f"inmemory/storage: memory {record.memory.id} has version {current}, not {expected}"
            raise StaleVersion(text, current=current)

    def _require_free_id(self, id: str) -> None:
        if id in self._state.records or id in self._state.erased:
            _refuse(Conflict, f"id {id} is taken")

    def _require_free_coordinate(self, memory: Memory, now: datetime) -> None:
        holder = self._holder(memory, now)
        if holder is not None and holder.memory.id != memory.id:
            _refuse(Conflict, f"the coordinate is held by memory {holder.memory.id}")
