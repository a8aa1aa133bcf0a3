"""What is kept with idempotency keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from sfm_core.errors import IdempotencyMismatch
from sfm_core.ports.storage import Result
from sfm_core.ports.writes import Applied, AppliedLink, Idempotency, Operation, Replayed
from sfm_postgres.adapt import decode_json, encode_json
from sfm_postgres.view import WHERE

__all__ = ["replay", "settled"]

Kept = tuple[bytes, bytes, int, datetime]
"""Request, answer, base of its sequences, end of life."""


def replay(kept: Kept | None, asked: Idempotency) -> Replayed | None:
    """Return the answer that is kept for `asked`, None when there is none or its life is over.

    Raises:
        IdempotencyMismatch: it is kept for another request.
    """
    if kept is None or kept[3] <= asked.now:
        return None
    request, answer, base, _ = kept
    if bytes(request) != asked.request:
        raise IdempotencyMismatch(f"{WHERE}: the idempotency key was used for another request")
    told = decode_json(answer)
    for line in told["results"]:
        if line.get("sequence", 0) < 0:
            line["sequence"] = base - line["sequence"]
    return Replayed(encode_json(told))


def settled(results: Sequence[Result], base: int) -> list[Result]:
    """Return `results` with their real sequences: `base` is the last one before this transaction's."""
    return [
        replace(result, sequence=base - result.sequence)
        if isinstance(result, Applied | AppliedLink | Operation) and result.sequence < 0
        else result
        for result in results
    ]
