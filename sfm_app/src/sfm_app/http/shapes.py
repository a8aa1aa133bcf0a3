"""Types as the OpenAPI document shows them, where the type in the code says less or more than JSON can."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Annotated, Any, Final, get_args

import msgspec
from msgspec import Meta, Struct

from sfm_app.http.models import BatchBody, ForgetBody, RecallBatchBody
from sfm_core.model.filter import FIELD_TYPES, OPS
from sfm_core.model.memory import NewMemory
from sfm_core.model.query import RecallQuery
from sfm_core.services.policy import Policy

__all__ = ["FILTER", "documented_shape"]

_FILTER_REF = {"$ref": "#/components/schemas/Filter"}

FILTER: Final[dict[str, Any]] = {
    "title": "Filter",
    "description": "A test of one field, or and, or, not over filters.",
    "oneOf": [
        {"type": "object", "required": ["and"], "properties": {"and": {"type": "array", "items": _FILTER_REF}}},
        {"type": "object", "required": ["or"], "properties": {"or": {"type": "array", "items": _FILTER_REF}}},
        {"type": "object", "required": ["not"], "properties": {"not": _FILTER_REF}},
        {
            "type": "object",
            "required": ["field", "op", "value"],
            "properties": {
                "field": {
                    "type": "string",
                    "description": f"{', '.join(FIELD_TYPES)}, or payload.<path>",
                    "examples": ["payload.city"],
                },
                "op": {"enum": list(OPS)},
                "value": {},
            },
        },
    ],
}


def _described(kind: Any, text: str) -> Any:
    return Annotated[kind, Meta(description=text)]


_A_FILTER = Annotated[Any, Meta(extra_json_schema={"anyOf": [_FILTER_REF, {"type": "null"}]})]
_FIELD_TEXTS = {
    "content": "Text that is searched; this or a non-empty payload is required.",
    "id": "A UUID; made when absent.",
    "namespace": 'A path such as "acme/support"; "default" when absent.',
    "payload": "Any JSON object.",
    "coordinate": "Finite numbers, unique in the namespace.",
    "position": "The place within the thread.",
    "importance": "0 to 1; 0.5 when absent.",
    "tags": "Distinct texts.",
    "occurred_at": "ISO 8601; UTC without a zone; now when absent.",
    "expires_at": "Hidden from then on.",
}


@cache
def documented_shape(shape: Any) -> Any:
    """Return the type that stands for `shape` in the document."""
    if shape is NewMemory:
        return _fields_of(NewMemory, {f: _described(_kind_in_memory(f), t) for f, t in _FIELD_TEXTS.items()})
    if shape is RecallQuery:
        return _fields_of(RecallQuery, {"filter": _A_FILTER})
    if shape is ForgetBody:
        return _fields_of(ForgetBody, {"filter": _A_FILTER, "policy": Policy | None})
    if shape is RecallBatchBody:
        return _fields_of(RecallBatchBody, {"queries": list[documented_shape(RecallQuery)]})  # type: ignore[misc]
    if shape is BatchBody:
        return _fields_of(BatchBody, {"memories": list[documented_shape(NewMemory)]})  # type: ignore[misc]
    return shape


def _kind_in_memory(field: str) -> Any:
    return next(_json_kind(f.type) for f in msgspec.structs.fields(NewMemory) if f.name == field)


def _fields_of(shape: type[Struct], replaced: dict[str, Any]) -> type[Struct]:
    """Return `shape` with the types of some fields replaced, under the same name."""
    fields = []
    for field in msgspec.structs.fields(shape):
        kind = replaced.get(field.name, _json_kind(field.type))
        fields.append((field.name, kind) if field.required else (field.name, kind, field.default))
    made = msgspec.defstruct(shape.__name__, fields, kw_only=True, forbid_unknown_fields=True)
    made.__doc__ = shape.__doc__
    return made


def _json_kind(kind: Any) -> Any:
    """Return `kind`; a time may be given as a `datetime` or as text, which is one thing in JSON."""
    return datetime | None if datetime in get_args(kind) else kind
