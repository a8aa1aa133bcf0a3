"""Run the whole evented stack until it is told to stop: servers, then the service, then a consumer."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct

from sfm_app.dev.program import Program
from sfm_app.dev.stack import Servers, servers
from sfm_core.errors import BackendError, ConfigError
from sfm_core.testing.servers import Missing, Server

__all__ = ["Part", "Stack", "stack", "wait"]

_LOOK = 0.2
_DEFAULTS = ("SFM_VECTORS", "SFM_EMBEDDING", "UVICORN_WORKERS")
"""What the caller's environment may set otherwise; the mode and the addresses are the stack's own."""


class Part(Struct, frozen=True):
    """One part of the stack as it is told: what it is, where it answers, its process and its log."""

    name: str
    address: str
    process: int
    log: str


class Stack(Struct, frozen=True):
    """What runs: the servers and processes, what is told of them, and the embedding plugin in use ("none": no vectors)."""

    running: list[Server]
    parts: list[Part]
    embedding: str


def _environment(own: Servers) -> dict[str, str]:
    chosen = {name: os.environ[name] for name in _DEFAULTS if name in os.environ}
    return {**os.environ, **own.environment(), **chosen}


def _part(server: Server, address: str) -> Part:
    return Part(name=server.title, address=address, process=server.pid, log=str(server.folder / "log"))


@contextmanager
def stack(folder: Path | None, *, port: int, consumer_port: int) -> Iterator[Stack]:
    """Run the stack for as long as the block lasts.

    Args:
        folder: where the data is kept; None throws it away at the end.
        port: where the service listens.
        consumer_port: where the consumer tells its health and metrics.

    Raises:
        ConfigError: a server's program is not installed; the message names the command that installs it.
        BackendError: a part did not start; the message ends with its last output.
    """
    with ExitStack() as closing:
        try:
            own = closing.enter_context(servers(folder))
            environment = _environment(own)
            api = Program("api", ["serve"], environment, port=port)
            consumer = Program("consumer", ["consumer"], environment, port=consumer_port)
            for program in (api, consumer):
                closing.callback(program.close)
                program.start(wait=False)
            for program in (api, consumer):
                program.wait_ready()
        except Missing as gap:
            raise ConfigError(str(gap)) from gap
        except RuntimeError as error:
            raise BackendError(str(error)) from error
        parts = [
            _part(own.postgres, own.postgres.url),
            _part(own.redis, own.redis.url),
            _part(own.kafka, own.kafka.bootstrap),
            _part(api, api.url),
            _part(consumer, consumer.url),
        ]
        yield Stack([*own.all, api, consumer], parts, environment["SFM_EMBEDDING"])


def wait(running: list[Server]) -> None:
    """Return when this process is interrupted or terminated.

    Raises:
        BackendError: a part ended by itself; the message ends with its last output.
    """
    stopped = threading.Event()
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while not stopped.wait(_LOOK):
            for server in running:
                if not server.running:
                    raise BackendError(f"{server.title} ended: {server.log[-2000:]}")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
