"""Many memories: batches, lists, coordinates."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from msgspec import UNSET, Meta

from sfm_app.http.bodies import AnyRequest, convert, read_json
from sfm_app.http.models import BatchAnswer, BatchBody, BatchItem, MemoryList
from sfm_app.http.problems import details_of
from sfm_app.http.queries import Query, json_value, numbers, read_query
from sfm_app.http.replies import Reply, json_reply
from sfm_app.http.routes.memories import RememberQuery
from sfm_app.http.services import TheServices
from sfm_app.http.spec import Answer, Spec, documented
from sfm_app.http.writes import idempotency_key, principal_of
from sfm_core.services.replies import ItemResult

__all__ = ["ROUTES"]

Namespace = Annotated[str | None, Meta(description='A namespace, or a subtree as "a/**"; "default" when absent.')]
Limit = Annotated[int, Meta(description="Most items of a page.", extra_json_schema={"minimum": 1, "maximum": 1000})]
Cursor = Annotated[str | None, Meta(description="The `next` of the page before.")]


class ListQuery(Query, frozen=True, kw_only=True):
    """Parameters of a list."""

    namespace: Namespace = None
    kind: Annotated[str | None, Meta(description="Only this kind.")] = None
    author: Annotated[str | None, Meta(description="Only this author.")] = None
    thread: Annotated[str | None, Meta(description="Only this thread.")] = None
    tag: Annotated[str | None, Meta(description="Only memories with this tag.")] = None
    filter: Annotated[str | None, Meta(description="A filter, as JSON.")] = None
    order: Annotated[
        str,
        Meta(description='created_at, occurred_at, importance or position; "-" in front turns it round.'),
    ] = "-created_at"
    limit: Limit = 100
    cursor: Cursor = None
    as_of: Annotated[str | None, Meta(description="ISO 8601 time: the versions that were stored then.")] = None


class CoordinateQuery(Query, frozen=True, kw_only=True):
    """Parameters of reading by coordinate: `coordinate`, or `min` and `max`."""

    namespace: Annotated[str | None, Meta(description='A namespace; "default" when absent.')] = None
    coordinate: Annotated[str | None, Meta(description="Numbers with commas between.", examples=["1,2,3"])] = None
    min: Annotated[str | None, Meta(description="The low corner of an inclusive box.")] = None
    max: Annotated[str | None, Meta(description="The high corner, of the same dimension.")] = None
    limit: Limit = 100


@post(
    "/v1/memories/batch",
    status_code=200,
    opt=documented(
        Spec(
            tag="memories",
            summary="Remember many memories",
            description="One transaction. A refused memory has its problem in its result; with `atomic` it refuses all.",
            query=RememberQuery,
            body=BatchBody,
            answers={200: Answer(description="One result per memory, in order.", shape=BatchAnswer)},
            problems=(409,),
            write=True,
        )
    ),
)
async def remember_many(request: AnyRequest, services: TheServices) -> Reply:
    """Store the memories in the body."""
    query = read_query(request, RememberQuery)
    body = convert(await read_json(request, services.limits.body_bytes), BatchBody)
    receipt = await services.remember.remember_many(
        principal_of(request),
        body.memories,
        atomic=body.atomic,
        dedupe=query.dedupe == "on",
        wait=query.wait is not None,
        key=idempotency_key(request, [body, query.dedupe]),
    )
    return json_reply(BatchAnswer(results=tuple(map(_item, receipt.results)), sequence=receipt.sequence))


def _item(result: ItemResult) -> BatchItem:
    if result.error is not None:
        problem = details_of(result.error)
        return BatchItem(status=problem.status, problem=problem)
    return BatchItem(
        status=200 if result.outcome == "duplicate" else 201,
        memory=UNSET if result.memory is None else result.memory,
        outcome=UNSET if result.outcome is None else result.outcome,
        sequence=UNSET if result.sequence is None else result.sequence,
    )


@get(
    "/v1/memories",
    opt=documented(
        Spec(
            tag="memories",
            summary="List memories",
            query=ListQuery,
            answers={200: Answer(description="A page.", shape=MemoryList)},
        )
    ),
)
async def list_memories(request: AnyRequest, services: TheServices) -> Reply:
    """Return a page of live memories."""
    query = read_query(request, ListQuery)
    page = await services.history.list(
        principal_of(request),
        namespace=query.namespace,
        kind=query.kind,
        author=query.author,
        thread=query.thread,
        tag=query.tag,
        filter=json_value(query.filter, "filter"),
        order=query.order,
        limit=query.limit,
        cursor=query.cursor,
        as_of=query.as_of,
    )
    return json_reply(page)


@get(
    "/v1/memories/by-coordinate",
    opt=documented(
        Spec(
            tag="memories",
            summary="Read by coordinate",
            description="The memory at `coordinate`, or those in the inclusive box from `min` to `max`.",
            query=CoordinateQuery,
            answers={200: Answer(description="The memories there; none is no error.", shape=MemoryList)},
        )
    ),
)
async def by_coordinate(request: AnyRequest, services: TheServices) -> Reply:
    """Return the memories at a coordinate or in a box."""
    query = read_query(request, CoordinateQuery)
    found = await services.history.at_coordinate(
        principal_of(request),
        namespace=query.namespace,
        coordinate=numbers(query.coordinate, "coordinate"),
        low=numbers(query.min, "min"),
        high=numbers(query.max, "max"),
        limit=query.limit,
    )
    return json_reply(MemoryList(items=found))


ROUTES = (remember_many, list_memories, by_coordinate)
