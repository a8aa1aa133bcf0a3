"""Idempotency keys on every write route."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

ADA = {"content": "Ada moved to Turin"}
KEY = {"Idempotency-Key": "one"}


async def test_a_repeated_write_is_answered_as_the_first_time(client: httpx.AsyncClient) -> None:
    """Status, outcome, memory and sequence; nothing is written again."""
    first = await client.post("/v1/memories?dedupe=off", json=ADA, headers=KEY)
    again = await client.post("/v1/memories?dedupe=off", json=ADA, headers=KEY)
    assert (again.status_code, again.json()) == (201, first.json())
    assert (await client.get("/v1/stats")).json()["versions"] == 1


async def test_the_order_of_members_and_the_wait_play_no_part(client: httpx.AsyncClient) -> None:
    """A client that writes its JSON otherwise the second time repeats the same request."""
    json = {"Content-Type": "application/json", **KEY}
    await client.post("/v1/memories", content=b'{"content": "x", "author": "Ada"}', headers=json)
    again = await client.post("/v1/memories?wait=indexed", content=b'{"author":"Ada","content":"x"}', headers=json)
    assert (again.status_code, again.json()["outcome"]) == (201, "created")


async def test_the_same_key_with_another_request_is_422(client: httpx.AsyncClient) -> None:
    """Another body, another parameter, another memory of the same route."""
    memory = (await client.post("/v1/memories", json=ADA, headers=KEY)).json()["memory"]
    assert (await client.post("/v1/memories", json={"content": "other"}, headers=KEY)).status_code == 422
    assert (await client.post("/v1/memories?dedupe=off", json=ADA, headers=KEY)).status_code == 422
    other = (await client.post("/v1/memories", json={"content": "other"})).json()["memory"]
    change = {"importance": 1}
    assert (await client.patch(f"/v1/memories/{memory['id']}", json=change, headers=KEY)).status_code == 200
    assert (await client.patch(f"/v1/memories/{other['id']}", json=change, headers=KEY)).status_code == 422


async def test_a_key_belongs_to_its_route(client: httpx.AsyncClient) -> None:
    """The same key on another route is another key."""
    memory = (await client.post("/v1/memories", json=ADA, headers=KEY)).json()["memory"]
    path = f"/v1/memories/{memory['id']}"
    assert (await client.patch(path, json={"importance": 1}, headers=KEY)).json()["outcome"] == "versioned"
    assert (await client.delete(path, headers=KEY)).json()["outcome"] == "deleted"


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "ümlaut".encode("latin-1"), "a\tb"])
async def test_a_key_that_is_no_key_is_refused(client: httpx.AsyncClient, key: Any) -> None:
    """1 to 255 visible ASCII characters."""
    answer = await client.post("/v1/memories", json=ADA, headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")


async def test_every_write_route_replays(client: httpx.AsyncClient) -> None:
    """Each answers its repetition with the same outcome, and the log has not grown."""
    made = [
        (await client.post("/v1/memories", json={"content": f"memory {n}", "namespace": "a"})).json()["memory"]["id"]
        for n in range(3)
    ]
    path = f"/v1/memories/{made[0]}"
    red = {"field": "content", "op": "eq", "value": "memory 1"}
    requests: list[tuple[str, str, Any]] = [
        ("POST", "/v1/memories/batch", {"memories": [{"content": "a"}, {"content": ""}]}),
        ("PATCH", path, {"importance": 0.9}),
        ("POST", f"{path}/restore", {"version": 1}),
        ("POST", "/v1/links", {"source": made[0], "target": made[2]}),
        ("DELETE", f"/v1/links?source={made[0]}&target={made[2]}", None),
        ("DELETE", path, None),
        ("POST", "/v1/forget", {"namespace": "a", "filter": red, "dry_run": False}),
        ("DELETE", "/v1/namespaces/a", None),
    ]
    for method, url, body in requests:
        first = await client.request(method, url, json=body, headers=KEY)
        assert first.status_code in (200, 201), first.text
        last = (await client.get("/v1/stats")).json()["last_sequence"]
        again = await client.request(method, url, json=body, headers=KEY)
        assert again.status_code == first.status_code, (method, url, again.text)
        for member in ("outcome", "operation", "sequence", "count"):
            assert again.json().get(member) == first.json().get(member), (method, url, member)
        assert (await client.get("/v1/stats")).json()["last_sequence"] == last


async def test_a_patch_under_if_match_can_be_repeated_by_its_key(client: httpx.AsyncClient) -> None:
    """The first answer comes again, although the version has risen since."""
    memory = (await client.post("/v1/memories", json=ADA)).json()["memory"]
    headers = {**KEY, "If-Match": '"1"'}
    path = f"/v1/memories/{memory['id']}"
    first = await client.patch(path, json={"importance": 1}, headers=headers)
    again = await client.patch(path, json={"importance": 1}, headers=headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json()["memory"]["version"] == 2


async def test_racing_repetitions_write_once(client: httpx.AsyncClient) -> None:
    """Sixteen at once: one memory, and everyone is told of it or asked to come back."""
    answers = await asyncio.gather(*(client.post("/v1/memories?dedupe=off", json=ADA, headers=KEY) for _ in range(16)))
    assert {a.status_code for a in answers} <= {201, 409}
    assert len({a.json()["memory"]["id"] for a in answers if a.status_code == 201}) == 1
    assert all("retry-after" in a.headers for a in answers if a.status_code == 409)
    assert (await client.get("/v1/stats")).json()["versions"] == 1


async def test_an_erased_memory_does_not_live_on_in_an_answer(client: httpx.AsyncClient) -> None:
    """The repetition of the write that made it tells nothing of it."""
    memory = (await client.post("/v1/memories", json=ADA, headers=KEY)).json()["memory"]
    await client.delete(f"/v1/memories/{memory['id']}?erase=true")
    again = await client.post("/v1/memories", json=ADA, headers=KEY)
    assert again.status_code == 404
    assert "Turin" not in again.text
