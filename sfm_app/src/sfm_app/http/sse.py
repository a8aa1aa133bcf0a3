"""Server-sent events: change events as they come, with heartbeats, until the client or the service goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
from litestar.types import Receive, Scope, Send

from sfm_app.http.disconnects import disconnected
from sfm_app.http.replies import Answering
from sfm_core.model.event import Event

__all__ = ["EventStream"]

_ENCODER = msgspec.json.Encoder()
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_RETRY = b"retry: 1000\n\n"
_HEARTBEAT = b": still here\n\n"


def _frame(event: Event) -> bytes:
    data = _ENCODER.encode(event)
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.data.sequence, event.type.encode(), data)


class EventStream(Answering):
    """An answer in `text/event-stream` form. The `id` of an event is its sequence: a client resumes by `Last-Event-ID`.

    Args:
        events: the endless source; closed at the end.
        stopping: set when the service is asked to stop.
        heartbeat: seconds of silence after which a comment is sent, so that a dead connection shows.
        until: what else ends the stream when it returns; None for nothing.
    """

    __slots__ = ("_events", "_heartbeat", "_stopping", "_until")

    def __init__(
        self,
        events: AsyncIterator[Event],
        stopping: asyncio.Event,
        *,
        heartbeat: float,
        until: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._events = events
        self._stopping = stopping
        self._heartbeat = heartbeat
        self._until = until

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until one side ends it."""
        ends: set[asyncio.Future[Any]] = {
            asyncio.ensure_future(disconnected(receive)),
            asyncio.ensure_future(self._stopping.wait()),
        }
        if self._until is not None:
            ends.add(asyncio.ensure_future(self._until()))
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": _RETRY, "more_body": True})
        try:
            await self._pump(ends, send)
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, ends: set[asyncio.Future[Any]], send: Send) -> None:
        upcoming: asyncio.Future[Event] = asyncio.ensure_future(anext(self._events))
        try:
            while True:
                done, _ = await asyncio.wait(
                    {upcoming, *ends}, timeout=self._heartbeat, return_when=asyncio.FIRST_COMPLETED
                )
                if done & ends:
                    return
                part = _HEARTBEAT
                if upcoming in done:
                    part = _frame(upcoming.result())
                    upcoming = asyncio.ensure_future(anext(self._events))
                await send({"type": "http.response.body", "body": part, "more_body": True})
        finally:
            upcoming.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await upcoming
            if isinstance(self._events, AsyncGenerator):
                await self._events.aclose()
