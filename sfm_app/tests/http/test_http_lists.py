"""Batches, lists and coordinates over REST."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest


async def store(client: httpx.AsyncClient, *items: dict[str, Any]) -> list[dict[str, Any]]:
    """Store memories in one batch and return them."""
    answer = await client.post("/v1/memories/batch", json={"memories": list(items)})
    assert answer.status_code == 200, answer.text
    return [result["memory"] for result in answer.json()["results"]]


async def test_each_item_of_a_batch_has_the_status_it_would_have_alone(client: httpx.AsyncClient) -> None:
    """201, 200, 422 with the problem, 409: in order, and the good ones are stored."""
    [taken] = await store(client, {"content": "first"})
    items = [
        {"content": "second"},
        {"content": "first"},
        {"content": "   "},
        {"content": "third", "id": taken["id"]},
        7,
        {"content": "fourth", "colour": "red"},
    ]
    answer = await client.post("/v1/memories/batch", json={"memories": items})
    body = answer.json()
    assert [r["status"] for r in body["results"]] == [201, 200, 422, 409, 422, 422]
    assert [r.get("outcome") for r in body["results"]][:2] == ["created", "duplicate"]
    assert body["results"][2]["problem"]["errors"][0]["field"] == "memories.2.content"
    assert body["results"][5]["problem"]["errors"][0]["field"] == "memories.5.colour"
    assert body["sequence"] == 2
    assert len((await client.get("/v1/memories")).json()["items"]) == 2


async def test_an_atomic_batch_with_one_bad_item_stores_nothing(client: httpx.AsyncClient) -> None:
    """422 with the path of the bad field."""
    memories = [{"content": "good"}, {"content": "bad", "importance": 2}]
    answer = await client.post("/v1/memories/batch", json={"memories": memories, "atomic": True})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "memories.1.importance"
    assert (await client.get("/v1/memories")).json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "memories"),
        ({"memories": {}}, "memories"),
        ({"memories": [], "atomic": "yes"}, "atomic"),
        ({"memories": [], "atomik": True}, "atomik"),
        ({"memories": [{"content": "x"}] * 1001}, "memories"),
    ],
)
async def test_a_batch_of_another_shape_is_refused(client: httpx.AsyncClient, body: Any, field: str) -> None:
    """The refusal names the member."""
    answer = await client.post("/v1/memories/batch", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_an_empty_batch_stores_nothing(client: httpx.AsyncClient) -> None:
    """It is no error."""
    answer = await client.post("/v1/memories/batch", json={"memories": []})
    assert answer.json() == {"results": [], "sequence": 0}


async def test_a_list_is_narrowed_by_every_parameter(client: httpx.AsyncClient) -> None:
    """kind, author, thread, tag and filter, and the namespace or its subtree."""
    await store(
        client,
        {"content": "a", "namespace": "acme", "kind": "semantic", "author": "Ada"},
        {"content": "b", "namespace": "acme/x", "thread": "t", "tags": ["red"]},
        {"content": "c", "namespace": "acmes", "payload": {"city": "Rome"}},
    )

    async def contents(**params: str) -> list[str]:
        answer = await client.get("/v1/memories", params={"order": "created_at", **params})
        return [item["content"] for item in answer.json()["items"]]

    assert await contents() == []
    assert await contents(namespace="acme") == ["a"]
    assert await contents(namespace="acme/**") == ["a", "b"]
    assert await contents(namespace="**") == ["a", "b", "c"]
    assert await contents(namespace="**", kind="semantic") == ["a"]
    assert await contents(namespace="**", author="Ada") == ["a"]
    assert await contents(namespace="**", thread="t") == ["b"]
    assert await contents(namespace="**", tag="red") == ["b"]
    rome = json.dumps({"field": "payload.city", "op": "eq", "value": "Rome"})
    assert await contents(namespace="**", filter=rome) == ["c"]


async def test_pages_follow_each_other_by_cursor(client: httpx.AsyncClient) -> None:
    """Every memory comes once, in order; the last page has no cursor."""
    await store(client, *({"content": f"memory {n}", "importance": n / 10} for n in range(7)))
    seen: list[str] = []
    params = {"limit": "3", "order": "-importance"}
    while True:
        page = (await client.get("/v1/memories", params=params)).json()
        seen += [item["content"] for item in page["items"]]
        if page["next"] is None:
            break
        params["cursor"] = page["next"]
    assert seen == [f"memory {n}" for n in reversed(range(7))]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"order": "colour"}, "order"),
        ({"namespace": "a//b"}, "namespace"),
        ({"namespace": ""}, "namespace"),
        ({"filter": "{"}, "filter"),
        ({"filter": '{"field": "colour", "op": "eq", "value": 1}'}, "filter.field"),
        ({"filter": '{"a": 1, "a": 2}'}, "filter"),
        ({"colour": "red"}, "colour"),
        ({"as_of": "soon"}, "as_of"),
    ],
)
async def test_a_refused_parameter_is_named(client: httpx.AsyncClient, params: dict[str, str], field: str) -> None:
    """422 with the parameter."""
    answer = await client.get("/v1/memories", params=params)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_a_parameter_that_comes_twice_is_refused(client: httpx.AsyncClient) -> None:
    """Nobody has to guess which one counts."""
    answer = await client.get("/v1/memories?tag=a&tag=b")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "tag")


async def test_a_query_string_that_is_no_utf8_is_400(client: httpx.AsyncClient) -> None:
    """It cannot be parsed."""
    assert (await client.get("/v1/memories?author=%ff")).status_code == 400


async def test_a_memory_is_found_by_its_coordinate_and_in_a_box(client: httpx.AsyncClient) -> None:
    """Bounds are inclusive; a free coordinate is an empty list."""
    await store(client, *({"content": f"{n}", "coordinate": [n, 0.5]} for n in range(5)))

    async def contents(**params: str) -> list[str]:
        answer = await client.get("/v1/memories/by-coordinate", params=params)
        assert answer.status_code == 200, answer.text
        return [item["content"] for item in answer.json()["items"]]

    assert await contents(coordinate="2,0.5") == ["2"]
    assert await contents(coordinate="2.0, 5e-1") == ["2"]
    assert await contents(coordinate="9,9") == []
    assert await contents(min="1,0", max="3,1") == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "coordinate"),
        ({"coordinate": "1,two"}, "coordinate"),
        ({"coordinate": "NaN"}, "coordinate"),
        ({"coordinate": ""}, "coordinate"),
        ({"coordinate": "1", "min": "1", "max": "2"}, "coordinate"),
        ({"min": "1"}, "coordinate"),
        ({"min": "1,2", "max": "3"}, "max"),
        ({"min": "1_0", "max": "3"}, "min"),
    ],
)
async def test_a_refused_coordinate_is_named(client: httpx.AsyncClient, params: dict[str, str], field: str) -> None:
    """422 with the parameter."""
    answer = await client.get("/v1/memories/by-coordinate", params=params)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
