"""The whole evented stack as separate processes, and a supervisor's work: what was killed is started again."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sfm_app.dev.program import Program
from sfm_app.dev.stack import Servers, apart, servers
from sfm_core.testing.servers import Server
from tests.fault import letters

PAUSE = 0.03
TTL = 120
"""Seconds that a cached copy lives."""


def install_plugin(folder: Path) -> None:
    """Make the embedder an installed distribution of whoever has `folder` on the path."""
    shutil.copy(letters.__file__, folder / "sfm_letters.py")
    metadata = folder / "sfm_letters-1.dist-info"
    metadata.mkdir()
    needs = f"Requires-Dist: sfm-core=={version('sfm-core')}"
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: sfm-letters\nVersion: 1\n{needs}\n")
    (metadata / "entry_points.txt").write_text(f"[sfm.plugins]\n{letters.NAME} = sfm_letters\n")


class Fleet:
    """Servers, two API replicas, a relay and two consumers.

    Attributes:
        servers: PostgreSQL, Redis and Kafka.
        apis, relay, consumers: our processes.
        environment: what they have in common.
        folder: where files tell the embedder what to do.
    """

    def __init__(self, own: Servers, folder: Path) -> None:
        self.servers = own
        self.folder = folder
        self.environment = {
            **apart(),
            **own.environment(),
            "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "PYTHONSAFEPATH": "1",
            "SFM_EMBEDDING": letters.NAME,
            "SFM_LETTERS__FOLDER": str(folder),
            "SFM_CACHE_TTL": str(TTL),
            "SFM_CONSUMER_ATTEMPTS": "2",
            "SFM_KAFKA__PARTITIONS": "4",
            "SFM_KAFKA__SESSION_TIMEOUT": "6",
            "SOMA_RATE_LIMIT_MAX": "0",
            "SFM_LOG_LEVEL": "warning",
        }
        self.apis = [self.program(f"api-{n}", "serve") for n in (1, 2)]
        self.relay = self.program("relay", "relay")
        self.consumers = [self.consumer(n) for n in (1, 2)]

    def program(self, name: str, *arguments: str, **more: str) -> Program:
        """Return a process of ours, not started yet."""
        return Program(name, arguments, {**self.environment, **more})

    def consumer(self, number: int) -> Program:
        """Return a consumer, not started yet, that takes its time for a batch and leaves the relay to others."""
        return self.program(f"consumer-{number}", "consumer", "--no-relay", SFM_LETTERS__PAUSE=str(PAUSE))

    @property
    def programs(self) -> list[Program]:
        """All processes of ours."""
        return [*self.apis, self.relay, *self.consumers]

    @property
    def urls(self) -> list[str]:
        """Where the replicas answer."""
        return [api.url for api in self.apis]

    def start(self) -> None:
        """Start all: the first API makes the schema, the others follow."""
        self.apis[0].start()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda program: program.start(), self.programs[1:]))

    def ended(self) -> list[str]:
        """Name the processes that ended by themselves, with what they said last."""
        return [f"{program.title}: {program.log[-2000:]}" for program in self.programs if not program.running]

    def close(self) -> None:
        """Stop all processes."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda program: program.close(), self.programs))


@contextmanager
def running_fleet() -> Iterator[Fleet]:
    """Run servers and processes for as long as the block lasts."""
    folder = Path(tempfile.mkdtemp(prefix="sfm-letters-"))
    try:
        install_plugin(folder)
        with servers() as own:
            fleet = Fleet(own, folder)
            try:
                fleet.start()
                yield fleet
            finally:
                fleet.close()
    finally:
        shutil.rmtree(folder)


def kill_and_restart(server: Server) -> None:
    """Kill with SIGKILL and start again at once, without waiting until it answers."""
    server.kill()
    server.start(wait=False)


def supervise(server: Server, seconds: float) -> None:
    """Wait until a server or process answers; start it again whenever it gives up, as while the storage is away.

    Raises:
        RuntimeError: it does not answer in time; the message ends with its last output.
    """
    ends = time.monotonic() + seconds
    while not server.ready():
        if time.monotonic() > ends:
            raise RuntimeError(f"{server.title} does not answer after {seconds:g} s: {server.log[-2000:]}")
        if not server.running:
            server.start(wait=False)
        time.sleep(0.1)


def probe(program: Program) -> tuple[int, Mapping[str, Any]] | None:
    """Return status and document of `/readyz`, None when there is no answer."""
    connection = HTTPConnection("127.0.0.1", program.port, timeout=4)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def states(program: Program) -> dict[str, str] | None:
    """Return the state of each port as `/readyz` tells it, with the status under "status"; None without an answer."""
    found = probe(program)
    if found is None:
        return None
    status, document = found
    return {"status": str(status), **{told["port"]: told["state"] for told in document["backends"].values()}}


def within(seconds: float, true: Any) -> float | None:
    """Wait until `true()`; return how long that took, None when it took longer than `seconds`."""
    begun = time.monotonic()
    while not true():
        if time.monotonic() - begun > seconds:
            return None
        time.sleep(0.05)
    return time.monotonic() - begun
