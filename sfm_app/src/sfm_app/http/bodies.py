"""Bodies of requests: the media type, the size while it streams in, and strict JSON."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

import msgspec
from litestar import Request

from sfm_app.http.problems import HttpRefusal
from sfm_app.http.strict_json import Unparsable, decode
from sfm_core.errors import InvalidInput, Problem, shown

__all__ = ["AnyRequest", "convert", "header", "read_bytes", "read_json", "require_media_type", "stream"]

AnyRequest = Request[Any, Any, Any]
Shape = TypeVar("Shape")

_JSON = ("application/json",)
_TICKED = re.compile(r"`([^`]*)`")
_WORDS = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "array": "a list",
    "object": "a JSON object",
    "null": "nothing",
}
_UTF8 = frozenset({"utf-8", "utf8"})


class Disconnected(Exception):
    """The client went away while its body was read; nobody waits for an answer."""


def header(request: AnyRequest, name: bytes) -> str | None:
    """Return a header by its lower-case name, None when it was not sent; of several with one name the last."""
    value: bytes | None = request.scope["state"]["headers"].get(name)
    return None if value is None else value.decode("latin-1")


def require_media_type(request: AnyRequest, allowed: Iterable[str]) -> None:
    """Refuse a body that is not of one of the media types `allowed`, or that is compressed.

    A missing type is refused too: a page of another origin may send such a body without asking first.

    Raises:
        HttpRefusal: 415.
    """
    given, _, parameters = (header(request, b"content-type") or "").partition(";")
    charset = parameters.lower().partition("charset=")[2].partition(";")[0].strip().strip('"') if parameters else ""
    if given.strip().lower() not in allowed or (charset and charset not in _UTF8):
        raise HttpRefusal(415, f"Content-Type: got {shown(given)}, allowed: {', '.join(allowed)} in UTF-8")
    coding = header(request, b"content-encoding")
    if coding is not None and coding.strip().lower() != "identity":
        raise HttpRefusal(
            415, f"Content-Encoding: got {shown(coding)}, allowed: identity", {"Accept-Encoding": "identity"}
        )


def _too_large(most: int) -> HttpRefusal:
    return HttpRefusal(413, f"the body is larger than {most} bytes, the largest allowed")


async def stream(request: AnyRequest) -> AsyncIterator[bytes]:
    """Yield the parts of the body as they come in.

    Raises:
        Disconnected: the client went away before the end.
    """
    more = True
    while more:
        message = await request.receive()
        if message["type"] != "http.request":
            raise Disconnected
        if part := message.get("body", b""):
            yield part
        more = message.get("more_body", False)


async def read_bytes(request: AnyRequest, most: int) -> bytes:
    """Return the whole body, reading no further than `most` bytes, whatever the headers say.

    Raises:
        HttpRefusal: 413.
    """
    announced = header(request, b"content-length") or ""
    if announced.isdecimal() and int(announced) > most:
        raise _too_large(most)
    parts: list[bytes] = []
    size = 0
    async for part in stream(request):
        size += len(part)
        if size > most:
            raise _too_large(most)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def read_json(request: AnyRequest, most: int, allowed: Iterable[str] = _JSON) -> dict[str, Any]:
    """Return the JSON object in the body.

    Raises:
        HttpRefusal: 400 (no strict JSON), 413, 415.
        InvalidInput: another JSON value, or one that is nested too deeply.
    """
    require_media_type(request, allowed)
    try:
        value = decode(await read_bytes(request, most))
    except Unparsable as error:
        raise HttpRefusal(400, f"the body cannot be parsed: {error}") from None
    if not isinstance(value, dict):
        raise InvalidInput.of("body", value, "a JSON object")
    return value


def convert(value: object, shape: type[Shape], *, strict: bool = True) -> Shape:
    """Return `value` as `shape`; unknown members and wrong types are refused with the member's path.

    Args:
        value: decoded JSON, or the texts of a query.
        shape: a Struct with `forbid_unknown_fields`.
        strict: False takes texts for numbers and truth values.

    Raises:
        InvalidInput: naming the first member that is refused.
    """
    try:
        return msgspec.convert(value, shape, strict=strict)
    except msgspec.ValidationError as error:
        raise InvalidInput([_problem(str(error), value, shape)]) from None


def _problem(text: str, value: object, shape: type[Any]) -> Problem:
    """Return what msgspec says as a `Problem`: `Expected `int`, got `str` - at `$.limit``."""
    known = ", ".join(field.encode_name for field in msgspec.structs.fields(shape))
    reason, _, path = text.partition(" - at `$.")
    path = path.rstrip("`").replace("[", ".").replace("]", "")
    if "unknown field `" in reason:
        return Problem(reason.split("`")[1][:80], "an unknown field", f"one of {known}" if known else "none")
    if "missing required field `" in reason:
        return Problem(reason.split("`")[1], "nothing", "a value; it is required")
    given = value.get(path) if isinstance(value, dict) else value
    allowed = reason.removeprefix("Expected ").partition(", got")[0]
    return Problem(path or "body", shown(given), _TICKED.sub(lambda found: _WORDS.get(found[1], found[1]), allowed))
