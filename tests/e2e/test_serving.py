"""Starting, stopping, failing to start, several workers, and kill -9."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import pytest

OTLP = bool(list(metadata.distributions(name="opentelemetry-exporter-otlp-proto-http")))
JSON = {"Content-Type": "application/json"}


def failed(service: Any) -> str:
    """Return what a service that must not start said, after checking that it ended with code 1."""
    assert service.process.wait(timeout=30) == 1, service.text
    return str(service.text)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"MEMORY_MODE": "devel"}, "MEMORY_MODE"),
        ({"SFM_PORT": "99999"}, "SFM_PORT"),
        ({"SFM_HOST": "0.0.0.0"}, "SFM_HOST"),
        ({"SFM_HOST": "192.0.2.1"}, "SFM_HOST"),
        ({"SFM_HOST": "example.com"}, "SFM_HOST"),
        ({"MEMORY_MODE": "test", "UVICORN_WORKERS": "2"}, "UVICORN_WORKERS"),
        ({"SFM_STORAGE": "nosuch"}, "nosuch"),
        ({"MEMORY_MODE": "cloud_managed"}, "POSTGRES_URL"),
        ({"MEMORY_MODE": "cloud_managed", "SFM_REQUIRE_KEYS": "false"}, "SFM_REQUIRE_KEYS"),
        ({"SFM_HOST": "0.0.0.0", "SFM_REQUIRE_KEYS": "false"}, "SFM_HOST"),
        ({"SFM_HOST": "0.0.0.0", "UVICORN_WORKERS": "2"}, "sfm keys create"),
        ({"SFM_COLOUR": "red"}, "SFM_COLOUR"),
        ({"SOMA_RATE_LIMIT_MAX": "many"}, "SOMA_RATE_LIMIT_MAX"),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"},
            "opentelemetry-exporter-otlp-proto-http",
            marks=pytest.mark.skipif(OTLP, reason="the exporter is installed"),
        ),
    ],
)
def test_a_bad_configuration_is_named_and_nothing_listens(launch: Any, variables: dict[str, str], message: str) -> None:
    """Exit code 1 and one message, without a traceback."""
    text = failed(launch(**variables))
    assert message in text
    assert "Traceback" not in text


def test_a_port_in_use_is_named(launch: Any) -> None:
    """Whoever holds it goes on undisturbed."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        text = failed(launch(SFM_PORT=port))
    assert f"127.0.0.1:{port}" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("workers", [1, 2])
def test_a_data_file_that_is_none_is_named_and_left_alone(launch: Any, tmp_path: Path, workers: int) -> None:
    """Nothing is overwritten."""
    service = launch()
    service.wait_until_ready()
    assert service.stop() == 0
    files = [path for path in (tmp_path / "data").iterdir() if path.suffix in (".db", ".sqlite", ".sqlite3")]
    assert files
    for path in files:
        path.write_bytes(b"this is no database" * 1000)
    text = failed(launch(UVICORN_WORKERS=workers))
    assert "CorruptData" in text
    assert all(path.read_bytes() == b"this is no database" * 1000 for path in files)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_service_with_code_0(launch: Any, number: int) -> None:
    """Gracefully; the port is free for the next one at once."""
    service = launch()
    service.wait_until_ready()
    assert service.stop(number) == 0
    again = launch(SFM_PORT=service.port)
    again.wait_until_ready()
    assert again.stop() == 0


def test_nothing_is_written_outside_the_data_directory(serve: Any, tmp_path: Path) -> None:
    """Only the test's own files lie beside it, and the directory is this user's alone."""
    with serve() as service:
        httpx.post(f"{service.url}/v1/memories", json={"content": "x"})
    assert {path.name for path in tmp_path.iterdir()} == {"data", "service.py", "service-0.log"}
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


