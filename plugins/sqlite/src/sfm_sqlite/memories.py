"""Writes of memories: remember, replace, remove, revive."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from sfm_core.errors import Conflict, NotFound
from sfm_core.model.event import ChangeType
from sfm_core.model.memory import Memory
from sfm_core.model.twins import is_twin
from sfm_core.ports.writes import Analysis, Applied, Put, Remove, Replace, Revive
from sfm_sqlite.codec import blob_of, blob_or_none, encode_json, id_of, key_of, micros, micros_or_none
from sfm_sqlite.ledger import Ledger, refuse, stale
from sfm_sqlite.rows import BODY, CURRENT, FROM_CURRENT, body_of

__all__ = [
    "MEMORY",
    "Head",
    "find",
    "known",
    "put",
    "remove",
    "replace_memory",
    "require_free_coordinate",
    "require_free_id",
    "revive",
    "store",
]

_LIVE = "r.deleted = 0 AND (r.expires_at IS NULL OR r.expires_at > ?)"
_HEAD = (
    "r.num, r.id, r.ns, r.body, r.version, r.updated_at, r.sequence, r.deleted, r.operation, r.expires_at, r.coordinate"
)
_FIND = f"SELECT {_HEAD} FROM records r WHERE r.id = ?"  # noqa: S608 - constants only
MEMORY = f"SELECT {CURRENT} FROM {FROM_CURRENT} WHERE r.num = ?"  # noqa: S608
_HOLDER = f"""SELECT {_HEAD} FROM {FROM_CURRENT}
    WHERE r.ns = ? AND r.coordinate = ? AND b.coordinate = ? AND {_LIVE}"""  # noqa: S608
_TWINS = f"SELECT {CURRENT}, r.sequence FROM {FROM_CURRENT} WHERE r.digest = ? AND r.ns = ? AND {_LIVE}"  # noqa: S608
_COLUMNS = (
    "id, ns, body, version, updated_at, sequence, deleted, operation, created_at, occurred_at, expires_at, thread, "
    "position, coordinate, author_key, author, digest, importance, length, asks, traits, terms"
)
_ADD = f"INSERT INTO records (num, {_COLUMNS}) VALUES ({', '.join('?' * 23)})"  # noqa: S608
_SET = f"UPDATE records SET ({_COLUMNS}) = ({', '.join('?' * 22)}) WHERE num = ?"  # noqa: S608
_KEEP = """INSERT INTO past (num, version, body, updated_at, sequence, deleted, until, terms)
    SELECT num, version, body, updated_at, sequence, deleted, ?, terms FROM records WHERE num = ?"""
_SHORTEN = "UPDATE past SET until = ? WHERE num = ? AND until > ?"
_TAKEN = "SELECT 1 FROM records WHERE id = ? UNION ALL SELECT 1 FROM erased WHERE id = ?"
_BURY = "UPDATE records SET version = ?, updated_at = ?, sequence = ?, deleted = 1, operation = ? WHERE num = ?"
_RAISE = "UPDATE records SET version = ?, updated_at = ?, sequence = ?, deleted = 0, operation = NULL WHERE num = ?"


class Head(Struct, frozen=True):
    """What is to be known of a stored memory before it is written to."""

    num: int
    id: bytes
    ns: int
    body: int
    version: int
    updated_at: int
    sequence: int
    deleted: int
    operation: str | None
    expires_at: int | None
    coordinate: int | None

    def is_live(self, now: int) -> bool:
        """Tell whether it is neither a tombstone nor expired."""
        return not self.deleted and (self.expires_at is None or self.expires_at > now)


def find(ledger: Ledger, id: str) -> Head | None:
    """Return the stored memory with `id`."""
    blob = blob_or_none(id)
    row = ledger.connection.execute(_FIND, (blob,)).fetchone() if blob is not None else None
    return Head(*row) if row else None


def known(ledger: Ledger, id: str) -> Head:
    """Return the stored memory with `id`, or refuse."""
    return find(ledger, id) or ledger.not_there(id)


def coordinate_key(coordinate: tuple[float, ...] | None) -> int | None:
    """Return the index key of a coordinate."""
    return key_of(encode_json(coordinate)) if coordinate is not None else None


def put(ledger: Ledger, write: Put) -> Applied:
    """Carry out `Put`."""
    memory = write.memory
    ns, now = ledger.namespace(memory.namespace), micros(memory.updated_at)
    if write.dedupe and (twin := _twin(ledger, write, ns, now)) is not None:
        return twin
    holder = _holder(ledger, memory, ns, now)
    if holder is None:
        require_free_id(ledger, memory.id)
        return store(ledger, None, memory, write.analysis, write.digest, "memory.created", "created")
    there = ledger.memory(ledger.connection.execute(MEMORY, (holder.num,)).fetchone())
    if "id" in write.given and memory.id != there.id:
        refuse(Conflict, f"the coordinate is held by memory {there.id}, not by {memory.id}")
    memory = replace(memory, id=there.id, created_at=there.created_at, version=there.version + 1)
    return store(ledger, holder, memory, write.analysis, write.digest, "memory.updated", "versioned")


def replace_memory(ledger: Ledger, write: Replace) -> Applied:
    """Carry out `Replace`."""
    memory = write.memory
    head = known(ledger, memory.id)
    now = micros(memory.updated_at)
    if not write.revive and not head.is_live(now):
        ledger.not_there(memory.id)
    _require_version(head, memory.id, write.expected_version)
    require_free_coordinate(ledger, memory, head.ns, now)
    kind: ChangeType = "memory.restored" if write.outcome == "restored" else "memory.updated"
    return store(ledger, head, memory, write.analysis, write.digest, kind, write.outcome)


def remove(ledger: Ledger, write: Remove) -> Applied:
    """Carry out `Remove`; an expired memory may be removed, that is how it becomes a tombstone."""
    head = known(ledger, write.id)
    if head.deleted:
        ledger.not_there(write.id)
    _require_version(head, write.id, write.expected_version)
    return _turn(ledger, head, "memory.deleted", write.time, write.operation)


def revive(ledger: Ledger, write: Revive) -> Applied:
    """Carry out `Revive`."""
    head = known(ledger, write.id)
    if not head.deleted or head.operation != write.operation:
        refuse(NotFound, f"memory {write.id} is not deleted by operation {write.operation}")
    memory = ledger.memory(ledger.connection.execute(MEMORY, (head.num,)).fetchone())
    require_free_coordinate(ledger, memory, head.ns, micros(write.time))
    return _turn(ledger, head, "memory.restored", write.time, write.operation)


def store(
    ledger: Ledger, head: Head | None, memory: Memory, analysis: Analysis, digest: bytes, kind: ChangeType, outcome: Any
) -> Applied:
    """Store `memory` as a new record or as the next version of `head`."""
    connection, ns, id = ledger.connection, ledger.namespace(memory.namespace), blob_of(memory.id)
    body = connection.execute(BODY, body_of(memory)).lastrowid
    assert body is not None
    # A record takes the number of its first body: bodies are never removed, so no number is ever given twice.
    num = body if head is None else head.num
    sequence = ledger.log(kind, id, num, memory.version, ns, memory.updated_at)
    values = _columns(ledger, memory, analysis, digest, (id, ns, body, sequence))
    if head is None:
        connection.execute(_ADD, (num, *values))
    else:
        keep_version(ledger, head, micros(memory.updated_at))
        connection.execute(_SET, (*values, num))
    ledger.lexicon.add_words(ns, analysis.words)
    return Applied(memory, outcome, sequence)


def keep_version(ledger: Ledger, head: Head, until: int) -> None:
    """Move the newest version to the past; it was the newest until `until`."""
    ledger.connection.execute(_KEEP, (until, head.num))
    if until < head.updated_at:  # a clock went back: no older version may claim an instant that this one has
        ledger.connection.execute(_SHORTEN, (until, head.num, until))


def require_free_id(ledger: Ledger, id: str) -> None:
    """Refuse an id that is in use or was erased."""
    blob = blob_of(id)
    if ledger.connection.execute(_TAKEN, (blob, blob)).fetchone():
        refuse(Conflict, f"id {id} is taken")


def require_free_coordinate(ledger: Ledger, memory: Memory, ns: int, now: int) -> None:
    """Refuse a coordinate that another live memory of the namespace holds."""
    holder = _holder(ledger, memory, ns, now)
    if holder is not None and holder.id != blob_of(memory.id):
        refuse(Conflict, f"the coordinate is held by memory {id_of(holder.id)}")


def _turn(ledger: Ledger, head: Head, kind: ChangeType, time: datetime, operation: str) -> Applied:
    """Give a memory a next version with the same body: a tombstone, or live again."""
    version, now = head.version + 1, micros(time)
    sequence = ledger.log(kind, head.id, head.num, version, head.ns, time)
    keep_version(ledger, head, now)
    if kind == "memory.deleted":
        ledger.connection.execute(_BURY, (version, now, sequence, operation, head.num))
    else:
        ledger.connection.execute(_RAISE, (version, now, sequence, head.num))
    ledger.join(operation, head.id, version, sequence)
    memory = ledger.memory(ledger.connection.execute(MEMORY, (head.num,)).fetchone())
    return Applied(memory, "deleted" if kind == "memory.deleted" else "restored", sequence)


def _require_version(head: Head, id: str, expected: int | None) -> None:
    if expected is not None and head.version != expected:
        stale(id, head.version, expected)


def _holder(ledger: Ledger, memory: Memory, ns: int, now: int) -> Head | None:
    if memory.coordinate is None:
        return None
    text = encode_json(memory.coordinate)
    row = ledger.connection.execute(_HOLDER, (ns, key_of(text), text, now)).fetchone()
    return Head(*row) if row else None


def _twin(ledger: Ledger, write: Put, ns: int, now: int) -> Applied | None:
    """Return a twin, the one with the given id before any other.

    What the index holds of the given fields narrows the search before rows are read.
    """
    memory, given = write.memory, write.given
    tests: dict[str, object] = {}
    if "thread" in given:
        tests["r.thread IS ?"] = _key_or_none(memory.thread)
    if "position" in given:
        tests["r.position IS ?"] = memory.position
    if "occurred_at" in given:
        tests["r.occurred_at = ?"] = micros(memory.occurred_at)
    own = {"r.id = ?": blob_of(memory.id)}
    for narrowed in (own | tests, tests) if "id" in given else (tests,):
        sql = " AND ".join((_TWINS, *narrowed))
        for row in ledger.connection.execute(sql, (_digest(write.digest), ns, now, *narrowed.values())):
            twin = ledger.memory(row)
            if is_twin(memory, given, twin):
                return Applied(twin, "duplicate", row[21])
    return None


def _digest(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big", signed=True)


def _key_or_none(text: str | None) -> int | None:
    return key_of(text) if text is not None else None


def _columns(
    ledger: Ledger, memory: Memory, analysis: Analysis, digest: bytes, place: tuple[bytes, int, int, int]
) -> tuple[object, ...]:
    id, ns, body, sequence = place
    return (
        id,
        ns,
        body,
        memory.version,
        micros(memory.updated_at),
        sequence,
        0,
        None,
        micros(memory.created_at),
        micros(memory.occurred_at),
        micros_or_none(memory.expires_at),
        _key_or_none(memory.thread),
        memory.position,
        coordinate_key(memory.coordinate),
        key_of(analysis.author_key) if analysis.author_key else None,
        _key_or_none(memory.author),
        _digest(digest),
        memory.importance,
        analysis.length,
        analysis.asks,
        analysis.time | analysis.duration << 1,
        ledger.lexicon.pack(analysis.stems),
    )
