"""What write routes have in common: who writes, the idempotency key, the condition on the version, the wait."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sfm_app.http.bodies import AnyRequest, header
from sfm_app.http.queries import Query
from sfm_core.errors import InvalidInput, StaleVersion
from sfm_core.model.memory import Memory
from sfm_core.services.idempotency import IdempotencyKey
from sfm_core.services.principal import Principal
from sfm_core.services.wiring import Services

__all__ = ["WaitQuery", "expected_version", "idempotency_key", "matches", "principal_of", "wait_for"]

_KEY = re.compile(r"[!-~]{1,255}")
_ENCODER = msgspec.json.Encoder(order="sorted")
_ANY = "*"


class WaitQuery(Query, frozen=True, kw_only=True):
    """The parameter of every write route."""

    wait: Annotated[
        Literal["indexed"] | None, Meta(description="Wait, bounded, until the projections hold the write.")
    ] = None


async def wait_for(query: WaitQuery, services: Services, sequence: int) -> None:
    """Wait, bounded, until the projections hold `sequence` when the caller asked for it.

    For the writes whose service does not wait itself.
    """
    if query.wait is not None:
        await services.projector.reached(sequence, services.limits.wait_seconds)


def principal_of(request: AnyRequest) -> Principal:
    """Return who asks, as the gate let them in."""
    principal: Principal = request.scope["state"]["principal"]
    return principal


def idempotency_key(request: AnyRequest, meaning: object) -> IdempotencyKey | None:
    """Return the idempotency key of a write, or None when the caller gave none.

    Args:
        request: the request.
        meaning: what the write does besides the path: decoded body and parameters. The order of members plays no part.

    Raises:
        InvalidInput: the key is not 1 to 255 visible ASCII characters.
    """
    key = header(request, b"idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise InvalidInput.of("Idempotency-Key", key, "1 to 255 visible ASCII characters")
    scope: Any = request.scope
    digest = blake2b(_ENCODER.encode([scope["path"], meaning]), digest_size=32).digest()
    return IdempotencyKey(f"{principal_of(request).name} {scope['method']} {scope['path_template']}", key, digest)


def _tags(header: str) -> list[str]:
    return [tag.strip() for tag in header.split(",") if tag.strip()]


def expected_version(request: AnyRequest) -> int | None:
    """Return the version that `If-Match` asks for, or None when it asks for none or for any (`*`).

    Raises:
        StaleVersion: the tag is of no version of a memory, so none can match.
        InvalidInput: several tags.
    """
    given = header(request, b"if-match")
    if given is None or given.strip() == _ANY:
        return None
    tags = _tags(given)
    if len(tags) != 1:
        raise InvalidInput.of("If-Match", given, "one entity tag, or *")
    digits = tags[0].strip('"')
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 18:
        raise StaleVersion("If-Match names no version of a memory", current=0)
    return int(digits)


def matches(request: AnyRequest, memory: Memory) -> bool:
    """Tell whether `If-None-Match` names the version of `memory` (weak comparison, RFC 9110), so that 304 is the answer."""
    given = header(request, b"if-none-match")
    if given is None:
        return False
    return given.strip() == _ANY or f'"{memory.version}"' in [tag.removeprefix("W/") for tag in _tags(given)]
