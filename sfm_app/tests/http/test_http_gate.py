"""The middleware: request ids, hosts, origins, rate limits, logs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import httpx
import pytest

from sfm_app.http.limiter import Limiter
from sfm_app.observability.metrics import Metrics
from sfm_core.errors import BackendUnavailable
from sfm_core.ports.cache import Cache
from sfm_core.services.steady import SteadyCache


async def test_every_answer_carries_a_request_id(client: httpx.AsyncClient) -> None:
    """Ours, or the caller's when it is a plain word."""
    first, second = [(await client.get("/healthz")).headers["x-request-id"] for _ in range(2)]
    assert first != second
    given = await client.get("/healthz", headers={"X-Request-Id": "my-trace.7"})
    assert given.headers["x-request-id"] == "my-trace.7"
    for odd in ("two words", "x" * 65, "<script>"):
        answer = await client.get("/healthz", headers={"X-Request-Id": odd})
        assert answer.headers["x-request-id"] != odd


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9595", "127.0.0.1:80", "127.8.8.8", "[::1]:9595", "sfm.localhost"]
)
async def test_loopback_names_are_answered(client: httpx.AsyncClient, host: str) -> None:
    """Any port, any case."""
    assert (await client.get("/healthz", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["example.com", "127.0.0.1.example.com", "10.0.0.1", "localhost.example.com", "0.0.0.0"]
)
async def test_a_rebound_name_is_refused(client: httpx.AsyncClient, host: str) -> None:
    """A page of another domain that points at this machine reads and writes nothing."""
    assert (await client.get("/healthz", headers={"Host": host})).status_code == 421
    answer = await client.post("/v1/memories", json={"content": "x"}, headers={"Host": host})
    assert answer.status_code == 421
    assert (await client.get("/v1/stats")).json()["versions"] == 0


async def test_a_page_of_another_origin_may_not_write(client: httpx.AsyncClient) -> None:
    """Browsers tell where a request comes from."""
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert (await client.post("/v1/memories", json={"content": "x"}, headers=cross)).status_code == 403
    same = {"Sec-Fetch-Site": "same-origin"}
    assert (await client.post("/v1/memories", json={"content": "x"}, headers=same)).status_code == 201


async def test_head_is_answered_like_get(client: httpx.AsyncClient) -> None:
    """Status and headers are those of GET."""
    answer = await client.head("/healthz")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert (await client.head("/nowhere")).status_code == 404


async def test_the_rate_limit_counts_per_endpoint_and_says_when_to_come_back(start: Any) -> None:
    """Probes are never limited; ids do not make new endpoints."""
    async with start(rate_limit=3) as client:
        path = "/v1/memories/00000000-0000-7000-8000-00000000000"
        statuses = [(await client.get(f"{path}{n}")).status_code for n in range(5)]
        assert statuses == [404, 404, 404, 429, 429]
        answer = await client.get(f"{path}9")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert (await client.get("/v1/stats")).status_code == 200
        assert {(await client.get("/healthz")).status_code for _ in range(9)} == {200}
        assert "sfm_rate_limited_total 3" in (await client.get("/metrics")).text


class Counting:
    """A cache that counts, or does not answer."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.alive = True
        self.asked = 0

    async def increment(self, key: str, *, ttl: float, by: int = 1) -> int:
        """Count."""
        self.asked += 1
        if not self.alive:
            raise BackendUnavailable("counting/cache: gone")
        self.counts[key] = self.counts.get(key, 0) + by
        return self.counts[key]


def steady(cache: Counting, clock: Callable[[], float] = time.monotonic) -> SteadyCache:
    """The cache as services use it."""
    return SteadyCache(cast(Cache, cache), patience=1.0, clock=clock)


async def test_a_window_of_the_rate_limit_lasts_a_minute() -> None:
    """The wait is the rest of it, and the next one starts anew."""
    now = 59.0
    limiter = Limiter(steady(Counting()), 1, Metrics("0"), clock=lambda: now)
    assert [await limiter.seconds_to_wait("a", "GET /") for _ in range(2)] == [0, 1]
    assert await limiter.seconds_to_wait("b", "GET /") == 0
    now = 60.0
    assert await limiter.seconds_to_wait("a", "GET /") == 0


async def test_while_the_cache_is_dead_a_worker_counts_for_itself() -> None:
    """The cache is left alone for a while, no request waits for it, and the limit holds in each worker."""
    now = 0.0
    cache, metrics = Counting(), Metrics("0")
    limiter = Limiter(steady(cache, lambda: now), 2, metrics, clock=lambda: now)
    cache.alive = False
    assert [await limiter.seconds_to_wait("a", "GET /") for _ in range(4)] == [0, 0, 60, 60]
    assert await limiter.seconds_to_wait("b", "GET /") == 0
    assert cache.asked == 1
    assert "sfm_rate_limit_local_total 5" in metrics.exposition()
    now = 61.0
    assert await limiter.seconds_to_wait("a", "GET /") == 0
    now, cache.alive = 70.0, True
    assert [await limiter.seconds_to_wait("a", "GET /") for _ in range(3)] == [0, 0, 50]


async def test_a_request_is_logged_without_content(client: httpx.AsyncClient, logs: list[Any]) -> None:
    """Method, route, status, time and id; neither bodies nor query strings nor ids of memories."""
    answer = await client.post("/v1/memories", json={"content": "very secret"})
    await client.get(f"/v1/memories/{answer.json()['memory']['id']}?as_of=2020-01-01")
    lines = [line for line in logs if line["event"] == "request"]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("POST", "/v1/memories", 201),
        ("GET", "/v1/memories/{id}", 404),
    ]
    assert lines[0]["request_id"] == answer.headers["x-request-id"]
    text = str(logs)
    assert "secret" not in text
    assert "2020" not in text
    assert answer.json()["memory"]["id"] not in text


async def test_answers_cannot_be_taken_for_something_else_by_a_browser(client: httpx.AsyncClient) -> None:
    """The media type that is told is the one that counts."""
    for path in ("/healthz", "/v1/memories", "/nowhere"):
        assert (await client.get(path)).headers["x-content-type-options"] == "nosniff"
