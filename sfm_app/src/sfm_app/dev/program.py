"""One of our own processes, run like a test server: its folder, its port, its end together with who started it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from sfm_core.testing.servers import Server

__all__ = ["Program"]


class Program(Server):
    """`sfm` with arguments, in an environment of its own; it is ready when `/readyz` says so.

    Args:
        name: what messages call it.
        arguments: the command and its options.
        environment: all of its environment but for the port.
        port: where it listens; a free one unless given.
    """

    def __init__(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], *, port: int | None = None
    ) -> None:
        self.title = name
        super().__init__(port=port)
        self._arguments = tuple(arguments)
        self._environment = dict(environment)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Need nothing."""

    def command(self) -> Sequence[str]:
        """Return the command line: the `sfm` beside this Python."""
        return [str(Path(sys.executable).with_name("sfm")), *self._arguments]

    def environment(self) -> dict[str, str]:
        """Return what was given, with the port."""
        return {**self._environment, "SFM_PORT": str(self.port)}

    def status(self, path: str = "/readyz") -> int | None:
        """Return the status of an answer, None when there is none."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()

    def ready(self) -> bool:
        """Tell whether every backend that it needs answers."""
        return self.status() == 200
