"""Answers: bytes that are encoded once and sent in two ASGI messages, or a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any

import msgspec
from litestar.types import Receive, Scope, Send

from sfm_app.http import problems
from sfm_app.http.disconnects import disconnected

__all__ = ["Answering", "Reply", "StreamReply", "etag_of", "json_reply", "not_modified", "problem_reply"]

_ENCODER = msgspec.json.Encoder()
_JSON = b"application/json"
Headers = Iterable[tuple[bytes, bytes]]


class Answering:
    """What handlers return: an ASGI application, which Litestar runs as it is."""

    __slots__ = ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        raise NotImplementedError


class Reply(Answering):
    """A complete answer."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, media_type: bytes, headers: Headers = ()) -> None:
        self.status = status
        self.body = body
        self.headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(body)), *headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


class StreamReply(Answering):
    """An answer that is produced while it is sent. The first part is awaited before the status goes out.

    A failure before it is an ordinary problem; one after it cuts the connection, so that the client sees an incomplete
    answer and not a short one.
    """

    __slots__ = ("headers", "parts")

    def __init__(self, parts: AsyncIterator[bytes], media_type: bytes, headers: Headers = ()) -> None:
        self.parts = parts
        self.headers = [(b"content-type", media_type), *headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the parts as they come."""
        first = await anext(self.parts, b"")
        gone = asyncio.ensure_future(disconnected(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.headers})
            await send({"type": "http.response.body", "body": first, "more_body": True})
            async for part in self.parts:
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": part, "more_body": True})
        finally:
            gone.cancel()
            if isinstance(self.parts, AsyncGenerator):
                await self.parts.aclose()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def json_reply(value: Any, status: int = 200, headers: Headers = ()) -> Reply:
    """Return `value` as JSON: fields that are null are told as null."""
    return Reply(status, _ENCODER.encode(value), _JSON, headers)


def not_modified(version: int) -> Reply:
    """Return the answer to a caller that has this version already."""
    reply = Reply(304, b"", b"")
    reply.headers = [etag_of(version)]
    return reply


def etag_of(version: int) -> tuple[bytes, bytes]:
    """Return the `ETag` header of a memory's version."""
    return b"etag", b'"%d"' % version


def problem_reply(error: BaseException, *, instance: str, request_id: str) -> Reply:
    """Return the problem document of `error`, with the headers that its status asks for."""
    details = problems.details_of(error, instance=instance, request_id=request_id)
    extra = dict(error.headers) if isinstance(error, problems.HttpRefusal) else {}
    if details.status == 401:
        extra["WWW-Authenticate"] = "Bearer"
    if (seconds := problems.retry_after_of(error)) is not None:
        extra["Retry-After"] = seconds
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in extra.items()]
    return Reply(details.status, _ENCODER.encode(details), problems.MEDIA_TYPE.encode(), headers)
