"""`sfm dev up`: the whole stack by one command, and nothing of it left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from sfm_app.dev.stack import apart
from sfm_core.testing.servers import free_port
from sfm_core.testing.servers.process import Folder
from sfm_core.testing.servers.watch import members

pytestmark = pytest.mark.server


@contextmanager
def up(*options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """Run the command and give what it printed once all of it runs; it is interrupted after the block."""
    ports = ("--port", str(free_port()), "--consumer-port", str(free_port()))
    command = [str(Path(sys.executable).with_name("sfm")), "dev", "up", "--json", *ports, *options]
    with subprocess.Popen(
        command, env={**apart(), **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        lines: list[bytes] = []
        while not lines or lines[-1] not in (b"}\n", b""):
            lines.append(process.stdout.readline())
        assert lines[-1], process.communicate()[1].decode()
        try:
            yield process, {part["name"]: part for part in json.loads(b"".join(lines))["items"]}
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            ended = process.wait(timeout=60)
        assert ended in (0, 1, -signal.SIGKILL)


def folders(parts: dict[str, Any]) -> list[Path]:
    return [Path(part["log"]).parent for part in parts.values()]


def test_everything_runs_and_an_interrupt_ends_all_of_it() -> None:
    """A memory goes through the whole pipeline; afterwards no process and no folder is there."""
    with up() as (process, parts):
        assert set(parts) == {"PostgreSQL", "Redis", "Kafka", "api", "consumer"}
        api, consumer = parts["api"]["address"], parts["consumer"]["address"]
        assert httpx.get(f"{api}/readyz").status_code == httpx.get(f"{consumer}/readyz").status_code == 200
        stored = httpx.post(f"{api}/v1/memories?wait=indexed", json={"content": "hello"}, timeout=60).json()
        assert stored["indexed"] is True
        told = httpx.post(f"{api}/v1/recall", json={"query": "greeting", "explain": True}, timeout=60).json()
        assert "vectors" in told["hits"][0]["explain"]["arms"]
        assert all(members(str(folder)) for folder in folders(parts))
    assert process.returncode == 0
    assert [folder for folder in folders(parts) if folder.exists() or members(str(folder))] == []


def test_a_part_that_dies_ends_the_rest_and_is_named() -> None:
    """Half a stack would only confuse."""
    with up(SFM_EMBEDDING="none") as (process, parts):
        process_id = parts["Redis"]["process"]
        subprocess.run(["kill", "-9", str(process_id)], check=True)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"Redis ended" in told
    assert [folder for folder in folders(parts) if folder.exists()] == []


def test_kept_data_is_there_the_next_time() -> None:
    """With `--keep` the second run goes on where the first one ended, although that one was killed."""
    home = Folder("keep")
    kept = home.path / "data"
    with up("--keep", str(kept), SFM_EMBEDDING="none") as (process, parts):
        httpx.post(f"{parts['api']['address']}/v1/memories", json={"content": "kept"}, timeout=60).raise_for_status()
        process.kill()
    home_is_quiet(kept)
    with up("--keep", str(kept), SFM_EMBEDDING="none") as (_, parts):
        listed = httpx.get(f"{parts['api']['address']}/v1/memories", timeout=60).json()["items"]
        assert [memory["content"] for memory in listed] == ["kept"]
        stored = httpx.post(f"{parts['api']['address']}/v1/memories?wait=indexed", json={"content": "new"}, timeout=60)
        assert stored.json()["indexed"] is True
    home.close()


def home_is_quiet(folder: Path) -> None:
    """Wait until nothing runs in a folder."""
    deadline = time.monotonic() + 30
    while members(str(folder)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
