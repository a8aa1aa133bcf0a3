"""Links between memories, neighbours, cheapest paths."""

from __future__ import annotations

from typing import Annotated

from litestar import delete, get, post
from msgspec import Meta, Struct

from sfm_app.http.bodies import AnyRequest, convert, read_json
from sfm_app.http.models import LinkBody, PathBody
from sfm_app.http.queries import NoQuery, Query, read_query
from sfm_app.http.replies import Reply, json_reply
from sfm_app.http.routes.lists import Cursor, Limit
from sfm_app.http.services import TheServices
from sfm_app.http.spec import Answer, Spec, documented
from sfm_app.http.writes import WaitQuery, idempotency_key, principal_of, wait_for
from sfm_core.model.link import LinkReceipt, Neighbor, Path

__all__ = ["ROUTES"]

_RELATED = "related"


class UnlinkQuery(WaitQuery, frozen=True, kw_only=True):
    """Parameters of removing a link."""

    source: Annotated[str, Meta(description="The id the link leads from.")]
    target: Annotated[str, Meta(description="The id the link leads to.")]
    relation: Annotated[str, Meta(description="Its relation.")] = _RELATED


class NeighborsQuery(Query, frozen=True, kw_only=True):
    """Parameters of neighbours."""

    relation: Annotated[str | None, Meta(description="Only links of this relation.")] = None
    direction: Annotated[str, Meta(description="out, in or both.")] = "both"
    depth: Annotated[int, Meta(description="Most links to follow.", extra_json_schema={"minimum": 1, "maximum": 5})] = 1
    limit: Limit = 100
    cursor: Cursor = None


class NeighborList(Struct, frozen=True, kw_only=True):
    """A page of neighbours, nearest first."""

    items: tuple[Neighbor, ...]
    next: str | None = None


@post(
    "/v1/links",
    opt=documented(
        Spec(
            tag="links",
            summary="Link two memories",
            description="Both live in one namespace. A link is unique per source, target and relation.",
            query=WaitQuery,
            body=LinkBody,
            answers={
                201: Answer(description="Created.", shape=LinkReceipt),
                200: Answer(description="Updated, or unchanged.", shape=LinkReceipt),
            },
            problems=(404, 409),
            write=True,
        )
    ),
)
async def link(request: AnyRequest, services: TheServices) -> Reply:
    """Create or update a link."""
    query = read_query(request, WaitQuery)
    body = convert(await read_json(request, services.limits.body_bytes), LinkBody)
    receipt = await services.links.link(
        principal_of(request),
        body.source,
        body.target,
        relation=_RELATED if body.relation is None else body.relation,
        weight=1.0 if body.weight is None else body.weight,
        metadata=body.metadata,
        key=idempotency_key(request, body),
    )
    await wait_for(query, services, receipt.sequence)
    return json_reply(receipt, 201 if receipt.outcome == "created" else 200)


@delete(
    "/v1/links",
    status_code=200,
    opt=documented(
        Spec(
            tag="links",
            summary="Remove a link",
            query=UnlinkQuery,
            answers={200: Answer(description="Removed.", shape=LinkReceipt)},
            problems=(404, 409),
            write=True,
        )
    ),
)
async def unlink(request: AnyRequest, services: TheServices) -> Reply:
    """Remove one link."""
    query = read_query(request, UnlinkQuery)
    receipt = await services.links.unlink(
        principal_of(request),
        query.source,
        query.target,
        relation=query.relation,
        key=idempotency_key(request, [query.source, query.target, query.relation]),
    )
    await wait_for(query, services, receipt.sequence)
    return json_reply(receipt)


@get(
    "/v1/memories/{id:str}/neighbors",
    opt=documented(
        Spec(
            tag="links",
            summary="Read the neighbours of a memory",
            query=NeighborsQuery,
            answers={200: Answer(description="A page, nearest first.", shape=NeighborList)},
            problems=(404,),
        )
    ),
)
async def neighbors(request: AnyRequest, services: TheServices) -> Reply:
    """Return memories within some links."""
    query = read_query(request, NeighborsQuery)
    page = await services.links.neighbors(
        principal_of(request),
        request.path_params["id"],
        relation=query.relation,
        direction=query.direction,
        depth=query.depth,
        limit=query.limit,
        cursor=query.cursor,
    )
    return json_reply(page)


@post(
    "/v1/paths",
    status_code=200,
    opt=documented(
        Spec(
            tag="links",
            summary="Find the cheapest path",
            description="Along the links' direction, by the sum of their weights.",
            body=PathBody,
            answers={200: Answer(description="The path.", shape=Path)},
            problems=(404,),
        )
    ),
)
async def path(request: AnyRequest, services: TheServices) -> Reply:
    """Return the cheapest path between two memories."""
    read_query(request, NoQuery)
    body = convert(await read_json(request, services.limits.body_bytes), PathBody)
    found = await services.links.path(principal_of(request), body.source, body.target, relation=body.relation)
    return json_reply(found)


ROUTES = (link, unlink, neighbors, path)
