"""Memory ids: version 7 UUIDs (RFC 9562, section 5.7) as canonical text, rising within one process."""

from __future__ import annotations

import os
import re
import threading
import time
import uuid

from sfm_core.errors import InvalidInput

__all__ = ["check_id", "new_id"]

_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ALLOWED = "a UUID"
_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """Return a new id: 48 bits of milliseconds, 12 bits of the fraction of it (method 3 of RFC 9562, 6.2), 62 random bits."""
    global _last
    nanoseconds = time.time_ns()
    ticks = (nanoseconds // 1_000_000 << 12) | ((nanoseconds % 1_000_000 << 12) // 1_000_000)
    with _lock:
        _last = ticks = max(ticks, _last + 1)
    tail = int.from_bytes(os.urandom(8)) & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
    head = f"{ticks >> 12:012x}7{ticks & 0xFFF:03x}"
    return f"{head[:8]}-{head[8:12]}-{head[12:]}-{tail >> 48:04x}-{tail & 0xFFFF_FFFF_FFFF:012x}"


def check_id(value: object, field: str = "id") -> str:
    """Return the canonical text of a UUID given as text or `uuid.UUID`.

    Raises:
        InvalidInput: naming `field`.
    """
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, str):
        text = value.lower()
        if _CANONICAL.fullmatch(text):
            return text
    raise InvalidInput.of(field, value, _ALLOWED)
