"""The OpenAPI 3.1 document, generated from the routes' own descriptions and the types that they read and write."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import cleandoc
from typing import Any

import msgspec
from litestar.handlers import HTTPRouteHandler

from sfm_app.http.models import RefusedAnswer
from sfm_app.http.problems import MEDIA_TYPE, ProblemDetails
from sfm_app.http.shapes import FILTER, documented_shape
from sfm_app.http.spec import Answer, Spec
from sfm_app.http.table import template_of
from sfm_app.version import VERSION

__all__ = ["document"]

_REF = "#/components/schemas/{name}"
_ALWAYS = (400, 422, 500)
_ASKING_BACKENDS = (401, 403, 429, 501, 503)
_WITH_BODY = (413, 415)
_PROBLEMS = {
    400: "The request cannot be parsed.",
    401: "An API key is asked for, and the request shows none that opens anything.",
    403: "Not allowed here.",
    404: "No such thing, or it was deleted, has expired or was erased.",
    409: "It collides with what is stored, or the same Idempotency-Key is still in flight (`Retry-After`).",
    412: "`If-Match` names another version than the stored one.",
    413: "The body is too large.",
    415: "The body has the wrong media type.",
    422: "A value is refused: `errors` names each with what came and what is allowed.",
    429: "Too many requests to this endpoint; see `Retry-After`.",
    500: "The service failed; the log names the cause under `request_id`.",
    501: "No loaded backend can do it; `/v1/capabilities` says what can be done.",
    503: "A backend that is needed does not answer; see `Retry-After`.",
}
_REQUEST_HEADERS = {
    "Accept": "`text/event-stream` asks for a stream.",
    "Idempotency-Key": "1 to 255 visible ASCII characters. A write repeated with the same key is answered as the first "
    "time and writes nothing; kept for 24 hours per credential and route.",
    "If-Match": "The version that the memory must have, as its ETag.",
    "If-None-Match": "An ETag that the caller has.",
    "Last-Event-ID": "The id of the last event that was seen; the stream goes on behind it.",
}
_ANSWER_HEADERS = {
    "ETag": "The version of the memory.",
    "Location": "The path of the memory.",
    "Retry-After": "Seconds after which to try again.",
}
_PATH = {
    "id": {"type": "string", "format": "uuid"},
    "namespace": {"type": "string", "minLength": 1, "maxLength": 256},
}
_TEXT = {"type": "string"}
_BEARER = "apiKey"
_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "`sfm_<key id>_<secret>`, as `POST /v1/keys` or `sfm keys create` shows it once. Not needed while no key "
    "was ever made, or with `SFM_REQUIRE_KEYS=false`: then only the service's own machine is answered.",
}
_TAGS = {
    "memories": "Remember, read, change and delete memories.",
    "history": "Versions of a memory, and bringing one back.",
    "recall": "What matters for a question.",
    "links": "Links between memories, neighbours, cheapest paths.",
    "forgetting": "Forgetting many memories, and undoing it.",
    "changes": "The change log.",
    "transfer": "Archives.",
    "keys": "API keys: who may do what in which namespaces.",
    "overview": "What is stored and what is loaded.",
    "service": "Probes, metrics, and this description.",
}

Json = dict[str, Any]


def document(handlers: Iterable[HTTPRouteHandler]) -> Json:
    """Return the document for `handlers`; equal for equal routes and types."""
    routes = sorted(
        (template_of(path), method.lower(), handler)
        for handler in handlers
        for path in handler.paths
        for method in handler.http_methods
    )
    specs = [handler.opt["spec"] for _, _, handler in routes]
    refs, components = _schemas(specs)
    paths: dict[str, Json] = {}
    for path, method, handler in routes:
        paths.setdefault(path, {})[method] = _operation(path, handler, refs, components)
    queries = {spec.query.__name__ for spec in specs}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "SomaFractalMemory",
            "version": VERSION,
            "summary": "A memory for AI agents",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "security": [{_BEARER: []}],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in sorted(components.items()) if name not in queries},
            "responses": {str(status): _problem(status, text) for status, text in _PROBLEMS.items()},
            "securitySchemes": {_BEARER: _SCHEME},
        },
    }


def _schemas(specs: Iterable[Spec]) -> tuple[dict[Any, Json], dict[str, Json]]:
    """Return the schema of every type that the routes name, and what those refer to."""
    types: list[Any] = [ProblemDetails, RefusedAnswer]
    for spec in specs:
        types += [
            shape for shape in (spec.body, spec.query, *(a.shape for a in spec.answers.values())) if shape is not None
        ]
    distinct = list(dict.fromkeys(types))
    schemas, components = msgspec.json.schema_components([documented_shape(d) for d in distinct], ref_template=_REF)
    components["Filter"] = FILTER
    for schema in components.values():
        if "description" in schema:
            schema["description"] = cleandoc(schema["description"])
        _put_null_last(schema)
    return dict(zip(distinct, schemas, strict=True)), components


def _put_null_last(schema: Any) -> None:
    """Order alternatives alike whatever the version of msgspec."""
    if isinstance(schema, dict):
        if "anyOf" in schema:
            schema["anyOf"].sort(key=lambda option: option.get("type") == "null")
        schema = list(schema.values())
    if isinstance(schema, list):
        for child in schema:
            _put_null_last(child)


def _operation(path: str, handler: HTTPRouteHandler, refs: dict[Any, Json], components: dict[str, Json]) -> Json:
    spec: Spec = handler.opt["spec"]
    operation: Json = {"tags": [spec.tag], "operationId": handler.handler_name, "summary": spec.summary}
    if spec.description:
        operation["description"] = spec.description
    operation["parameters"] = [
        *(
            {"name": name, "in": "path", "required": True, "schema": schema}
            for name, schema in _PATH.items()
            if f"{{{name}}}" in path
        ),
        *_query(components[spec.query.__name__]),
        *_headers(spec),
    ]
    if spec.body is not None:
        content = {media: {"schema": refs[spec.body]} for media in spec.body_media}
        operation["requestBody"] = {"required": True, "content": content}
    operation["responses"] = _responses(path, spec, refs)
    if not path.startswith("/v1/"):
        operation["security"] = []
    return operation


def _query(schema: Json) -> Iterable[Json]:
    required = schema.get("required", [])
    for name, found in schema.get("properties", {}).items():
        inner = {key: value for key, value in found.items() if key != "description" and value is not None}
        if "anyOf" in inner:
            inner |= next(option for option in inner.pop("anyOf") if option.get("type") != "null")
        if "enum" in inner:
            inner["enum"] = [value for value in inner["enum"] if value is not None]
        yield {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": found.get("description", ""),
            "schema": inner,
        }


def _headers(spec: Spec) -> Iterable[Json]:
    names = (*spec.headers, *(("Idempotency-Key",) if spec.write else ()))
    # OpenAPI reserves `Accept` for the media types of the answers.
    return [
        {"name": name, "in": "header", "required": False, "description": _REQUEST_HEADERS[name], "schema": _TEXT}
        for name in names
        if name != "Accept"
    ]


def _responses(path: str, spec: Spec, refs: dict[Any, Json]) -> Json:
    answers = {str(status): _answer(answer, refs) for status, answer in sorted(spec.answers.items())}
    statuses = {
        *_ALWAYS,
        *(_ASKING_BACKENDS if path.startswith("/v1/") else ()),
        *spec.problems,
        *(_WITH_BODY if spec.body is not None else ()),
        *((404, 409) if spec.write else ()),
    }
    refused = {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}
    return answers | refused


def _answer(answer: Answer, refs: dict[Any, Json]) -> Json:
    schema = _TEXT if answer.shape is None else refs[answer.shape]
    found: Json = {"description": answer.description}
    if answer.headers:
        found["headers"] = {name: {"description": _ANSWER_HEADERS[name], "schema": _TEXT} for name in answer.headers}
    if answer.media:
        found["content"] = {
            media: {"schema": schema if media == "application/json" else _TEXT} for media in answer.media
        }
    return found


def _problem(status: int, text: str) -> Json:
    content = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="ProblemDetails")}}}
    asked = {"WWW-Authenticate": {"description": "`Bearer`.", "schema": _TEXT}}
    return {"description": text, "content": content, **({"headers": asked} if status == 401 else {})}
