"""A real Redis: 8 from a Python package, or 7 from the system's packages."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from sfm_core.testing.servers.found import redis_program
from sfm_core.testing.servers.process import Server

__all__ = ["RedisAt", "RedisServer"]

VERSIONS = ("8", "7")


class RedisAt:
    """The Redis that an URL names."""

    def __init__(self, url: str) -> None:
        self.url = url


class RedisServer(RedisAt, Server):
    """A Redis of one's own that keeps nothing on disk: a restart is a flush."""

    title = "Redis"

    def __init__(
        self,
        version: str = VERSIONS[0],
        *,
        folder: Path | None = None,
        port: int | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.program = redis_program(version)
        Server.__init__(self, folder=folder, port=port)
        RedisAt.__init__(self, f"redis://127.0.0.1:{self.port}/0")
        self.options = tuple(options)

    def prepare(self) -> None:
        """Need nothing."""

    def command(self) -> Sequence[str]:
        """Return the server's command line."""
        place = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder))
        return [str(self.program), *place, "--save", "", "--appendonly", "no", "--daemonize", "no", *self.options]

    def ready(self) -> bool:
        """Tell whether a PING is answered."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(b"PING\r\n")
                # A demand for a password is an answer, too.
                return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False
