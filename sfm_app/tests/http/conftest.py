"""A running application in this process, whose every answer is checked against the committed description."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import Any

import httpx
import jsonschema
import pytest
import structlog

from sfm_app.application import Application
from sfm_app.http.openapi import document
from sfm_app.http.routes import HANDLERS
from sfm_app.http.table import Table

TABLE = Table(HANDLERS)
DOCUMENT = document(HANDLERS)
Start = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    """What was logged during the test, instead of lines on stderr."""
    with structlog.testing.capture_logs() as lines:
        yield lines


@asynccontextmanager
async def lived(app: Application) -> AsyncIterator[None]:
    """Open and close an application as a server does."""
    to_app: asyncio.Queue[Any] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    scope: Any = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    task = asyncio.create_task(app(scope, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    told = await from_app.get()
    assert told == {"type": "lifespan.startup.complete"}, told
    try:
        yield
    finally:
        await to_app.put({"type": "lifespan.shutdown"})
        assert await from_app.get() == {"type": "lifespan.shutdown.complete"}
        await task


@pytest.fixture
def live() -> Callable[[Application], AbstractAsyncContextManager[None]]:
    """Open and close an application as a server does."""
    return lived


@asynccontextmanager
async def started(**settings: object) -> AsyncIterator[httpx.AsyncClient]:
    """Run an application in mode test and give a client of it."""
    app = Application({"mode": "test", **settings}, heartbeat=0.05)
    async with lived(app):
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        hooks = {"response": [check]}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:9595", event_hooks=hooks
        ) as client:
            client.app = app  # type: ignore[attr-defined]
            yield client


@pytest.fixture
def start() -> Start:
    """Start an application with settings of the test."""
    return started


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application in mode test."""
    async with started() as found:
        yield found


async def check(response: httpx.Response) -> None:
    """Check an answer against the description: its status, its media type, its body."""
    request = response.request
    template = TABLE.template(request.url.path)
    await response.aread()
    if response.status_code >= 400:
        problem(response)
    operation = DOCUMENT["paths"].get(template, {}).get(request.method.lower())
    if operation is None:
        assert response.status_code in (200, 204, 401, 404, 405, 421), (request.method, template, response.status_code)
        return
    if response.status_code in (403, 421):
        return
    answers = operation["responses"]
    assert str(response.status_code) in answers, (request.method, template, response.status_code, response.text)
    answer = answers[str(response.status_code)]
    content = answer.get("content", {})
    if "application/json" in content and response.headers["content-type"] == "application/json":
        validator(json.dumps(content["application/json"]["schema"])).validate(response.json())
    elif "$ref" not in answer and content:
        assert response.headers["content-type"] in content


def problem(response: httpx.Response) -> None:
    """Check that an error is a problem document of its own status."""
    if response.headers["content-type"] == "application/json":
        assert (response.status_code, response.request.url.path) == (503, "/readyz")
        return
    assert response.headers["content-type"] == "application/problem+json"
    if response.request.method == "HEAD":
        return
    body = response.json()
    validator('{"$ref": "#/components/schemas/ProblemDetails"}').validate(body)
    assert body["status"] == response.status_code
    assert body["request_id"] == response.headers["x-request-id"]
    assert (response.status_code == 422) >= ("errors" in body)


@cache
def validator(schema: str) -> jsonschema.Draft202012Validator:
    """Return what validates against a schema of the document."""
    return jsonschema.Draft202012Validator({**json.loads(schema), "components": DOCUMENT["components"]})
