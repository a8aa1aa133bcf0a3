"""Settings of the in-memory backends."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["InmemoryConfig"]


class InmemoryConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of what is kept in memory.

    Attributes:
        cache_entries: values the cache holds; beyond it the ones that were set longest ago go first.
        events_retained: events the bus holds; beyond it the oldest go, delivered or not.
    """

    cache_entries: int = 10_000
    events_retained: int = 100_000
