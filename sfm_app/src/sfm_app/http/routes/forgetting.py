"""Forgetting by filter, policy or namespace; operations and their undo."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from litestar import delete, get, post

from sfm_app.http.bodies import AnyRequest, convert, read_json
from sfm_app.http.models import ForgetBody
from sfm_app.http.problems import HttpRefusal
from sfm_app.http.queries import NoQuery, read_query
from sfm_app.http.replies import Reply, json_reply
from sfm_app.http.routes.memories import DeleteQuery
from sfm_app.http.services import TheServices
from sfm_app.http.spec import Answer, Spec, documented
from sfm_app.http.writes import WaitQuery, idempotency_key, principal_of, wait_for
from sfm_core.services.forget import ForgetReport, OperationState

__all__ = ["ROUTES"]

_NAMESPACES = "/v1/namespaces/"


@post(
    "/v1/forget",
    status_code=200,
    opt=documented(
        Spec(
            tag="forgetting",
            summary="Forget by filter or policy",
            description="Tells what would go; with `dry_run: false` it goes, under one operation that can be undone.",
            query=WaitQuery,
            body=ForgetBody,
            answers={200: Answer(description="What would go, or went.", shape=ForgetReport)},
            problems=(409,),
            write=True,
        )
    ),
)
async def forget(request: AnyRequest, services: TheServices) -> Reply:
    """Forget what passes a filter or is picked by a policy."""
    query = read_query(request, WaitQuery)
    body = convert(await read_json(request, services.limits.body_bytes), ForgetBody)
    report = await services.forget.forget(
        principal_of(request),
        namespace=body.namespace,
        filter=body.filter,
        policy=body.policy,
        dry_run=body.dry_run,
        erase=body.erase,
        wait=query.wait is not None,
        key=idempotency_key(request, body),
    )
    return json_reply(report)


@delete(
    "/v1/namespaces/{namespace:path}",
    status_code=200,
    opt=documented(
        Spec(
            tag="forgetting",
            summary="Delete or erase a namespace",
            description="Exactly this one, not those below it; its slashes may be written as they are.",
            query=DeleteQuery,
            answers={200: Answer(description="What went.", shape=ForgetReport)},
            problems=(409,),
            write=True,
        )
    ),
)
async def remove_namespace(request: AnyRequest, services: TheServices) -> Reply:
    """Delete or erase every memory of one namespace."""
    query = read_query(request, DeleteQuery)
    report = await services.forget.delete_namespace(
        principal_of(request),
        _namespace(request),
        erase=query.erase,
        wait=query.wait is not None,
        key=idempotency_key(request, query.erase),
    )
    return json_reply(report)


def _namespace(request: AnyRequest) -> str:
    """Return the namespace as it was sent: routing folds repeated slashes, which would name another namespace."""
    raw: bytes = request.scope["raw_path"]
    try:
        return unquote_to_bytes(raw.partition(b"?")[0]).decode().removeprefix(_NAMESPACES)
    except UnicodeDecodeError:
        raise HttpRefusal(400, "the path cannot be parsed: it is not percent-encoded UTF-8") from None


@get(
    "/v1/operations/{id:str}",
    opt=documented(
        Spec(
            tag="forgetting",
            summary="Read how far an operation has come in every store",
            answers={200: Answer(description="The operation.", shape=OperationState)},
            problems=(404,),
        )
    ),
)
async def operation(request: AnyRequest, services: TheServices) -> Reply:
    """Return the state of an operation."""
    read_query(request, NoQuery)
    return json_reply(await services.forget.operation(principal_of(request), request.path_params["id"]))


@post(
    "/v1/operations/{id:str}/undo",
    status_code=200,
    opt=documented(
        Spec(
            tag="forgetting",
            summary="Undo a deletion",
            description="Brings back what the operation hid, save what was changed since; 409 after its window.",
            query=WaitQuery,
            answers={200: Answer(description="Undone.", shape=OperationState)},
            problems=(404, 409),
            write=True,
        )
    ),
)
async def undo(request: AnyRequest, services: TheServices) -> Reply:
    """Bring back what an operation hid."""
    query = read_query(request, WaitQuery)
    state = await services.forget.undo(
        principal_of(request), request.path_params["id"], key=idempotency_key(request, None)
    )
    await wait_for(query, services, state.sequence)
    return json_reply(state)


ROUTES = (forget, remove_namespace, operation, undo)
