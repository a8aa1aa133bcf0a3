"""Idempotency keys: a write route repeated with the same key answers as the first time and writes nothing."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import msgspec

from sfm_core.errors import InvalidInput
from sfm_core.ports.writes import Idempotency
from sfm_core.services.limits import Limits

__all__ = ["IdempotencyKey", "Replay", "ReplayedResult"]

_LONGEST = 255
_VISIBLE = re.compile(rf"[!-~]{{1,{_LONGEST}}}")


class IdempotencyKey(msgspec.Struct, frozen=True):
    """A key as a caller gave it.

    Attributes:
        scope: credential and route; the same key elsewhere is another key.
        key: 1 to 255 visible ASCII characters.
        request: a digest of the request; the same key with another digest is refused.
    """

    scope: str
    key: str
    request: bytes

    def claim(self, now: datetime, limits: Limits, note: dict[str, Any] | None = None) -> Idempotency:
        """Return the port's form of this key.

        Raises:
            InvalidInput: the key is empty, too long or not visible ASCII.
        """
        if not _VISIBLE.fullmatch(self.key):
            raise InvalidInput.of("Idempotency-Key", self.key, f"1 to {_LONGEST} visible ASCII characters")
        expires = now + timedelta(hours=limits.idempotency_hours)
        return Idempotency(
            scope=self.scope, key=self.key, request=self.request, now=now, expires_at=expires, note=note or {}
        )


class ReplayedResult(msgspec.Struct, frozen=True, kw_only=True):
    """One write of an answered request: ids, versions, outcomes and numbers only."""

    id: str | None = None
    version: int | None = None
    outcome: str | None = None
    sequence: int = 0
    operation: str | None = None
    link: tuple[str, str, str] | None = None
    error: str | None = None
    detail: str | None = None


class Replay(msgspec.Struct, frozen=True):
    """What was kept with an answered key. A note `unchanged` stands for a result that needed no write."""

    results: tuple[ReplayedResult, ...]
    note: dict[str, Any] = msgspec.field(default_factory=dict)

    @classmethod
    def read(cls, answer: bytes) -> Replay:
        """Decode what a storage kept."""
        replay = msgspec.json.decode(answer, type=cls)
        if "unchanged" not in replay.note:
            return replay
        id, version, sequence = replay.note["unchanged"]
        return cls((ReplayedResult(id=id, version=version, outcome="unchanged", sequence=sequence),), replay.note)

    @property
    def operation(self) -> str | None:
        """The operation that the request started."""
        return next((result.operation for result in self.results if result.operation), None)
