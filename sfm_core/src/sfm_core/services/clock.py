"""The clock that services read, so that tests can set it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

__all__ = ["Clock", "now"]

Clock = Callable[[], datetime]


def now() -> datetime:
    """Return the current instant, aware, in UTC, with microseconds."""
    return datetime.now(UTC)
