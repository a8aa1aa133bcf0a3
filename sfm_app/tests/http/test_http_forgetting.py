"""Forgetting by filter, policy and namespace over REST."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

RED = {"field": "tags", "op": "contains", "value": "red"}


@pytest.fixture
async def filled(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Memories of three namespaces, some of them red."""
    memories = [
        {"content": f"{namespace} {n}", "namespace": namespace, "tags": ["red"] if n else [], "importance": n / 2}
        for namespace in ("a", "a/b", "ab")
        for n in range(3)
    ]
    await client.post("/v1/memories/batch", json={"memories": memories})
    return client


async def counted(client: httpx.AsyncClient, namespace: str) -> int:
    """Count the live memories of a namespace."""
    return len((await client.get("/v1/memories", params={"namespace": namespace})).json()["items"])


async def test_a_dry_run_tells_and_changes_nothing(filled: httpx.AsyncClient) -> None:
    """It is the default."""
    answer = await filled.post("/v1/forget", json={"namespace": "a", "filter": RED})
    body = answer.json()
    assert (answer.status_code, body["dry_run"], body["count"], len(body["items"])) == (200, True, 2, 2)
    assert "operation" not in body
    assert await counted(filled, "a") == 3


async def test_what_was_forgotten_can_be_brought_back(filled: httpx.AsyncClient) -> None:
    """A subtree, under one operation."""
    answer = await filled.post("/v1/forget", json={"namespace": "a/**", "filter": RED, "dry_run": False})
    body = answer.json()
    assert (body["count"], await counted(filled, "a/**"), await counted(filled, "ab")) == (4, 2, 3)
    undone = await filled.post(f"/v1/operations/{body['operation']}/undo?wait=indexed")
    assert undone.json()["state"] == "undone"
    assert await counted(filled, "a/**") == 6


async def test_a_policy_picks_what_goes(filled: httpx.AsyncClient) -> None:
    """By importance, sparing the newest."""
    body = {"namespace": "a", "policy": {"max_importance": 0.6, "keep_newest": 1}, "dry_run": False}
    answer = await filled.post("/v1/forget", json=body)
    assert (answer.json()["count"], await counted(filled, "a")) == (2, 1)


async def test_erasing_by_filter_leaves_no_history(filled: httpx.AsyncClient) -> None:
    """The memories are gone for good."""
    body = {"namespace": "a", "filter": RED, "dry_run": False, "erase": True}
    [first, *_] = (await filled.post("/v1/forget", json=body)).json()["items"]
    assert (await filled.get(f"/v1/memories/{first}/history")).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "namespace"),
        ({"namespace": "a"}, "policy"),
        ({"namespace": "a", "filter": RED, "policy": {"keep_newest": 1}}, "policy"),
        ({"namespace": "a", "policy": {}}, "policy"),
        ({"namespace": "a", "policy": {"colour": 1}}, "policy.colour"),
        ({"namespace": "a", "filter": {}}, "filter.field"),
        ({"namespace": "a*", "filter": RED}, "namespace"),
        ({"namespace": "a", "filter": RED, "dry_run": "no"}, "dry_run"),
        ({"namespace": "a", "filter": RED, "colour": 1}, "colour"),
    ],
)
async def test_a_refused_forget_names_the_field(client: httpx.AsyncClient, body: dict[str, Any], field: str) -> None:
    """Nothing goes."""
    answer = await client.post("/v1/forget", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


@pytest.mark.parametrize("path", ["a/b", "a%2Fb"])
async def test_a_namespace_is_deleted_exactly_and_can_be_brought_back(filled: httpx.AsyncClient, path: str) -> None:
    """Neither those above nor those below nor those with a similar name go with it."""
    answer = await filled.delete(f"/v1/namespaces/{path}")
    body = answer.json()
    assert (answer.status_code, body["namespace"], body["count"]) == (200, "a/b", 3)
    assert [await counted(filled, name) for name in ("a", "a/b", "ab")] == [3, 0, 3]
    await filled.post(f"/v1/operations/{body['operation']}/undo")
    assert await counted(filled, "a/b") == 3


async def test_an_erased_namespace_is_gone_for_good(filled: httpx.AsyncClient) -> None:
    """Nothing is listed of it any more."""
    await filled.delete("/v1/namespaces/a?erase=true")
    names = [item["namespace"] for item in (await filled.get("/v1/namespaces")).json()["items"]]
    assert names == ["a/b", "ab"]


@pytest.mark.parametrize("path", ["a//b", "a/", "/a", "a/**", "..", "a%20", "%00", "a/%2E/b"])
async def test_an_odd_namespace_in_the_path_is_refused_not_tidied(filled: httpx.AsyncClient, path: str) -> None:
    """`a//b` is not `a/b`: nothing is deleted."""
    url = httpx.URL(f"http://127.0.0.1:9595/v1/namespaces/{path}")
    answer = await filled.delete(url)
    assert answer.status_code in (404, 422)
    assert [await counted(filled, name) for name in ("a", "a/b", "ab")] == [3, 3, 3]


async def test_an_unknown_operation_is_404(client: httpx.AsyncClient) -> None:
    """To read and to undo."""
    path = "/v1/operations/00000000-0000-7000-8000-000000000000"
    assert (await client.get(path)).status_code == 404
    assert (await client.post(f"{path}/undo")).status_code == 404
    assert (await client.get("/v1/operations/one")).status_code == 422
