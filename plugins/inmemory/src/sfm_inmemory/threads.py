"""Memories next to each other in a thread."""

from __future__ import annotations

from datetime import datetime

from sfm_core.ports.storage import Candidate
from sfm_inmemory.state import Record, State, is_live

__all__ = ["candidate", "neighbours"]

REACH = 2


def neighbours(state: State, record: Record, now: datetime) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the ids of the live memories just before and just after `record` in its thread, nearest first."""
    memory = record.memory
    if memory.thread is None or memory.position is None:
        return (), ()
    near = (state.records[id] for id in state.in_thread[memory.namespace, memory.thread])
    line = sorted(
        (r.memory.position, r.memory.id) for r in near if r.memory.position is not None and is_live(r.newest, now)
    )
    place = line.index((memory.position, memory.id))
    ids = [id for _, id in line]
    return tuple(reversed(ids[max(0, place - REACH) : place])), tuple(ids[place + 1 : place + 1 + REACH])


def candidate(record: Record, before: tuple[str, ...] = (), after: tuple[str, ...] = ()) -> Candidate:
    """Return what ranking needs of `record`."""
    memory, analysis = record.memory, record.analysis
    return Candidate(
        id=memory.id,
        version=memory.version,
        namespace=memory.namespace,
        author=memory.author,
        thread=memory.thread,
        position=memory.position,
        occurred_at=memory.occurred_at,
        importance=memory.importance,
        created_at=memory.created_at,
        length=analysis.length,
        asks=analysis.asks,
        time=analysis.time,
        duration=analysis.duration,
        before=before,
        after=after,
    )
