"""The README's examples work as pasted; only the port is another, so that a running service does not matter."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[int]:
    """Start the service as the README does, on a free port and an empty data directory; give the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = next(line for line in blocks("bash")[0].splitlines() if "sfm serve" in line).split("uv run ")[1].split()
    environment = {**os.environ, "SFM_DATA_DIR": str(tmp_path / "data"), "SFM_PORT": str(port)}
    started = [str(Path(sys.executable).parent / command[0]), *command[1:]]
    with subprocess.Popen(started, env=environment, cwd=tmp_path, start_new_session=True) as process:
        try:
            _wait(process, port)
            yield port
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(300):
        assert process.poll() is None, "the service stopped"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the service did not become ready")


def test_the_python_example_prints_the_memory(tmp_path: Path) -> None:
    """The Python example runs in a fresh process on an empty data directory."""
    [code] = blocks("python")
    environment = {**os.environ, "SFM_DATA_DIR": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Ada moved to Turin\n"


def test_the_curl_examples_remember_and_recall(service: int) -> None:
    """Both curl commands answer, and the second finds what the first stored."""
    [script] = [block for block in blocks("bash") if block.startswith("curl")]
    done = subprocess.run(
        ["bash", "-euc", script.replace(":9595", f":{service}")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"outcome":"created"' in done.stdout
    assert done.stdout.count("Ada moved to Turin") == 2


def test_the_continuous_integration_runs_the_test_command_of_the_readme() -> None:
    """`.ci/run` calls exactly what users are told to call."""
    [command] = [block for block in blocks("bash") if "nox" in block]
    call = command.strip().split("&& ")[1]
    assert re.search(rf"^ *{re.escape(call)}$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.M)
