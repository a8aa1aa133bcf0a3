"""Running the service: one process, or a supervisor with workers that share one socket."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import uvicorn
from msgspec import Struct
from msgspec.structs import replace

from sfm_app.application import Application
from sfm_app.http.door import door_of
from sfm_app.http.hosts import family_of, require_loopback
from sfm_app.observability.board import Board
from sfm_app.observability.logs import configure, get_logger
from sfm_app.observability.metrics import Metrics
from sfm_app.supervisor import FAILED_TO_START, Supervisor
from sfm_app.version import VERSION
from sfm_core.config.env import Environment
from sfm_core.config.modes import Role, make_plan
from sfm_core.config.settings import load_settings, override_variables
from sfm_core.errors import BackendError, ConfigError, SfmError
from sfm_core.runtime import open_services

__all__ = ["serve"]

Overrides = Mapping[str, object]
_LEEWAY = 5.0
_KEEP_ALIVE = 75
"""Seconds that an idle connection stays open: longer than clients and load balancers keep theirs, which else now and then send
a request just as it is closed."""
_PORTS = {Role.SERVICE: 9595, Role.CONSUMER: 9596, Role.RELAY: 9596}


class Worker(Struct, frozen=True, kw_only=True):
    """What a process needs to serve; travels to the workers by pickle.

    Attributes:
        overrides: of the environment, which the worker reads itself.
        role: what it is.
        host, port, log_level, graceful_timeout: as in `Settings`, read once so that all workers agree.
        supervisor: the process to follow, None for a service of one process.
        board: where the workers share their counts, None for a single one.
    """

    overrides: Overrides
    role: Role
    host: str
    port: int
    log_level: str
    graceful_timeout: float
    supervisor: int | None = None
    board: Board | None = None

    def application(self) -> Application:
        """Return the application of this process."""
        configure(self.log_level)
        return Application(self.overrides, metrics=Metrics(VERSION, self.board), role=self.role)


class Server(uvicorn.Server):
    """uvicorn's server, which besides ends event streams when it stops, says when it is ready, and follows its supervisor."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(_config(worker))
        self._supervisor = worker.supervisor

    @property
    def application(self) -> Application | None:
        """The application, once it is loaded."""
        loaded = self.config.loaded_app if self.config.loaded else None
        return loaded if isinstance(loaded, Application) else None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open everything, then listen."""
        try:
            await super().startup(sockets)
        except OSError as error:
            get_logger().error("cannot listen", host=self.config.host, port=self.config.port, reason=error.strerror)
            sys.exit(FAILED_TO_START)
        if self.started and sockets:
            address, port = sockets[0].getsockname()[:2]
            host = f"[{address}]" if ":" in address else address
            get_logger().info("ready", url=f"http://{host}:{port}", process=os.getpid())

    async def on_tick(self, counter: int) -> bool:
        """Tell whether to stop: asked to, or the supervisor is gone and nobody would ask any more."""
        orphaned = self._supervisor is not None and os.getppid() != self._supervisor
        return await super().on_tick(counter) or orphaned

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, end the streams, let requests finish, close everything."""
        if self.application is not None:
            self.application.begin_stop()
        await super().shutdown(sockets)


def serve(settings: Overrides | None = None, role: Role = Role.SERVICE) -> None:
    """Serve the API, or run a consumer or a relay, until SIGTERM or SIGINT; return after a graceful stop.

    Args:
        settings: overrides of the environment, by variable name or field name.
        role: what to run; a consumer and a relay are one process each and serve probes.

    Raises:
        ConfigError: the configuration cannot be used, or the address is taken; nothing listened.
        SfmError: a backend or plugin cannot be opened; nothing listened.
    """
    overrides = dict(settings or {})
    loaded = load_settings(Environment.read(override_variables(overrides)))
    plan = make_plan(loaded, role)
    configure(loaded.log_level)
    if role is Role.SERVICE and plan.require_keys is False:
        require_loopback(loaded.host)
    worker = Worker(
        overrides=overrides,
        role=role,
        host=loaded.host,
        port=_PORTS[role] if loaded.port is None else loaded.port,
        log_level=loaded.log_level,
        graceful_timeout=loaded.graceful_timeout,
    )
    with _bound(worker.host, worker.port) as listener, _signals_end_quietly():
        if plan.workers == 1:
            _serve_alone(worker, listener)
            return
        # Schema is made and faults are told once, before any worker starts.
        asyncio.run(_try_to_open(overrides))
        shared = replace(worker, supervisor=os.getpid(), board=Board(plan.workers))
        patience = loaded.graceful_timeout + _LEEWAY
        Supervisor(_work, (shared, listener), workers=plan.workers, patience=patience).run()


def _config(worker: Worker) -> uvicorn.Config:
    return uvicorn.Config(
        worker.application,
        factory=True,
        host=worker.host,
        port=worker.port,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http="httptools",
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=math.ceil(worker.graceful_timeout),
    )


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """Bind the address, without listening yet.

    Raises:
        ConfigError: it is taken, or not of this machine.
    """
    with socket.socket(family_of(host), socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise ConfigError(f"SFM_HOST, SFM_PORT: cannot listen on {host}:{port} ({error.strerror})") from None
        listener.set_inheritable(True)
        yield listener


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """After a graceful stop uvicorn raises the signal again; here that must not end the process with an error."""

    def ignore(*_: Any) -> None:
        """The stop was carried out already."""

    before = {number: signal.signal(number, ignore) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _serve_alone(worker: Worker, listener: socket.socket) -> None:
    server = Server(worker)
    try:
        server.run(sockets=[listener])
    except SystemExit as stop:
        if stop.code:
            raise _reason(server.application, worker) from None
    # Older releases of uvicorn return as after a graceful stop when the application could not start.
    if not server.started and server.application is not None and server.application.failure is not None:
        raise _reason(server.application, worker)


def _work(worker: Worker, listener: socket.socket) -> None:
    """Serve in a process of the supervisor."""
    Server(worker).run(sockets=[listener])


def _reason(application: Application | None, worker: Worker) -> SfmError:
    failure = application.failure if application is not None else None
    if isinstance(failure, SfmError):
        return failure
    if failure is not None:
        return BackendError(f"the service cannot be opened, unforeseen {type(failure).__name__}; the log says where")
    return ConfigError(f"SFM_HOST, SFM_PORT: cannot listen on {worker.host}:{worker.port}")


async def _try_to_open(overrides: Overrides) -> None:
    async with open_services(settings=overrides, role=Role.SERVICE) as runtime:
        await door_of(runtime).open()
