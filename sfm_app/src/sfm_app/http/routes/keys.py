"""API keys: making, listing and revoking them."""

from __future__ import annotations

from litestar import delete, get, post
from msgspec import structs

from sfm_app.http.bodies import AnyRequest, convert, header, read_json
from sfm_app.http.models import CreatedKey, KeyBody
from sfm_app.http.queries import NoQuery, Query, read_query
from sfm_app.http.replies import Reply, json_reply
from sfm_app.http.routes.lists import Cursor, Limit
from sfm_app.http.services import TheServices
from sfm_app.http.spec import Answer, Spec, documented
from sfm_app.http.writes import principal_of
from sfm_core.errors import InvalidInput
from sfm_core.services.keys import KeyInfo, KeyPage

__all__ = ["ROUTES"]

_NOT_STORED = (b"cache-control", b"no-store")


class KeysQuery(Query, frozen=True, kw_only=True):
    """Parameters of the list of keys."""

    limit: Limit = 100
    cursor: Cursor = None


@post(
    "/v1/keys",
    status_code=201,
    opt=documented(
        Spec(
            tag="keys",
            summary="Make an API key",
            description="The answer holds the key itself, which is never shown again. Nobody makes a key that may do more "
            "than they may. Takes no `Idempotency-Key`: the answer could not be repeated.",
            body=KeyBody,
            answers={201: Answer(description="Made.", shape=CreatedKey)},
        )
    ),
)
async def create(request: AnyRequest, services: TheServices) -> Reply:
    """Make a key and show it, this once."""
    read_query(request, NoQuery)
    if header(request, b"idempotency-key") is not None:
        raise InvalidInput.of(
            "Idempotency-Key", "a key", "none: an API key is shown once, so the answer cannot be repeated"
        )
    body = convert(await read_json(request, services.limits.body_bytes), KeyBody)
    made = await services.keys.create(
        principal_of(request),
        name=body.name or "",
        namespaces=body.namespaces,
        verbs=body.verbs,
        expires_at=body.expires_at,
    )
    return json_reply({**structs.asdict(made.info), "key": made.key.reveal()}, 201, [_NOT_STORED])


@get(
    "/v1/keys",
    opt=documented(
        Spec(
            tag="keys",
            summary="List API keys",
            description="Those whose every namespace the caller may administer, revoked and expired ones too, oldest first; "
            "never their secrets.",
            query=KeysQuery,
            answers={200: Answer(description="A page.", shape=KeyPage)},
        )
    ),
)
async def list_keys(request: AnyRequest, services: TheServices) -> Reply:
    """Return a page of keys."""
    query = read_query(request, KeysQuery)
    return json_reply(await services.keys.list(principal_of(request), limit=query.limit, cursor=query.cursor))


@delete(
    "/v1/keys/{id:str}",
    status_code=200,
    opt=documented(
        Spec(
            tag="keys",
            summary="Revoke an API key",
            description="For ever: at once in the process that answers, within 5 seconds in every other.",
            answers={200: Answer(description="Revoked, now or before.", shape=KeyInfo)},
            problems=(404,),
        )
    ),
)
async def revoke(request: AnyRequest, services: TheServices) -> Reply:
    """Revoke a key."""
    read_query(request, NoQuery)
    return json_reply(await services.keys.revoke(principal_of(request), request.path_params["id"]))


ROUTES = (create, list_keys, revoke)
