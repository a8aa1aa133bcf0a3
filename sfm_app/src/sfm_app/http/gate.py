"""The one middleware, around everything: it names, counts, admits, limits, logs and traces each request."""

from __future__ import annotations

import os
import re
from itertools import count
from time import perf_counter
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Send

from sfm_app.http.door import Door
from sfm_app.http.hosts import LoopbackNames
from sfm_app.http.limiter import Limiter
from sfm_app.http.problems import HttpRefusal
from sfm_app.http.replies import problem_reply
from sfm_app.http.table import Table
from sfm_app.observability.logs import described, get_logger
from sfm_app.observability.metrics import Metrics
from sfm_app.observability.traces import Tracer
from sfm_core.errors import SfmError
from sfm_core.services.principal import EVERYTHING, Principal

__all__ = ["Gate"]

_OPEN = frozenset({"/healthz", "/readyz", "/metrics", "/schema", "/schema/openapi.json"})
"""Asked by machines around the service and by browsers: they tell nothing of what is stored, need no key and have no limit."""
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_REQUEST_ID = re.compile(rb"[\w.:-]{1,64}")
_NOSNIFF = (b"x-content-type-options", b"nosniff")


class Gate:
    """An ASGI middleware. Its parts are set once the backends are open, before the first request.

    Args:
        app: what answers.
        table: finds the endpoint of a path.
        metrics: counts.
        local: whether only requests to loopback names are answered while nobody is asked for a key.
    """

    def __init__(self, app: ASGIApp, table: Table, metrics: Metrics, *, local: bool = True) -> None:
        self._app = app
        self._table = table
        self._metrics = metrics
        self._names = LoopbackNames() if local else None
        self._log = get_logger()
        self._ids = count(1)
        self._id_prefix = os.urandom(6).hex()
        self.door: Door | None = None
        self.limiter: Limiter | None = None
        self.tracer: Tracer | None = None

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Handle one request from its first byte to the end of its answer."""
        started = perf_counter()
        headers = dict(scope["headers"])
        request_id = self._request_id(headers.get(b"x-request-id", b""))
        scope.setdefault("state", {}).update(request_id=request_id, headers=headers)
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), _NOSNIFF]
            await send(message)

        method, route = str(scope["method"]), self._table.template(scope["path"])
        if method == "HEAD":
            # Answered like GET; the server leaves the body out.
            scope = {**scope, "method": "GET"}
        try:
            await self._handle(scope, receive, answer, headers, route)
        except Exception as error:  # noqa: BLE001
            # The answer has begun: leaving it unfinished makes the server cut the connection, which tells the client.
            self._log.error("answer failed", request_id=request_id, **described(error))
        finally:
            seconds = perf_counter() - started
            self._metrics.observe(method, route, status, seconds)
            level = "info" if status < 500 else "error"
            getattr(self._log, level)(
                "request", method=method, route=route, status=status, ms=round(seconds * 1000, 2), request_id=request_id
            )

    async def _handle(self, scope: Any, receive: Receive, send: Send, headers: dict[bytes, bytes], route: str) -> None:
        door, principal = self.door, EVERYTHING
        demands = door is not None and door.demands
        refusal: SfmError | None = None if demands else self._misdirected(scope, headers)
        if refusal is None and door is not None and route not in _OPEN and (demands or door.is_shown_a_key(headers)):
            try:
                principal = await door.admit(headers)
            except SfmError as error:
                refusal = error
        scope["state"]["principal"] = principal
        if refusal is None:
            refusal = await self._limited(scope, route, principal)
        app = self._app
        if refusal is not None:
            app = problem_reply(refusal, instance=scope["path"], request_id=scope["state"]["request_id"])
        if self.tracer is None:
            await app(scope, receive, send)
            return
        await self._traced(app, scope, receive, send, headers, route)

    async def _traced(
        self, app: ASGIApp, scope: Any, receive: Receive, send: Send, headers: dict[bytes, bytes], route: str
    ) -> None:
        assert self.tracer is not None
        carried = {
            name: headers[name.encode()].decode("latin-1")
            for name in ("traceparent", "tracestate")
            if name.encode() in headers
        }
        with self.tracer.span(scope["method"], route, carried) as span:

            async def answer(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            await app(scope, receive, answer)

    def _misdirected(self, scope: Any, headers: dict[bytes, bytes]) -> HttpRefusal | None:
        """Refuse what a web page of another origin may have sent to a service that asks nobody for a key."""
        if self._names is not None and not self._names.allows(headers.get(b"host", b"")):
            return HttpRefusal(421, "Host: this service listens on loopback and answers to loopback names only")
        if scope["method"] not in _READS and headers.get(b"sec-fetch-site", b"none") == b"cross-site":
            return HttpRefusal(403, "Sec-Fetch-Site: a page of another origin may not write here")
        return None

    async def _limited(self, scope: Any, route: str, principal: Principal) -> HttpRefusal | None:
        if self.limiter is None or route in _OPEN:
            return None
        seconds = await self.limiter.seconds_to_wait(principal.name, f"{scope['method']} {route}")
        if not seconds:
            return None
        return HttpRefusal(
            429, f"too many requests to this endpoint, again in {seconds} s", {"Retry-After": str(seconds)}
        )

    def _request_id(self, given: bytes) -> str:
        if given and _REQUEST_ID.fullmatch(given):
            return given.decode()
        return f"{self._id_prefix}-{next(self._ids):x}"
