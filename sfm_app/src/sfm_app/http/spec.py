"""What a route says about itself: the generated OpenAPI document is made of these, one per route."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from sfm_app.http.queries import NoQuery, Query

__all__ = ["JSON", "Answer", "Spec", "documented"]

JSON = "application/json"


class Answer(Struct, frozen=True, kw_only=True):
    """One status of a route: the type of its body (None for a text or an empty one), its media type and its meaning."""

    description: str
    shape: Any = None
    media: tuple[str, ...] = (JSON,)
    headers: tuple[str, ...] = ()


class Spec(Struct, frozen=True, kw_only=True):
    """One route.

    Attributes:
        tag, summary, description: as in OpenAPI.
        answers: what it answers when all goes well, by status.
        query: its parameters.
        body: the type of its body, None for none.
        body_media: the media types it takes.
        headers: names of the request headers it reads, documented in `sfm_app.http.openapi`.
        problems: statuses of refusals besides those that every route has.
        write: whether it takes an `Idempotency-Key`.
    """

    tag: str
    summary: str
    answers: Mapping[int, Answer]
    description: str = ""
    query: type[Query] = NoQuery
    body: Any = None
    body_media: tuple[str, ...] = (JSON,)
    headers: tuple[str, ...] = ()
    problems: tuple[int, ...] = ()
    write: bool = False
    path: Mapping[str, str] = field(default_factory=dict)


def documented(spec: Spec) -> dict[str, Any]:
    """Return the `opt` of a Litestar route that carries `spec`."""
    return {"spec": spec}
