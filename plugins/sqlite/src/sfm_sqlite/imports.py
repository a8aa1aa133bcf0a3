"""Writes of memories out of an archive."""

from __future__ import annotations

from sfm_core.model.event import ChangeType
from sfm_core.model.filter import json_equal
from sfm_core.ports.writes import Applied, ImportMemory
from sfm_sqlite.codec import micros
from sfm_sqlite.ledger import Ledger
from sfm_sqlite.memories import MEMORY, Head, find, require_free_coordinate, require_free_id, store
from sfm_sqlite.rows import BODY, body_of

__all__ = ["import_memory"]

_PAST = """INSERT INTO past (num, version, body, updated_at, sequence, deleted, until, terms)
    VALUES (?, ?, ?, ?, ?, ?, ?, NULL)"""
_BURY = "UPDATE records SET deleted = 1 WHERE num = ?"


def import_memory(ledger: Ledger, write: ImportMemory) -> Applied:
    """Carry out `ImportMemory`."""
    memory = write.versions[-1]
    head = find(ledger, memory.id)
    if head is not None and _is_same(ledger, write, head):
        return Applied(memory, "duplicate", head.sequence)
    require_free_id(ledger, memory.id)
    ns = ledger.namespace(memory.namespace)
    if not write.deleted:
        require_free_coordinate(ledger, memory, ns, micros(memory.updated_at))
    kind: ChangeType = "memory.deleted" if write.deleted else "memory.created"
    applied = store(ledger, None, memory, write.analysis, write.digest, kind, "created")
    head = find(ledger, memory.id)
    assert head is not None
    if write.deleted:
        ledger.connection.execute(_BURY, (head.num,))
    _store_past(ledger, write, head)
    return applied


def _is_same(ledger: Ledger, write: ImportMemory, head: Head) -> bool:
    stored, given = ledger.memory(ledger.connection.execute(MEMORY, (head.num,)).fetchone()), write.versions[-1]
    same = stored == given and json_equal(stored.payload, given.payload)  # Python takes 1 for true
    return same and bool(head.deleted) == write.deleted


def _store_past(ledger: Ledger, write: ImportMemory, head: Head) -> None:
    until = micros(write.versions[-1].updated_at)
    for version in reversed(write.versions[:-1]):
        body = ledger.connection.execute(BODY, body_of(version)).lastrowid
        since = micros(version.updated_at)
        values = (head.num, version.version, body, since, head.sequence, version.version in write.tombstones, until)
        ledger.connection.execute(_PAST, values)
        until = min(until, since)
