"""The ASGI application: Litestar behind one middleware of ours, opened and closed by the server's lifespan."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from litestar import Litestar, Response
from litestar.connection import Request
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import HTTPRouteHandler
from litestar.types import Receive, Scope, Send

from sfm_app.http.gate import Gate
from sfm_app.http.replies import problem_reply
from sfm_app.http.routes import HANDLERS, probes
from sfm_app.http.table import Table
from sfm_app.lifespan import opened
from sfm_app.observability.logs import described, get_logger
from sfm_app.observability.metrics import Metrics
from sfm_app.version import VERSION
from sfm_core.config.modes import Role
from sfm_core.errors import SfmError
from sfm_core.services.wiring import Services

__all__ = ["Application", "create_app"]

_HEARTBEAT = 15.0


class Application:
    """The ASGI application.

    Args:
        settings: overrides of the environment, as in `sfm_core.runtime.open_services`.
        metrics: where requests are counted.
        heartbeat: seconds of silence after which an event stream sends a comment.
        role: what the process is; a consumer and a relay answer to probes only.
    """

    def __init__(
        self,
        settings: Mapping[str, object] | None = None,
        *,
        metrics: Metrics | None = None,
        heartbeat: float = _HEARTBEAT,
        role: Role = Role.SERVICE,
    ) -> None:
        self._settings = settings
        self._role = role
        self._metrics = metrics or Metrics(VERSION)
        self._services: Services | None = None
        self._stopping = asyncio.Event()
        self._failure: Exception | None = None
        handlers = HANDLERS if role is Role.SERVICE else probes.ROUTES
        table = Table(handlers)
        self.litestar = _litestar(self._services_now, handlers, table)
        self.litestar.state.update(metrics=self._metrics, stopping=self._stopping, heartbeat=heartbeat)
        self._gate = Gate(self.litestar, table, self._metrics, local=role is Role.SERVICE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or open and close with the server."""
        if cast(Any, scope)["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self._gate(scope, receive, send)

    def begin_stop(self) -> None:
        """End the answers that have no end of their own; called when the server is asked to stop."""
        self._stopping.set()

    @property
    def failure(self) -> Exception | None:
        """Why the application could not be opened, or None."""
        return self._failure

    def _services_now(self) -> Services:
        assert self._services is not None
        return self._services

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        async with opened(self._settings, self._metrics, self._role) as (container, tracer), self.litestar.lifespan():
            self._services = container.services()
            self._gate.door = container.door() if self._role is Role.SERVICE else None
            self._gate.limiter = container.limiter() if self._role is Role.SERVICE else None
            self._gate.tracer = tracer
            yield

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """Open and close with the server. A failure is told in one line, without a traceback, and the server stops."""
        phase = "startup"
        try:
            await receive()
            async with self._opened():
                await send(cast(Any, {"type": "lifespan.startup.complete"}))
                phase = "shutdown"
                await receive()
        except Exception as error:  # noqa: BLE001
            self._failure = error
            foreseen = isinstance(error, SfmError)
            if not foreseen:
                get_logger().error(f"{phase} failed", **described(error))
            text = str(error) if foreseen else f"unforeseen {type(error).__name__}"
            await send(cast(Any, {"type": f"lifespan.{phase}.failed", "message": text}))
        else:
            await send(cast(Any, {"type": "lifespan.shutdown.complete"}))


def create_app(settings: Mapping[str, object] | None = None, *, heartbeat: float = _HEARTBEAT) -> Application:
    """Return the application over what `settings` and the environment ask for; it opens with its lifespan."""
    return Application(settings, heartbeat=heartbeat)


def _litestar(services: Callable[[], Services], handlers: Sequence[HTTPRouteHandler], table: Table) -> Litestar:
    def problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        return _problem(request, error, table)

    return Litestar(
        route_handlers=list(handlers),
        dependencies={"services": Provide(services, sync_to_thread=False)},
        exception_handlers={Exception: problem},
        logging_config=None,
        openapi_config=None,
        request_max_body_size=None,
        state=State(),
    )


def _problem(request: Request[Any, Any, Any], error: Exception, table: Table) -> Response[bytes]:
    """Answer any error with its problem document; the log gets the place of those that nobody foresaw."""
    request_id = request.scope["state"]["request_id"]
    reply = problem_reply(error, instance=request.scope["path"], request_id=request_id)
    if reply.status == 500:
        get_logger().error("request failed", request_id=request_id, **described(error))
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reply.headers}
    if isinstance(error, MethodNotAllowedException):
        headers["allow"] = ", ".join(sorted(table.methods(table.template(request.scope["path"]))))
    return Response(reply.body, status_code=reply.status, media_type=headers["content-type"], headers=headers)
