"""The stream of server-sent events, driven as a server drives it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from sfm_app.http.replies import StreamReply
from sfm_app.http.sse import EventStream
from sfm_core.model.event import Change, Event, event_of

SCOPE: Any = {"type": "http"}


class Connection:
    """The server's side of one request."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        self.gone = asyncio.Event()

    async def receive(self) -> Any:
        """Return when the client goes."""
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def text(self) -> str:
        """Return the next part of the body, past the beginning of the answer."""
        async with asyncio.timeout(5):
            while (message := await self.sent.get())["type"] != "http.response.body":
                continue
        return str(message["body"].decode())


def event(sequence: int) -> Event:
    """Return some event."""
    now = datetime.now(UTC)
    change = Change(sequence=sequence, type="memory.created", memory_id="m", version=1, namespace="a", time=now)
    return event_of(change, "urn:test")


class Source:
    """Events as the test gives them; tells whether it was closed."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event] = asyncio.Queue()
        self.closed = False

    async def events(self) -> AsyncIterator[Event]:
        """Yield without end."""
        try:
            while True:
                yield await self.queue.get()
        finally:
            self.closed = True


@pytest.mark.parametrize("end", ["client", "service"])
async def test_events_come_with_their_sequence_until_one_side_ends_it(end: str) -> None:
    """The source is closed and the answer complete, whoever ends it."""
    connection, source, stopping = Connection(), Source(), asyncio.Event()
    stream = EventStream(source.events(), stopping, heartbeat=60)
    task = asyncio.create_task(stream(SCOPE, connection.receive, connection.sent.put))
    start = await connection.sent.get()
    assert (start["status"], dict(start["headers"])[b"content-type"]) == (200, b"text/event-stream; charset=utf-8")
    assert await connection.text() == "retry: 1000\n\n"
    for sequence in (7, 8):
        await source.queue.put(event(sequence))
        head, kind, data, *rest = (await connection.text()).split("\n")
        assert (head, kind, rest) == (f"id: {sequence}", "event: memory.created", ["", ""])
        assert json.loads(data.removeprefix("data: "))["data"]["sequence"] == sequence
    (connection.gone if end == "client" else stopping).set()
    async with asyncio.timeout(5):
        await task
    assert source.closed
    assert connection.sent.get_nowait()["more_body"] is False


async def test_a_stream_ends_when_what_opened_it_ends() -> None:
    """A key that is revoked, for one; the source is closed and the answer complete."""
    connection, source, ended = Connection(), Source(), asyncio.Event()

    async def until() -> None:
        await ended.wait()

    stream = EventStream(source.events(), asyncio.Event(), heartbeat=60, until=until)
    task = asyncio.create_task(stream(SCOPE, connection.receive, connection.sent.put))
    await connection.text()
    await source.queue.put(event(1))
    assert (await connection.text()).startswith("id: 1\n")
    ended.set()
    async with asyncio.timeout(5):
        await task
    assert source.closed
    assert connection.sent.get_nowait()["more_body"] is False


async def test_silence_is_filled_with_comments() -> None:
    """So that both sides notice a dead connection."""
    connection, source = Connection(), Source()
    stream = EventStream(source.events(), asyncio.Event(), heartbeat=0.01)
    task = asyncio.create_task(stream(SCOPE, connection.receive, connection.sent.put))
    await connection.text()
    assert [(await connection.text())[0] for _ in range(3)] == [":", ":", ":"]
    connection.gone.set()
    await task


async def test_a_source_that_fails_cuts_the_stream() -> None:
    """The answer is left incomplete, which a client takes for a lost connection and resumes."""

    async def failing() -> AsyncIterator[Event]:
        yield event(1)
        raise RuntimeError("gone")

    connection = Connection()
    stream = EventStream(failing(), asyncio.Event(), heartbeat=60)
    with pytest.raises(RuntimeError):
        await stream(SCOPE, connection.receive, connection.sent.put)
    messages = [connection.sent.get_nowait() for _ in range(connection.sent.qsize())]
    assert all(message.get("more_body", True) for message in messages)


async def test_a_stream_of_bytes_stops_when_the_client_goes() -> None:
    """A large export is not read to its end for nobody."""
    connection = Connection()
    asked = 0
    closed = False

    async def parts() -> AsyncIterator[bytes]:
        nonlocal asked, closed
        try:
            while True:
                asked += 1
                yield b"x"
                await asyncio.sleep(0)
        finally:
            closed = True

    task = asyncio.create_task(StreamReply(parts(), b"text/plain")(SCOPE, connection.receive, connection.sent.put))
    for _ in range(3):
        await connection.text()
    connection.gone.set()
    async with asyncio.timeout(5):
        await task
    assert closed


async def test_a_stream_that_fails_before_its_first_part_sends_nothing() -> None:
    """So that the failure can still be answered with a problem."""

    async def parts() -> AsyncIterator[bytes]:
        raise RuntimeError("refused")
        yield b""

    connection = Connection()
    with pytest.raises(RuntimeError):
        await StreamReply(parts(), b"text/plain")(SCOPE, connection.receive, connection.sent.put)
    assert connection.sent.empty()
