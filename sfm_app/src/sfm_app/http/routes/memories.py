"""Single memories: remember, read, change, delete."""

from __future__ import annotations

from typing import Annotated, Literal

from litestar import delete, get, patch, post
from msgspec import Meta

from sfm_app.http.bodies import AnyRequest, read_json
from sfm_app.http.queries import Query, read_query
from sfm_app.http.replies import Reply, etag_of, json_reply, not_modified
from sfm_app.http.services import TheServices
from sfm_app.http.spec import Answer, Spec, documented
from sfm_app.http.writes import WaitQuery, expected_version, idempotency_key, matches, principal_of
from sfm_core.model.memory import Memory, NewMemory, Receipt

__all__ = ["ROUTES"]

_PATCH_TYPES = ("application/merge-patch+json", "application/json")
_DEDUPED = ("duplicate", "unchanged")


class RememberQuery(WaitQuery, frozen=True, kw_only=True):
    """Parameters of remembering."""

    dedupe: Annotated[
        Literal["on", "off"], Meta(description="off stores a memory again that equals a live one of its namespace.")
    ] = "on"


class GetQuery(Query, frozen=True, kw_only=True):
    """Parameters of reading one memory."""

    as_of: Annotated[str | None, Meta(description="ISO 8601 time: the version that was stored then.")] = None


class DeleteQuery(WaitQuery, frozen=True, kw_only=True):
    """Parameters of deleting."""

    erase: Annotated[bool, Meta(description="Remove content and history from every store instead; no undo.")] = False


@post(
    "/v1/memories",
    opt=documented(
        Spec(
            tag="memories",
            summary="Remember one memory",
            description="Storing at an occupied coordinate makes a new version of the memory there (`versioned`).",
            query=RememberQuery,
            body=NewMemory,
            answers={
                201: Answer(description="Stored.", shape=Receipt, headers=("ETag", "Location")),
                200: Answer(
                    description="Folded into a live memory that equals it.", shape=Receipt, headers=("ETag", "Location")
                ),
            },
            problems=(409,),
            write=True,
        )
    ),
)
async def remember(request: AnyRequest, services: TheServices) -> Reply:
    """Store the memory in the body."""
    query = read_query(request, RememberQuery)
    item = await read_json(request, services.limits.body_bytes)
    receipt = await services.remember.remember(
        principal_of(request),
        item,
        dedupe=query.dedupe == "on",
        wait=query.wait is not None,
        key=idempotency_key(request, [item, query.dedupe]),
    )
    location = (b"location", f"/v1/memories/{receipt.memory.id}".encode())
    status = 200 if receipt.outcome in _DEDUPED else 201
    return json_reply(receipt, status, [etag_of(receipt.memory.version), location])


@get(
    "/v1/memories/{id:str}",
    opt=documented(
        Spec(
            tag="memories",
            summary="Read one memory",
            query=GetQuery,
            headers=("If-None-Match",),
            answers={
                200: Answer(description="The memory.", shape=Memory, headers=("ETag",)),
                304: Answer(description="The version that If-None-Match names is the stored one.", media=()),
            },
            problems=(404,),
        )
    ),
)
async def read(request: AnyRequest, services: TheServices) -> Reply:
    """Return one memory, now or as it was."""
    query = read_query(request, GetQuery)
    memory = await services.history.get(principal_of(request), request.path_params["id"], as_of=query.as_of)
    if matches(request, memory):
        return not_modified(memory.version)
    return json_reply(memory, 200, [etag_of(memory.version)])


@patch(
    "/v1/memories/{id:str}",
    opt=documented(
        Spec(
            tag="memories",
            summary="Change a memory",
            description="A JSON merge patch (RFC 7396): null clears an optional field. `id` and `namespace` cannot change.",
            query=WaitQuery,
            body=NewMemory,
            body_media=_PATCH_TYPES,
            headers=("If-Match",),
            answers={200: Answer(description="A new version, or `unchanged`.", shape=Receipt, headers=("ETag",))},
            problems=(404, 409, 412),
            write=True,
        )
    ),
)
async def change(request: AnyRequest, services: TheServices) -> Reply:
    """Apply a merge patch."""
    query = read_query(request, WaitQuery)
    changes = await read_json(request, services.limits.body_bytes, _PATCH_TYPES)
    receipt = await services.remember.update(
        principal_of(request),
        request.path_params["id"],
        changes,
        expected_version=expected_version(request),
        wait=query.wait is not None,
        key=idempotency_key(request, changes),
    )
    return json_reply(receipt, 200, [etag_of(receipt.memory.version)])


@delete(
    "/v1/memories/{id:str}",
    status_code=200,
    opt=documented(
        Spec(
            tag="memories",
            summary="Delete or erase a memory",
            description="A deleted memory is hidden at once and can be brought back by undoing its `operation`.",
            query=DeleteQuery,
            headers=("If-Match",),
            answers={200: Answer(description="Hidden, or erased from every store.", shape=Receipt)},
            problems=(404, 409, 412),
            write=True,
        )
    ),
)
async def remove(request: AnyRequest, services: TheServices) -> Reply:
    """Hide a memory, or erase it."""
    query = read_query(request, DeleteQuery)
    receipt = await services.forget.delete(
        principal_of(request),
        request.path_params["id"],
        erase=query.erase,
        expected_version=expected_version(request),
        wait=query.wait is not None,
        key=idempotency_key(request, query.erase),
    )
    return json_reply(receipt)


ROUTES = (remember, read, change, remove)