async def test_two_workers_share_one_store(serve: Any) -> None:
    """A write is seen by every worker at once, twins and keys hold across them, metrics are those of both."""
    with serve(UVICORN_WORKERS=2) as service:
        workers = set()
        for n in range(200):
            async with service.client() as client:
                answer = await client.post("/v1/memories", json={"content": f"heliograph {n}"})
                assert answer.status_code == 201
                workers.add(answer.headers["x-request-id"].split("-")[0])
                if len(workers) == 2 and n >= 20:
                    break
        assert len(workers) == 2
        stored = n + 1
        clients = [service.client() for _ in range(16)]
        twins = await asyncio.gather(*(client.post("/v1/memories", json={"content": "twin"}) for client in clients))
        assert sorted(a.status_code for a in twins) == [200] * 15 + [201]
        key = {"Idempotency-Key": "k"}
        keyed = await asyncio.gather(
            *(c.post("/v1/memories?dedupe=off", json={"content": "keyed"}, headers=key) for c in clients)
        )
        assert len({a.json()["memory"]["id"] for a in keyed if a.status_code == 201}) == 1
        for client in clients:
            assert (await client.get("/v1/stats")).json()["memories"] == stored + 2
            found = await client.post("/v1/recall", json={"query": "heliograph", "k": 1000})
            contents_found = [hit["memory"]["content"] for hit in found.json()["hits"]]
            assert sum(content.startswith("heliograph") for content in contents_found) == stored
        await asyncio.sleep(1.5)
        for client in clients[:4]:
            counted = re.search(r'route="/v1/memories",status="201"} (\d+)', (await client.get("/metrics")).text)
            assert counted is not None
            assert int(counted[1]) == sum(a.status_code == 201 for a in (*twins, *keyed)) + stored
        for client in clients:
            await client.aclose()


def workers_of(service: Any) -> list[int]:
    """Return the processes that said they are ready."""
    return [line["process"] for line in service.log if line["event"] == "ready"]


def until(holds: Any) -> None:
    """Return when `holds` does."""
    for _ in range(300):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("it never held")


def test_a_worker_that_dies_is_replaced(serve: Any) -> None:
    """The others serve on, and nothing that was acknowledged is lost."""
    with serve(UVICORN_WORKERS=2) as service:
        until(lambda: len(workers_of(service)) == 2)
        assert httpx.post(f"{service.url}/v1/memories", json={"content": "kept"}).status_code == 201
        os.kill(workers_of(service)[0], signal.SIGKILL)
        until(lambda: len(workers_of(service)) == 3)
        assert httpx.get(f"{service.url}/v1/stats").json()["memories"] == 1


def test_workers_end_when_their_supervisor_was_killed(serve: Any) -> None:
    """Nobody holds the port for ever."""
    with serve(UVICORN_WORKERS=2) as service:
        until(lambda: len(workers_of(service)) == 2)
        os.kill(service.process.pid, signal.SIGKILL)
        service.process.wait(timeout=10)

        def gone() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", service.port)) != 0

        until(gone)


def write(port: int, name: str) -> list[str]:
    """Store memories, each of a word of its own, until the connection breaks; return those that were acknowledged."""
    acknowledged: list[str] = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        for n in range(1000):
            content = f"the q{''.join(chr(ord('a') + int(digit)) for digit in f'{name}{n:03}')}x"
            connection.request("POST", "/v1/memories", json.dumps({"content": content}), JSON)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 201
            acknowledged.append(content)
    return acknowledged


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
async def test_kill_9_loses_nothing_that_was_acknowledged(launch: Any, workers: int) -> None:
    """At several moments of a stream of writes; after each the store is whole and index and records agree."""
    acknowledged: set[str] = set()
    for round in range(4):
        service = launch(UVICORN_WORKERS=workers)
        service.wait_until_ready()
        lanes = [asyncio.create_task(asyncio.to_thread(write, service.port, f"{round}{lane}")) for lane in range(8)]
        await asyncio.sleep(0.3 + 0.1 * round)
        service.kill()
        acknowledged.update(*await asyncio.gather(*lanes))
    service = launch(UVICORN_WORKERS=workers)
    service.wait_until_ready()
    async with service.client() as client:
        stored = await contents(client)
        assert acknowledged
        assert len(stored) == len(set(stored))
        assert acknowledged <= set(stored)
        # Of each lane one write may have been stored without its answer having come through.
        assert len(set(stored) - acknowledged) <= 8 * 4
        for content in sorted(acknowledged)[:: max(1, len(acknowledged) // 20)]:
            answer = await client.post("/v1/recall", json={"query": content, "k": 1})
            assert content in {hit["memory"]["content"] for hit in answer.json()["hits"]}
    assert service.stop() == 0


async def contents(client: httpx.AsyncClient) -> list[str]:
    """Return the contents of all memories, page by page."""
    found: list[str] = []
    params = {"limit": "1000", "order": "created_at"}
    while True:
        page = (await client.get("/v1/memories", params=params)).json()
        found += [item["content"] for item in page["items"]]
        if page["next"] is None:
            return found
        params["cursor"] = page["next"]
