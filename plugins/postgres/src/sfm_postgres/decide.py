"""What becomes of each write, decided over a `View`. A refused write raises; the caller takes back what it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from sfm_core.errors import Conflict, NotFound
from sfm_core.model.event import ChangeType
from sfm_core.model.filter import json_equal
from sfm_core.model.memory import Memory, Outcome
from sfm_core.model.twins import is_twin
from sfm_core.ports.storage import Result
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
from sfm_postgres.keys import place_of, twin_key
from sfm_postgres.rows import Content
from sfm_postgres.view import Changed, Held, Past, View, refuse

__all__ = ["decide"]


def decide(view: View, write: Write) -> Result:
    """Carry out one write on `view`; sequences in the result count from -1 downwards.

    Raises:
        Conflict, StaleVersion, NotFound: it is refused.
    """
    return _HANDLERS[type(write)](view, write)


def _put(view: View, write: Put) -> Applied:
    memory, now = write.memory, write.memory.updated_at
    content = Content(write.analysis, write.digest)
    twin = _twin(view, write, now) if write.dedupe else None
    if twin is not None:
        return Applied(twin.memory, "duplicate", twin.sequence)
    holder = view.holder(memory, now)
    if holder is None or ("id" in write.given and memory.id != holder.memory.id):
        view.require_free_id(memory.id)
    if holder is None:
        return _store(view, None, memory, content, "memory.created", "created")
    there = holder.memory
    if "id" in write.given and memory.id != there.id:
        refuse(Conflict, f"the coordinate is held by memory {there.id}, not by {memory.id}")
    memory = replace(memory, id=there.id, created_at=there.created_at, version=there.version + 1)
    return _store(view, holder, memory, content, "memory.updated", "versioned")


def _replace(view: View, write: Replace) -> Applied:
    memory = write.memory
    held = view.known(memory.id)
    if not write.revive and not held.is_live(memory.updated_at):
        refuse(NotFound, f"memory {memory.id} is not there")
    view.require_version(held, write.expected_version)
    view.require_free_coordinate(memory, memory.updated_at)
    kind: ChangeType = "memory.restored" if write.outcome == "restored" else "memory.updated"
    return _store(view, view.known(memory.id), memory, Content(write.analysis, write.digest), kind, write.outcome)


def _remove(view: View, write: Remove) -> Applied:
    held = view.known(write.id)
    if held.deleted:
        refuse(NotFound, f"memory {write.id} is not there")
    view.require_version(held, write.expected_version)
    return _turn(view, held, "memory.deleted", write.time, write.operation)


def _revive(view: View, write: Revive) -> Applied:
    held = view.known(write.id)
    if not held.deleted or held.operation != write.operation:
        refuse(NotFound, f"memory {write.id} is not deleted by operation {write.operation}")
    view.require_free_coordinate(held.memory, write.time)
    return _turn(view, held, "memory.restored", write.time, write.operation)


def _erase(view: View, write: Erase) -> Applied:
    held = view.known(write.id)
    view.require_version(held, write.expected_version)
    memory = held.memory
    view.wipe(held)
    changed = Changed(
        "memory.erased", memory.id, memory.version + 1, memory.namespace, write.time, None, write.operation
    )
    return Applied(memory, "erased", view.log(changed))


def _put_link(view: View, write: PutLink) -> AppliedLink:
    link = write.link
    for id in (link.source, link.target):
        if not view.known(id).is_live(link.updated_at):
            refuse(NotFound, f"memory {id} is not there")
    return _tie(view, write)


def _tie(view: View, write: PutLink | ImportLink) -> AppliedLink:
    link = write.link
    for id in (link.source, link.target):
        if view.known(id).memory.namespace != link.namespace:
            refuse(NotFound, f"memory {id} is not in the namespace of the link")
    key = (link.source, link.target, link.relation)
    before = view.links.get(key)
    if before is not None:
        there, sequence = before
        if there.weight == link.weight and json_equal(there.metadata, link.metadata):
            return AppliedLink(there, "unchanged", sequence)
        link = replace(link, created_at=there.created_at)
    sequence = _log_link(view, "memory.linked", link.source, link.target, link.updated_at)
    view.put(view.links, key, (link, sequence))
    view.put(view.tied, key, True)
    return AppliedLink(link, "created" if before is None else "updated", sequence)


def _remove_link(view: View, write: RemoveLink) -> AppliedLink:
    key = (write.source, write.target, write.relation)
    before = view.links.get(key)
    ends = [view.find(id) for id in key[:2]]
    if before is None or not all(end is not None and end.is_live(write.time) for end in ends):
        refuse(NotFound, f"no link of that relation from memory {write.source} to {write.target}")
    sequence = _log_link(view, "memory.unlinked", write.source, write.target, write.time)
    view.put(view.links, key, None)
    view.put(view.tied, key, True)
    return AppliedLink(before[0], "deleted", sequence)


def _log_link(view: View, kind: ChangeType, source: str, target: str, time: datetime) -> int:
    memory = view.known(source).memory
    return view.log(Changed(kind, source, memory.version, memory.namespace, time, target))


def _start_operation(view: View, write: StartOperation) -> Operation:
    given = write.operation
    view.put(view.operations, given.id, given)
    return replace(given, sequence=view.sequences.get(given.id, 0), count=view.counts.get(given.id, 0))


def _import_memory(view: View, write: ImportMemory) -> Applied:
    memory = write.versions[-1]
    held = view.find(memory.id)
    if held is not None and held.deleted == write.deleted and _is_equal(held.memory, memory):
        return Applied(memory, "duplicate", held.sequence)
    view.require_free_id(memory.id)
    if not write.deleted:
        view.require_free_coordinate(memory, memory.updated_at)
    kind: ChangeType = "memory.deleted" if write.deleted else "memory.created"
    content = Content(write.analysis, write.digest)
    applied = _store(view, None, memory, content, kind, "created", deleted=write.deleted)
    until = memory.updated_at
    for version in reversed(write.versions[:-1]):
        view.past.append(Past(version, version.version in write.tombstones, until, _NO_CONTENT))
        until = min(until, version.updated_at)
    return applied


def _is_equal(one: Memory, other: Memory) -> bool:
    return one == other and json_equal(one.payload, other.payload)  # Python takes 1 for true


def _twin(view: View, write: Put, now: datetime) -> Held | None:
    """Return a twin, the one with the given id before any other."""
    memory = write.memory
    alike = view.like(memory.namespace, write.digest, now)
    twins = [held for held in alike if is_twin(memory, write.given, held.memory)]
    return min(twins, key=lambda held: (held.memory.id != memory.id, held.memory.id), default=None)


def _store(
    view: View,
    before: Held | None,
    memory: Memory,
    content: Content,
    kind: ChangeType,
    outcome: Outcome,
    *,
    deleted: bool = False,
) -> Applied:
    """Store `memory` as a new record or as the next version of `before`."""
    if before is not None:
        _keep(view, before, memory.updated_at)
    sequence = view.log(Changed(kind, memory.id, memory.version, memory.namespace, memory.updated_at))
    held = Held(
        memory=memory,
        deleted=deleted,
        sequence=sequence,
        twin=twin_key(memory.namespace, content.digest),
        place=place_of(memory) if not deleted else None,
        content=content,
        row=before.row if before is not None else None,
    )
    view.hold(held)
    return Applied(memory, outcome, sequence)


def _turn(view: View, before: Held, kind: ChangeType, time: datetime, operation: str) -> Applied:
    """Give a memory a next version with the same content: a tombstone, or live again."""
    _keep(view, before, time)
    memory = replace(before.memory, version=before.memory.version + 1, updated_at=time)
    sequence = view.log(Changed(kind, memory.id, memory.version, memory.namespace, time, None, operation))
    deleted = kind == "memory.deleted"
    held = replace(
        before,
        memory=memory,
        deleted=deleted,
        operation=operation if deleted else None,
        sequence=sequence,
        place=None if deleted else place_of(memory),
    )
    view.hold(held)
    return Applied(memory, "deleted" if deleted else "restored", sequence)


def _keep(view: View, held: Held, until: datetime) -> None:
    """Make the newest version history."""
    view.past.append(Past(held.memory, held.deleted, until, None if held.row == held.memory.version else held.content))


_NO_CONTENT = Content(Analysis(), b"")

_HANDLERS: Mapping[type, Callable[[View, Any], Result]] = {
    Put: _put,
    Replace: _replace,
    Remove: _remove,
    Erase: _erase,
    Revive: _revive,
    PutLink: _put_link,
    RemoveLink: _remove_link,
    StartOperation: _start_operation,
    ImportMemory: _import_memory,
    ImportLink: _tie,
}
