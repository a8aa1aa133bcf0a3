"""Query strings: strict, each parameter once, unknown ones refused."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta, Struct

from sfm_app.http.bodies import AnyRequest, convert
from sfm_app.http.problems import HttpRefusal
from sfm_app.http.strict_json import Unparsable, decode
from sfm_core.errors import InvalidInput

__all__ = ["NoQuery", "Query", "json_value", "numbers", "read_query"]

Shape = TypeVar("Shape", bound="Query")


class Query(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the parameters of a route: one field per parameter, documented by its `Meta`."""


class NoQuery(Query, frozen=True, kw_only=True):
    """A route without parameters."""


Text = Annotated[str, Meta(min_length=1)]


def read_query(request: AnyRequest, shape: type[Shape]) -> Shape:
    """Return the query string of `request` as `shape`.

    Raises:
        HttpRefusal: 400, it is no percent-encoded UTF-8.
        InvalidInput: an unknown parameter, one that comes twice, or a value of another type.
    """
    text: bytes = request.scope["query_string"]
    if not text:
        return convert({}, shape)
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise HttpRefusal(400, "the query string cannot be parsed: it is not percent-encoded UTF-8") from None
    given = dict(pairs)
    if len(given) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in given if names.count(name) > 1)
        raise InvalidInput.of(twice[:80], [v for name, v in pairs if name == twice], "one value")
    return convert(given, shape, strict=False)


def json_value(text: str | None, field: str) -> Any:
    """Return the JSON value in parameter `field`; None when it was not given.

    Raises:
        InvalidInput: it is no strict JSON.
    """
    if text is None:
        return None
    try:
        return decode(text.encode())
    except Unparsable:
        raise InvalidInput.of(field, text, "a JSON value") from None


def numbers(text: str | None, field: str) -> tuple[float, ...] | None:
    """Return the numbers with commas between in parameter `field`; None when it was not given.

    Raises:
        InvalidInput: something is not a number.
    """
    if text is None:
        return None
    try:
        return msgspec.json.decode(f"[{text}]", type=tuple[float, ...])
    except msgspec.MsgspecError:
        raise InvalidInput.of(field, text, "finite numbers with commas between") from None
