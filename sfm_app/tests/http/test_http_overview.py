"""Namespaces, counts, plugins, changes, archives and probes over REST."""

from __future__ import annotations

import gzip
from typing import Any

import httpx
import pytest


@pytest.fixture
async def filled(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Memories of two namespaces, one deleted, two linked."""
    memories = [{"content": f"{ns} {n}", "namespace": ns} for ns in ("a", "a/b") for n in range(3)]
    results = (await client.post("/v1/memories/batch", json={"memories": memories})).json()["results"]
    first, second, third = (result["memory"]["id"] for result in results[:3])
    await client.post("/v1/links", json={"source": first, "target": second})
    await client.delete(f"/v1/memories/{third}")
    return client


async def test_namespaces_and_counts_cover_one_a_subtree_or_everything(filled: httpx.AsyncClient) -> None:
    """The same scopes for both routes."""
    everything = (await filled.get("/v1/namespaces")).json()["items"]
    assert [(n["namespace"], n["memories"], n["deleted"], n["links"]) for n in everything] == [
        ("a", 2, 1, 1),
        ("a/b", 3, 0, 0),
    ]
    assert len((await filled.get("/v1/namespaces?namespace=a")).json()["items"]) == 1
    stats = (await filled.get("/v1/stats")).json()
    assert (stats["memories"], stats["deleted"], stats["links"], stats["last_sequence"]) == (5, 1, 1, 8)
    assert stats["indexed_sequence"] == 8
    assert (await filled.get("/v1/stats?namespace=a/b")).json()["memories"] == 3
    assert (await filled.get("/v1/stats?namespace=a/**")).json()["memories"] == 5


async def test_plugins_and_capabilities_say_what_is_loaded(client: httpx.AsyncClient) -> None:
    """Distribution and version of each plugin; mode, slots and limits of the plan."""
    [plugin] = (await client.get("/v1/plugins")).json()["items"]
    assert (plugin["name"], plugin["distribution"]) == ("inmemory", "sfm-plugin-inmemory")
    found = (await client.get("/v1/capabilities")).json()
    assert (found["mode"], found["slots"]["storage"]["backend"]) == ("test", "inmemory")
    assert found["limits"]["batch"] == 1000


async def test_changes_are_paged_cloud_events_without_content(filled: httpx.AsyncClient) -> None:
    """In order of sequence; `next` continues."""
    page = (await filled.get("/v1/changes?limit=5")).json()
    rest = (await filled.get("/v1/changes", params={"after": page["next"]})).json()
    events: list[dict[str, Any]] = [*page["items"], *rest["items"]]
    assert [event["data"]["sequence"] for event in events] == list(range(1, 9))
    assert (page["last_sequence"], rest["next"]) == (8, None)
    assert [event["type"] for event in events[-2:]] == ["memory.linked", "memory.deleted"]
    assert events[-2]["data"]["target"]
    assert set(events[0]) == {
        *("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data")
    }
    only = (await filled.get("/v1/changes?namespace=a/b")).json()["items"]
    assert {event["data"]["namespace"] for event in only} == {"a/b"}
    assert (await filled.get("/v1/changes?after=-1")).status_code == 422


async def test_an_archive_goes_out_and_comes_in_again(filled: httpx.AsyncClient, start: Any) -> None:
    """Into an empty service everything is new; a second time nothing is; the archives are alike."""
    answer = await filled.get("/v1/export")
    assert answer.headers["content-type"] == "application/x-ndjson"
    headers = {"Content-Type": "application/x-ndjson"}
    async with start() as other:
        report = (await other.post("/v1/import", content=answer.content, headers=headers)).json()
        assert (report["memories"], report["links"], report["added"], report["skipped"]) == (6, 1, 7, 0)
        again = (await other.post("/v1/import", content=answer.content, headers=headers)).json()
        assert (again["added"], again["skipped"]) == (0, 7)
        assert (await other.get("/v1/namespaces")).json() == (await filled.get("/v1/namespaces")).json()
        exported = (await other.get("/v1/export")).content.splitlines()[1:-1]
    assert sorted(exported) == sorted(answer.content.splitlines()[1:-1])


async def test_a_damaged_archive_stores_nothing(filled: httpx.AsyncClient, start: Any) -> None:
    """Cut off, changed, or with a line that is none: 422 and an empty service."""
    archive = (await filled.get("/v1/export")).content
    headers = {"Content-Type": "application/x-ndjson"}
    damaged = (archive[:-20], archive.replace(b"a/b 1", b"a/b 7"), b"{}\n" + archive, b"", b"\xff\xfe\n")
    async with start() as other:
        for content in damaged:
            answer = await other.post("/v1/import", content=content, headers=headers)
            assert answer.status_code == 422, content[:40]
        assert (await other.get("/v1/stats")).json()["versions"] == 0


async def test_an_archive_of_another_memory_with_the_same_id_is_409(filled: httpx.AsyncClient, start: Any) -> None:
    """Nothing of it is stored."""
    headers = {"Content-Type": "application/x-ndjson"}
    async with start() as other:
        [theirs] = (await filled.get("/v1/memories?namespace=a&limit=1")).json()["items"]
        await other.post("/v1/memories", json={"content": "mine", "id": theirs["id"]})
        archive = (await filled.get("/v1/export")).content
        answer = await other.post("/v1/import", content=archive, headers=headers)
        assert answer.status_code == 409
        assert (await other.get("/v1/stats")).json()["memories"] == 1


async def test_an_archive_is_not_bound_by_the_limit_of_bodies(filled: httpx.AsyncClient, start: Any) -> None:
    """It streams in, whatever its size."""
    archive = (await filled.get("/v1/export")).content
    async with start(limits={"body_bytes": 100}) as other:
        answer = await other.post("/v1/import", content=archive, headers={"Content-Type": "application/x-ndjson"})
        assert answer.status_code == 200
        assert (await other.post("/v1/memories", json={"content": "x" * 100})).status_code == 413


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "text/plain"},
        {},
        {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"},
    ],
)
async def test_an_archive_of_another_media_type_is_415(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """A compressed one too."""
    answer = await client.post("/v1/import", content=gzip.compress(b"{}"), headers=headers)
    assert answer.status_code == 415


async def test_a_repeated_import_with_one_key_is_answered_as_the_first(filled: httpx.AsyncClient, start: Any) -> None:
    """Another archive under the key is 422."""
    archive = (await filled.get("/v1/export")).content
    other_archive = (await filled.get("/v1/export?namespace=a/b")).content
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "one"}
    async with start() as other:
        first = await other.post("/v1/import", content=archive, headers=headers)
        assert first.status_code == 200
        assert (await other.post("/v1/import", content=archive, headers=headers)).status_code == 200
        assert (await other.post("/v1/import", content=other_archive, headers=headers)).status_code == 422


async def test_the_process_lives_without_asking_anything(client: httpx.AsyncClient) -> None:
    """200 with a word."""
    assert (await client.get("/healthz")).json() == {"status": "ok"}


async def test_readiness_tells_each_backend(client: httpx.AsyncClient) -> None:
    """Also when all is well."""
    body = (await client.get("/readyz")).json()
    assert body["status"] == "ready"
    assert {state["port"]: (state["required"], state["state"]) for state in body["backends"].values()} == {
        "storage": (True, "up"),
        "cache": (False, "up"),
        "events": (False, "up"),
    }


async def test_metrics_count_by_route_and_status(client: httpx.AsyncClient) -> None:
    """Requests and their seconds; ids never become labels."""
    await client.post("/v1/memories", json={"content": "x"})
    await client.get("/v1/memories/00000000-0000-7000-8000-000000000000")
    await client.get("/nowhere/at/all")
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = answer.text
    assert 'sfm_http_requests_total{method="POST",route="/v1/memories",status="201"} 1\n' in text
    assert 'sfm_http_requests_total{method="GET",route="/v1/memories/{id}",status="404"} 1\n' in text
    assert 'sfm_http_requests_total{method="GET",route="unmatched",status="404"} 1\n' in text
    assert 'sfm_http_request_duration_seconds_bucket{method="POST",route="/v1/memories",le="+Inf"} 1\n' in text
    assert "00000000" not in text
