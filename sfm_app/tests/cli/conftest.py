"""The command line run in this process or in one of its own, on a store of its own or on a running service."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sfm_app.cli.main import main

_OURS = ("SFM_", "MEMORY_", "EVENTING_", "UVICORN_", "OTEL_", "SOMA_")


@dataclass(frozen=True)
class Done:
    """What a run of the command line left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON document on standard output."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The JSON lines on standard output."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Done]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of the caller and no `.env` of the checkout decides what a test sees."""
    for name in [name for name in os.environ if name.startswith(_OURS)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Return what runs the command line in this process: exit code and both streams, as a shell would see them."""

    def run(*arguments: object) -> Done:
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capfdbinary.readouterr()
        assert isinstance(end.value.code, int)
        return Done(end.value.code, out.decode(), err.decode())

    return run


@pytest.fixture
def program() -> str:
    """Return the path of the installed command."""
    return str(Path(sys.executable).parent / "sfm")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Return a data directory that does not exist yet."""
    return tmp_path / "data"


@contextmanager
def _service(folder: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    program = str(Path(sys.executable).parent / "sfm")
    command = [program, "serve", "--port", str(port), "--data-dir", str(folder / "data")]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            _await(f"http://127.0.0.1:{port}/readyz", process, folder / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


@pytest.fixture(scope="session")
def service_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a service that all tests share."""
    with _service(tmp_path_factory.mktemp("service")) as url:
        yield url


@pytest.fixture
def empty_service_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a service of this test's own."""
    with _service(tmp_path_factory.mktemp("service")) as url:
        yield url


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture(params=["local", "remote"])
def target(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Return the options that name a store of the test's own, or the running service."""
    if request.param == "local":
        return ("--data-dir", str(request.getfixturevalue("data_dir")))
    return ("--url", str(request.getfixturevalue("service_url")))


@pytest.fixture
def sfm(run: Run, target: tuple[str, ...]) -> Run:
    """Return what runs a command on the target."""
    return lambda *arguments: run(*target, *arguments)


@pytest.fixture
def ask(sfm: Run) -> Callable[..., Any]:
    """Return what runs a command on the target with --json and returns its document; the command must succeed."""

    def ask(*arguments: object) -> Any:
        done = sfm("--json", *arguments)
        assert done.code == 0, done.err
        assert done.err == ""
        return done.json

    return ask


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    """Return a namespace that no other test uses: all share one service."""
    return f"cli/{abs(hash(request.node.nodeid)):x}"
