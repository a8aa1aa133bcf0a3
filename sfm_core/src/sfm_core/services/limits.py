"""The limits on what callers may give, with their defaults; settings may change them."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Limits"]


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes in bytes of UTF-8, counts in items, times in seconds."""

    body_bytes: int = 16 * 2**20
    content_bytes: int = 2**20
    payload_bytes: int = 256 * 2**10
    payload_depth: int = 64
    text_length: int = 256
    tags: int = 64
    coordinate: int = 64
    batch: int = 1000
    recall_batch: int = 100
    k: int = 1000
    page: int = 1000
    filter_depth: int = 32
    filter_tests: int = 256
    query_bytes: int = 64 * 2**10
    candidates: int = 100
    wait_seconds: float = 10.0
    undo_days: float = 7.0
    idempotency_hours: float = 24.0
