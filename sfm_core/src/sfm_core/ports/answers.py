"""What a storage keeps with an idempotency key: thin, so that an erased memory does not live on in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from sfm_core.ports.storage import Result
from sfm_core.ports.writes import Applied, AppliedLink, Idempotency, Operation

__all__ = ["answer_of"]


def answer_of(idempotency: Idempotency, results: Sequence[Result]) -> bytes:
    """Return the JSON that `Storage.apply` keeps with a key and `Storage.answered` returns, in the form stated there."""
    return msgspec.json.encode({"results": [_thin(result) for result in results], "note": idempotency.note})


def _thin(result: Result) -> dict[str, Any]:
    if isinstance(result, Applied):
        memory = result.memory
        return {"id": memory.id, "version": memory.version, "outcome": result.outcome, "sequence": result.sequence}
    if isinstance(result, AppliedLink):
        link = [result.link.source, result.link.target, result.link.relation]
        return {"link": link, "outcome": result.outcome, "sequence": result.sequence}
    if isinstance(result, Operation):
        return {"operation": result.id}
    return {"error": type(result).__name__, "detail": str(result)}
