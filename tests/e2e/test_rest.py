"""The service in development mode, as users run it: embedded, durable, over a real connection."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

ADA = {"content": "Ada moved to Turin", "namespace": "acme/agent-7", "author": "Ada"}
JSON = {"Content-Type": "application/json"}


async def test_every_route_answers(serve: Any) -> None:
    """One walk through the whole API; nothing fails and nothing is left out."""
    with serve() as service:
        async with service.client() as client:
            document = (await client.get("/schema/openapi.json")).json()
            walked: set[tuple[str, str]] = set()

            async def call(method: str, template: str, status: int = 200, **options: Any) -> Any:
                values = options.pop("path", {})
                answer = await client.request(method, template.format(**values), **options)
                assert answer.status_code == status, (method, template, answer.text)
                walked.add((template, method.lower()))
                return answer.json() if answer.headers["content-type"] == "application/json" else answer

            first = (await call("POST", "/v1/memories", 201, json=ADA))["memory"]["id"]
            batch = {"memories": [{**ADA, "author": "Bob", "content": "Bob bought a bicycle", "coordinate": [1, 2]}]}
            second = (await call("POST", "/v1/memories/batch", json=batch))["results"][0]["memory"]["id"]
            one = {"id": first}
            assert len((await call("GET", "/v1/memories", params={"namespace": "acme/**"}))["items"]) == 2
            assert (await call("GET", "/v1/memories/{id}", path=one))["content"] == ADA["content"]
            found = await call(
                "GET", "/v1/memories/by-coordinate", params={"namespace": "acme/agent-7", "coordinate": "1,2"}
            )
            assert [m["id"] for m in found["items"]] == [second]
            assert (await call("PATCH", "/v1/memories/{id}", path=one, json={"importance": 1}))[
                "outcome"
            ] == "versioned"
            assert len((await call("GET", "/v1/memories/{id}/history", path=one))["items"]) == 2
            await call("POST", "/v1/memories/{id}/restore", path=one, json={"version": 1})
            query = {"query": "Where does Ada live?", "namespace": "acme/agent-7"}
            assert (await call("POST", "/v1/recall", json=query))["hits"][0]["memory"]["id"] == first
            assert len((await call("POST", "/v1/recall/batch", json={"queries": [query, query]}))["answers"]) == 2
            ends = {"source": first, "target": second}
            await call("POST", "/v1/links", 201, json=ends)
            assert len((await call("GET", "/v1/memories/{id}/neighbors", path=one))["items"]) == 1
            assert (await call("POST", "/v1/paths", json=ends))["cost"] == 1.0
            await call("DELETE", "/v1/links", params=ends)
            operation = (await call("DELETE", "/v1/memories/{id}", path=one))["operation"]
            assert (await call("GET", "/v1/operations/{id}", path={"id": operation}))["state"] == "done"
            assert (await call("POST", "/v1/operations/{id}/undo", path={"id": operation}))["state"] == "undone"
            everything = {"namespace": "acme/**", "filter": {"and": []}}
            assert (await call("POST", "/v1/forget", json=everything))["count"] == 2
            assert len((await call("GET", "/v1/namespaces"))["items"]) == 1
            assert (await call("GET", "/v1/stats"))["memories"] == 2
            assert (await call("GET", "/v1/changes"))["last_sequence"] == 8
            archive = (await call("GET", "/v1/export")).content
            ndjson = {"Content-Type": "application/x-ndjson"}
            assert (await call("POST", "/v1/import", content=archive, headers=ndjson))["added"] == 0
            assert {p["name"] for p in (await call("GET", "/v1/plugins"))["items"]} >= {"sqlite", "inmemory"}
            assert (await call("GET", "/v1/capabilities"))["mode"] == "development"
            await call("DELETE", "/v1/namespaces/{namespace}", path={"namespace": "acme/agent-7"})
            for probe in ("/healthz", "/readyz", "/metrics", "/schema", "/schema/openapi.json"):
                await call("GET", probe)
            everything = {"namespaces": ["**"], "verbs": ["admin"]}
            key = await call("POST", "/v1/keys", 201, json=everything)
            client.headers["Authorization"] = f"Bearer {key['key']}"
            assert [item["id"] for item in (await call("GET", "/v1/keys"))["items"]] == [key["id"]]
            await call("DELETE", "/v1/keys/{id}", path={"id": key["id"]})
            served = {(path, method) for path, methods in document["paths"].items() for method in methods}
            assert walked == served


async def test_what_was_acknowledged_is_there_after_a_restart(serve: Any) -> None:
    """Memories, history, links, idempotency keys and undo."""
    key = {"Idempotency-Key": "one"}
    with serve() as service:
        async with service.client() as client:
            first = (await client.post("/v1/memories", json=ADA, headers=key)).json()
            id = first["memory"]["id"]
            await client.patch(f"/v1/memories/{id}", json={"importance": 1})
            gone = (await client.post("/v1/memories", json={"content": "gone"})).json()["memory"]["id"]
            operation = (await client.delete(f"/v1/memories/{gone}")).json()["operation"]
    with serve() as service:
        async with service.client() as client:
            assert (await client.get(f"/v1/memories/{id}")).headers["etag"] == '"2"'
            assert (await client.get(f"/v1/memories/{gone}")).status_code == 404
            again = await client.post("/v1/memories", json=ADA, headers=key)
            assert (again.status_code, again.json()["sequence"]) == (201, first["sequence"])
            query = {"query": "Turin", "namespace": "acme/agent-7"}
            assert (await client.post("/v1/recall", json=query)).json()["hits"][0]["memory"]["id"] == id
            await client.post(f"/v1/operations/{operation}/undo")
            assert (await client.get(f"/v1/memories/{gone}")).json()["content"] == "gone"


async def test_racing_twins_coordinates_and_keys_agree(serve: Any) -> None:
    """Sixteen at once over sixteen connections."""
    with serve() as service:
        async with service.client() as client:
            twins = await asyncio.gather(*(client.post("/v1/memories", json=ADA) for _ in range(16)))
            assert len({a.json()["memory"]["id"] for a in twins}) == 1
            assert sorted(a.status_code for a in twins) == [200] * 15 + [201]
            there = [{"content": f"at {n}", "coordinate": [1, 2]} for n in range(16)]
            placed = await asyncio.gather(*(client.post("/v1/memories", json=item) for item in there))
            assert len({a.json()["memory"]["id"] for a in placed}) == 1
            assert sorted(a.json()["memory"]["version"] for a in placed) == list(range(1, 17))
            item, key = {"content": "keyed"}, {"Idempotency-Key": "k"}
            keyed = await asyncio.gather(
                *(client.post("/v1/memories?dedupe=off", json=item, headers=key) for _ in range(16))
            )
            assert {a.status_code for a in keyed} <= {201, 409}
            assert len({a.json()["memory"]["id"] for a in keyed if a.status_code == 201}) == 1


async def test_racing_patches_are_applied_one_after_the_other(serve: Any) -> None:
    """None is lost; under one If-Match exactly one wins."""
    with serve() as service:
        async with service.client() as client:
            id = (await client.post("/v1/memories", json=ADA)).json()["memory"]["id"]
            path = f"/v1/memories/{id}"
            answers = await asyncio.gather(*(client.patch(path, json={"payload": {f"n{n}": n}}) for n in range(16)))
            assert {a.status_code for a in answers} == {200}
            assert (await client.get(path)).json()["payload"] == {f"n{n}": n for n in range(16)}
            match = {"If-Match": '"17"'}
            racing = await asyncio.gather(
                *(client.patch(path, json={"importance": n / 16}, headers=match) for n in range(1, 8))
            )
            assert sorted(a.status_code for a in racing) == [200] + [412] * 6


async def events(response: httpx.Response, count: int) -> list[Any]:
    """Return the data of the next `count` events of a stream."""
    found: list[Any] = []
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            found.append(json.loads(line[6:]))
            if len(found) == count:
                break
    return found


async def test_changes_are_streamed_as_they_come_and_resumed(serve: Any) -> None:
    """What came before, what comes now; behind Last-Event-ID nothing twice and nothing missing."""
    with serve() as service:
        async with service.client() as client:
            stream = {"Accept": "text/event-stream"}
            await client.post("/v1/memories", json={"content": "one"})
            async with client.stream("GET", "/v1/changes", headers=stream) as response:
                assert response.headers["content-type"].startswith("text/event-stream")

                async def later() -> None:
                    await asyncio.sleep(0.2)
                    await client.post("/v1/memories", json={"content": "two"})

                writing = asyncio.create_task(later())
                assert [e["data"]["sequence"] for e in await events(response, 2)] == [1, 2]
                await writing
            await client.post("/v1/memories", json={"content": "three", "namespace": "other"})
            await client.post("/v1/memories", json={"content": "four"})
            resumed = {**stream, "Last-Event-ID": "2"}
            async with client.stream("GET", "/v1/changes?after=0", headers=resumed) as response:
                assert [e["data"]["sequence"] for e in await events(response, 2)] == [3, 4]
            async with client.stream("GET", "/v1/changes?namespace=other", headers=stream) as response:
                assert [e["data"]["sequence"] for e in await events(response, 1)] == [3]
            refused = await client.get("/v1/changes", headers={**stream, "Last-Event-ID": "x"})
            assert refused.status_code == 422


async def test_an_open_stream_does_not_hold_up_a_stop(serve: Any) -> None:
    """The client sees a complete answer, and the service ends well within its patience."""
    with serve() as service:
        accept = {"Accept": "text/event-stream"}
        async with service.client() as client, client.stream("GET", "/v1/changes", headers=accept) as response:
            lines = response.aiter_lines()
            assert await anext(lines) == "retry: 1000"
            stopping = asyncio.create_task(asyncio.to_thread(service.stop))
            async with asyncio.timeout(20):
                assert [line async for line in lines if line.strip()] == []
                assert await stopping == 0


async def test_a_request_in_flight_is_answered_before_the_service_stops(serve: Any) -> None:
    """A graceful stop loses nothing that was accepted."""
    with serve() as service:
        async with service.client() as client:
            memories = [{"content": f"memory number {n} of a large batch"} for n in range(1000)]
            request = asyncio.create_task(client.post("/v1/memories/batch", json={"memories": memories}))
            await asyncio.sleep(0.05)
            assert await asyncio.to_thread(service.stop) == 0
            assert (await request).status_code == 200
    with serve() as service:
        async with service.client() as client:
            assert (await client.get("/v1/stats")).json()["memories"] == 1000


async def test_bodies_that_are_too_large_are_413_however_they_come(serve: Any) -> None:
    """Announced or in pieces; the connection is good for the next request."""
    with serve(SFM_LIMITS__BODY_BYTES=100_000) as service:
        async with service.client(limits=httpx.Limits(max_connections=1)) as client:

            async def pieces() -> Any:
                for _ in range(100):
                    yield b" " * 10_000

            for content in (b" " * 1_000_000, pieces()):
                answer = await client.post("/v1/memories", content=content, headers=JSON)
                assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
                assert (await client.get("/healthz")).status_code == 200


async def test_a_large_archive_streams_out_and_in(serve: Any, tmp_path: Path) -> None:
    """Beyond the limit of bodies, into another data directory."""
    memories = [{"content": f"memory {n} " + "x" * 500} for n in range(1000)]
    with serve(SFM_LIMITS__BODY_BYTES=2_000_000) as service:
        async with service.client() as client:
            for start in (0, 500):
                body = {"memories": memories[start : start + 500]}
                assert (await client.post("/v1/memories/batch", json=body)).status_code == 200
            archive = (await client.get("/v1/export")).content
    with serve(SFM_LIMITS__BODY_BYTES=1000, SFM_DATA_DIR=tmp_path / "other") as service:
        async with service.client() as client:

            async def pieces() -> Any:
                for start in range(0, len(archive), 50_000):
                    yield archive[start : start + 50_000]

            answer = await client.post("/v1/import", content=pieces(), headers={"Content-Type": "application/x-ndjson"})
            assert (answer.status_code, answer.json()["added"]) == (200, 1000)
            assert (await client.get("/v1/stats")).json()["memories"] == 1000


async def test_an_import_that_breaks_off_stores_nothing(serve: Any) -> None:
    """The client goes away in the middle."""
    with serve() as service:
        async with service.client() as client:
            for n in range(20):
                await client.post("/v1/memories", json={"content": f"memory {n}", "namespace": "a"})
            archive = (await client.get("/v1/export")).content
            await client.delete("/v1/namespaces/a?erase=true")
        _, writer = await asyncio.open_connection("127.0.0.1", service.port)
        head = (
            "POST /v1/import HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/x-ndjson\r\nContent-Length: {len(archive)}\r\n\r\n"
        )
        writer.write(head.encode() + archive[: len(archive) // 2])
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.2)
        async with service.client() as client:
            assert (await client.get("/v1/stats")).json()["memories"] == 0


@pytest.mark.parametrize(
    "request_line", ["GET /healthz HTTP/1.1", "GET http://[ HTTP/1.1", "\x00\x01\x02", "GET  HTTP/9"]
)
async def test_garbage_on_the_connection_does_not_hurt_the_service(serve: Any, request_line: str) -> None:
    """It is answered or cut off, and the next client is served."""
    with serve() as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(request_line.encode() + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        await writer.drain()
        async with asyncio.timeout(10):
            await reader.read()
        writer.close()
        async with service.client() as client:
            assert (await client.get("/healthz")).status_code == 200


async def test_the_log_is_json_and_tells_no_content(serve: Any) -> None:
    """Every line of stderr; one says where the service is ready."""
    with serve() as service:
        async with service.client() as client:
            await client.post("/v1/memories", json={"content": "very secret"})
            await client.get("/v1/memories?tag=secret")
            await client.post("/v1/recall", json={"query": "secret"})
    [ready] = [line for line in service.log if line["event"] == "ready"]
    assert ready["url"] == service.url
    assert "secret" not in service.text


async def test_an_erased_memory_leaves_no_bytes_in_the_data_directory(serve: Any, tmp_path: Path) -> None:
    """Neither in the store nor in what keys, caches or logs hold; its word is nowhere once the service has stopped."""
    with serve() as service:
        async with service.client() as client:
            body = {
                "content": "the xylophonist Quarrelblossom",
                "payload": {"k": "Quarrelblossom"},
                "tags": ["Quarrelblossom"],
            }
            memory = (await client.post("/v1/memories", json=body, headers={"Idempotency-Key": "e"})).json()["memory"]
            await client.patch(f"/v1/memories/{memory['id']}", json={"importance": 1})
            await client.post("/v1/recall", json={"query": "Quarrelblossom"})
            assert (await client.delete(f"/v1/memories/{memory['id']}?erase=true&wait=indexed")).status_code == 200
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            assert b"uarrelblossom" not in path.read_bytes().lower(), path.name
    assert "uarrelblossom" not in service.text.lower()
