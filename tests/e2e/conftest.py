"""A real service: its own process, a free loopback port, a data directory of the test."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

OURS = ("SFM_", "MEMORY_", "EVENTING_", "UVICORN_", "OTEL_", "SOMA_")
CODE = """
import sys
from sfm_app.server import serve
from sfm_core.errors import SfmError
if __name__ == "__main__":
    try:
        serve()
    except SfmError as error:
        sys.exit(f"{type(error).__name__}: {error}")
"""


class Service:
    """A started service and what it wrote to stderr."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._log = log

    def client(self, **options: Any) -> httpx.AsyncClient:
        """Return a client of it."""
        return httpx.AsyncClient(base_url=self.url, timeout=30, **options)

    @property
    def log(self) -> list[dict[str, Any]]:
        """What it logged."""
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def text(self) -> str:
        """What it wrote to stderr."""
        return self._log.read_text(encoding="utf-8")

    def wait_until_ready(self) -> None:
        """Return when it answers that it is ready."""
        for _ in range(600):
            assert self.process.poll() is None, self.text
            try:
                if httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("the service did not become ready:\n" + self.text)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal to it and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def kill(self) -> None:
        """End it and its workers at once, as a power failure would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)


Serve = Callable[..., Any]


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start services, ready or not; what still runs at the end is killed."""
    (tmp_path / "service.py").write_text(CODE, encoding="utf-8")
    started: list[Service] = []

    def start(**variables: object) -> Service:
        port = int(str(variables.pop("SFM_PORT", free_port())))
        environment = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        environment |= {"SFM_DATA_DIR": str(tmp_path / "data"), "SFM_PORT": str(port)}
        environment |= {name: str(value) for name, value in variables.items()}
        log = tmp_path / f"service-{len(started)}.log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "service.py"], cwd=tmp_path, env=environment, stderr=stderr, start_new_session=True
            )
        started.append(Service(process, port, log))
        return started[-1]

    yield start
    for service in started:
        if service.process.poll() is None:
            service.kill()


@pytest.fixture
def serve(launch: Callable[..., Service]) -> Serve:
    """Start a service, wait until it is ready, and stop it gracefully after the block."""

    @contextmanager
    def serving(**variables: object) -> Iterator[Service]:
        service = launch(**variables)
        service.wait_until_ready()
        yield service
        if service.process.poll() is None:
            assert service.stop() == 0, service.text

    return serving
