"""The change log: pages of CloudEvents, or a stream of server-sent events."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from litestar import get
from msgspec import Meta

from sfm_app.http.bodies import AnyRequest, header
from sfm_app.http.queries import Query, read_query
from sfm_app.http.replies import Answering, json_reply
from sfm_app.http.routes.lists import Limit
from sfm_app.http.services import TheServices
from sfm_app.http.spec import JSON, Answer, Spec, documented
from sfm_app.http.sse import EventStream
from sfm_app.http.writes import principal_of
from sfm_core.errors import InvalidInput
from sfm_core.model.event import ChangePage
from sfm_core.services.principal import EVERYTHING

__all__ = ["ROUTES"]

EVENT_STREAM = "text/event-stream"


class ChangesQuery(Query, frozen=True, kw_only=True):
    """Parameters of the change log."""

    namespace: Annotated[
        str | None, Meta(description='A namespace, or a subtree as "a/**"; all that may be read when absent.')
    ] = None
    after: Annotated[int, Meta(description="Only changes above this sequence.", extra_json_schema={"minimum": 0})] = 0
    limit: Limit = 100


@get(
    "/v1/changes",
    opt=documented(
        Spec(
            tag="changes",
            summary="Read or follow the change log",
            description=(
                "CloudEvents in order of `sequence`, never with content. With `Accept: text/event-stream` an endless "
                "stream of them, which resumes behind `Last-Event-ID`."
            ),
            query=ChangesQuery,
            headers=("Accept", "Last-Event-ID"),
            answers={200: Answer(description="A page, or the stream.", shape=ChangePage, media=(JSON, EVENT_STREAM))},
        )
    ),
)
async def changes(request: AnyRequest, services: TheServices) -> Answering:
    """Return a page of changes, or stream them."""
    query = read_query(request, ChangesQuery)
    principal = principal_of(request)
    if EVENT_STREAM not in (header(request, b"accept") or ""):
        page = await services.changes.page(principal, namespace=query.namespace, after=query.after, limit=query.limit)
        return json_reply(page)
    after = _last_event_id(request, query.after)
    # A stream cannot be refused once it has begun: a page of one proves that it may be read.
    await services.changes.page(principal, namespace=query.namespace, after=after, limit=1)
    state = request.app.state
    events = services.changes.follow(principal, namespace=query.namespace, after=after)
    # A key that is revoked or expires ends what was opened with it.
    until = None if principal is EVERYTHING else partial(services.authentication.ended, principal)
    return EventStream(events, state.stopping, heartbeat=state.heartbeat, until=until)


def _last_event_id(request: AnyRequest, after: int) -> int:
    given = header(request, b"last-event-id")
    if given is None:
        return after
    if not given.isascii() or not given.isdecimal() or len(given) > 18:
        raise InvalidInput.of("Last-Event-ID", given, "the id of an event of this stream")
    return int(given)


ROUTES = (changes,)
