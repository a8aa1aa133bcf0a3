"""Memories next to each other in a thread."""

from __future__ import annotations

from datetime import datetime

from sfm_inmemory.state import Record, State, is_live

__all__ = ["neighbours"]

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
