"""The past of a memory: its versions, and bringing one back."""

from __future__ import annotations

from litestar import get, post

from sfm_app.http.bodies import AnyRequest, convert, read_json
from sfm_app.http.models import MemoryList, RestoreBody
from sfm_app.http.queries import Query, read_query
from sfm_app.http.replies import Reply, etag_of, json_reply
from sfm_app.http.routes.lists import Cursor, Limit
from sfm_app.http.services import TheServices
from sfm_app.http.spec import Answer, Spec, documented
from sfm_app.http.writes import WaitQuery, expected_version, idempotency_key, principal_of
from sfm_core.model.memory import Receipt

__all__ = ["ROUTES"]


class HistoryQuery(Query, frozen=True, kw_only=True):
    """Parameters of a history."""

    limit: Limit = 100
    cursor: Cursor = None


@get(
    "/v1/memories/{id:str}/history",
    opt=documented(
        Spec(
            tag="history",
            summary="Read the versions of a memory",
            description="Newest first. A deleted memory still has its history, an erased one has none.",
            query=HistoryQuery,
            answers={200: Answer(description="A page.", shape=MemoryList)},
            problems=(404,),
        )
    ),
)
async def history(request: AnyRequest, services: TheServices) -> Reply:
    """Return a page of versions."""
    query = read_query(request, HistoryQuery)
    page = await services.history.history(
        principal_of(request), request.path_params["id"], limit=query.limit, cursor=query.cursor
    )
    return json_reply(page)


@post(
    "/v1/memories/{id:str}/restore",
    status_code=200,
    opt=documented(
        Spec(
            tag="history",
            summary="Bring an old version back",
            description="Its content becomes the newest version; a deleted memory lives again.",
            query=WaitQuery,
            body=RestoreBody,
            headers=("If-Match",),
            answers={200: Answer(description="Restored as a new version.", shape=Receipt, headers=("ETag",))},
            problems=(404, 409, 412),
            write=True,
        )
    ),
)
async def restore(request: AnyRequest, services: TheServices) -> Reply:
    """Make an old version the newest."""
    query = read_query(request, WaitQuery)
    body = convert(await read_json(request, services.limits.body_bytes), RestoreBody)
    receipt = await services.history.restore(
        principal_of(request),
        request.path_params["id"],
        body.version,
        expected_version=expected_version(request),
        wait=query.wait is not None,
        key=idempotency_key(request, body),
    )
    return json_reply(receipt, 200, [etag_of(receipt.memory.version)])


ROUTES = (history, restore)
