"""What operators see: readiness, shared limits, schema by command only, and refusals at the start."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from sfm_core.testing.servers import KafkaAt, PostgresAt, RedisAt, RedisServer
from tests.enterprise.deployment import Deploy, Deployment, Place, deployed, readiness

REQUIRED = {
    "api": {"storage"},
    "consumer": {"storage", "events", "vectors"},
    "relay": {"storage", "events"},
}


def sfm(place: Place, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run one command of the command line in the place's environment."""
    command = [str(Path(sys.executable).with_name("sfm")), *arguments]
    environment = place.environment(**settings)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def empty(postgres_server: PostgresAt, redis_server: RedisAt, kafka_server: KafkaAt) -> Any:
    """A place that nobody used yet."""
    made = Place(postgres_server, redis_server, kafka_server)
    yield made
    made.close()


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Tell whether something came to hold in time."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if holds():
            return True
        time.sleep(0.1)
    return False


def test_every_process_tells_which_backends_it_needs(stack: Deployment) -> None:
    """Name, port, state and whether it is required, on 200 as well."""
    for program in stack.programs:
        status, found = readiness(program)
        assert (status, found["status"]) == (200, "ready")
        kind = program.title.split("-")[0]
        backends = found["backends"].values()
        assert {backend["port"] for backend in backends if backend["required"]} == REQUIRED[kind]
        assert {backend["state"] for backend in backends} == {"up"}


def test_readiness_tells_within_five_seconds_that_the_cache_is_gone_and_back(
    own_redis: RedisServer, postgres_server: PostgresAt, kafka_server: KafkaAt
) -> None:
    """The service stays ready, since it does not need it, and names what is down; writes and recalls go on."""
    place = Place(postgres_server, own_redis, kafka_server)
    with deployed(place, apis=1, consumers=0, relay=False, SFM_EMBEDDING="none") as running:
        api = running.apis[0]

        def state() -> str:
            status, found = readiness(api)
            assert status == 200
            return str(next(b["state"] for b in found["backends"].values() if b["port"] == "cache"))

        for down, up in ((own_redis.kill, own_redis.start), (own_redis.freeze, own_redis.thaw)):
            down()
            assert within(5, lambda: state() != "up")
            for number in range(5):
                body = {"content": f"without a cache {down.__name__} {number}"}
                assert httpx.post(f"{api.url}/v1/memories", json=body, timeout=30).status_code == 201
                answer = httpx.post(f"{api.url}/v1/recall", json={"query": f"cache {number}"}, timeout=30).json()
                assert body["content"] in [hit["memory"]["content"] for hit in answer["hits"]]
            up()
            assert within(5, lambda: state() == "up")
    place.close()


def test_the_rate_limit_counts_over_all_replicas(deploy: Deploy) -> None:
    """Thirty calls a minute are thirty, whichever replica is asked; another route has its own."""
    running = deploy(consumers=0, relay=False, SFM_EMBEDDING="none", SOMA_RATE_LIMIT_MAX="30")
    passed: Counter[int] = Counter()
    statuses = []
    for number in range(70):
        before = int(time.time()) // 60
        status = httpx.get(f"{running.apis[number % 2].url}/v1/stats", timeout=30).status_code
        statuses.append(status)
        if status == 200 and before == int(time.time()) // 60:
            passed[before] += 1
    assert max(passed.values()) <= 30
    assert statuses[:30] == [200] * 30
    assert 429 in statuses
    assert httpx.get(f"{running.apis[0].url}/v1/memories", timeout=30).status_code == 200


def test_without_eventing_the_service_indexes_by_itself(deploy: Deploy) -> None:
    """No Kafka, no consumer: a write is indexed at once."""
    running = deploy(consumers=0, relay=False, EVENTING_ENABLED="false", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    with running.client(0) as one, running.client(1) as other:
        stored = one.post("/v1/memories?wait=indexed", json={"content": "Ada bought a puppy"}).json()
        assert stored["indexed"] is True
        answer = other.post("/v1/recall", json={"query": "somebody's pets", "explain": True}).json()
        assert "vectors" in answer["hits"][0]["explain"]["arms"]


def test_cloud_managed_names_every_server_that_is_not_spoken_to_safely(empty: Place) -> None:
    """TLS and credentials of all of them, in one message, and no secret in it."""
    refused = sfm(empty, "migrate", MEMORY_MODE="cloud_managed")
    assert refused.returncode == 1
    for plugin in ("POSTGRES", "PGVECTOR", "REDIS", "KAFKA"):
        assert f"SFM_{plugin}__" in refused.stderr
    assert "allowed" in refused.stderr
    assert "postgresql://" not in refused.stderr


def test_the_command_that_migrates_makes_what_the_service_needs(empty: Place) -> None:
    """A consumer starts on what `sfm migrate` made, and a second migration changes nothing."""
    made = sfm(empty, "migrate")
    assert made.returncode == 0, made.stderr
    again = sfm(empty, "migrate")
    assert again.returncode == 0, again.stderr
    with deployed(empty, apis=1, consumers=1, relay=False, SFM_EMBEDDING="none") as running:
        answer = httpx.post(f"{running.apis[0].url}/v1/memories?wait=indexed", json={"content": "x"}, timeout=60)
        assert answer.json()["indexed"] is True


def test_a_storage_that_is_down_is_named_at_the_start(empty: Place) -> None:
    """The service does not start half, and the connection string is not told."""
    url = "postgresql://someone:hunter2@127.0.0.1:1/nothing"
    refused = sfm(empty, "serve", POSTGRES_URL=url, SFM_PORT="0")
    assert refused.returncode == 1
    assert "postgres/storage" in refused.stderr
    assert "hunter2" not in refused.stderr
