"""Archives: streamed out, streamed in."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from msgspec import Meta

from sfm_app.http.bodies import AnyRequest, require_media_type, stream
from sfm_app.http.queries import Query, read_query
from sfm_app.http.replies import Reply, StreamReply, json_reply
from sfm_app.http.services import TheServices
from sfm_app.http.spec import Answer, Spec, documented
from sfm_app.http.writes import WaitQuery, idempotency_key, principal_of, wait_for
from sfm_core.services.transfer import ImportReport

__all__ = ["ROUTES"]

NDJSON = "application/x-ndjson"
_TYPES = (NDJSON, "application/ndjson", "application/jsonl")


class ExportQuery(Query, frozen=True, kw_only=True):
    """Parameters of an export."""

    namespace: Annotated[
        str | None, Meta(description='A namespace, or a subtree as "a/**"; all that may be read when absent.')
    ] = None


@get(
    "/v1/export",
    opt=documented(
        Spec(
            tag="transfer",
            summary="Export an archive",
            description="NDJSON: a manifest, memories with history and tombstones, links, a checksum. Streamed.",
            query=ExportQuery,
            answers={200: Answer(description="The archive.", media=(NDJSON,))},
        )
    ),
)
async def export(request: AnyRequest, services: TheServices) -> StreamReply:
    """Stream an archive."""
    query = read_query(request, ExportQuery)
    parts = services.transfer.export(principal_of(request), namespace=query.namespace)
    disposition = (b"content-disposition", b'attachment; filename="memories.ndjson"')
    return StreamReply(parts, NDJSON.encode(), [disposition])


@post(
    "/v1/import",
    status_code=200,
    opt=documented(
        Spec(
            tag="transfer",
            summary="Import an archive",
            description="A bad line or checksum stores nothing; a second import adds nothing; there is no limit of size.",
            query=WaitQuery,
            body=str,
            body_media=_TYPES,
            answers={200: Answer(description="What was new, and what was there already.", shape=ImportReport)},
            problems=(409,),
            write=True,
        )
    ),
)
async def import_(request: AnyRequest, services: TheServices) -> Reply:
    """Store the archive in the body."""
    query = read_query(request, WaitQuery)
    require_media_type(request, _TYPES)
    key = idempotency_key(request, None)
    report = await services.transfer.import_(principal_of(request), stream(request), key=key)
    await wait_for(query, services, report.sequence)
    return json_reply(report)


ROUTES = (export, import_)
