"""Links, neighbours and paths over REST."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest


@pytest.fixture
async def ids(client: httpx.AsyncClient) -> list[str]:
    """Four memories of one namespace."""
    memories = [{"content": f"memory {n}"} for n in range(4)]
    answer = await client.post("/v1/memories/batch", json={"memories": memories})
    return [result["memory"]["id"] for result in answer.json()["results"]]


async def test_a_link_is_created_once_and_then_updated(client: httpx.AsyncClient, ids: list[str]) -> None:
    """201, then 200 with `updated`, then `unchanged`."""
    body = {"source": ids[0], "target": ids[1], "relation": "causes", "metadata": {"why": "rain"}}
    first = await client.post("/v1/links", json=body)
    assert (first.status_code, first.json()["outcome"]) == (201, "created")
    assert first.json()["link"]["weight"] == 1.0
    second = await client.post("/v1/links", json={**body, "weight": 2})
    assert (second.status_code, second.json()["outcome"], second.json()["link"]["weight"]) == (200, "updated", 2.0)
    third = await client.post("/v1/links", json={**body, "weight": 2.0})
    assert (third.status_code, third.json()["outcome"]) == (200, "unchanged")


async def test_a_link_is_removed_by_its_ends_and_relation(client: httpx.AsyncClient, ids: list[str]) -> None:
    """Once; the second time there is none."""
    await client.post("/v1/links", json={"source": ids[0], "target": ids[1], "relation": None})
    params = {"source": ids[0], "target": ids[1]}
    answer = await client.delete("/v1/links", params=params)
    assert (answer.status_code, answer.json()["outcome"]) == (200, "deleted")
    assert (await client.delete("/v1/links", params=params)).status_code == 404
    assert (await client.delete("/v1/links", params={"source": ids[0]})).json()["errors"][0]["field"] == "target"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"weight": 0}, "weight"),
        ({"weight": -1}, "weight"),
        ({"weight": "heavy"}, "weight"),
        ({"source": "one"}, "source"),
        ({"source": 1}, "source"),
        ({"relation": ""}, "relation"),
        ({"metadata": [1]}, "metadata"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_refused_link_names_the_field(
    client: httpx.AsyncClient, ids: list[str], change: dict[str, Any], field: str
) -> None:
    """422 with the member."""
    answer = await client.post("/v1/links", json={"source": ids[0], "target": ids[1], **change})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_ends_of_different_namespaces_are_refused(client: httpx.AsyncClient, ids: list[str]) -> None:
    """422; an unknown end is 404."""
    other = (await client.post("/v1/memories", json={"content": "far", "namespace": "other"})).json()["memory"]["id"]
    assert (await client.post("/v1/links", json={"source": ids[0], "target": other})).status_code == 422
    unknown = str(uuid.uuid4())
    assert (await client.post("/v1/links", json={"source": ids[0], "target": unknown})).status_code == 404


async def test_neighbours_are_found_by_direction_relation_and_depth(client: httpx.AsyncClient, ids: list[str]) -> None:
    """Nearest first, each once, with the link that led there."""
    for source, target, relation in ((0, 1, "next"), (1, 2, "next"), (3, 0, "about")):
        await client.post("/v1/links", json={"source": ids[source], "target": ids[target], "relation": relation})

    async def found(**params: object) -> list[tuple[int, int]]:
        answer = await client.get(f"/v1/memories/{ids[0]}/neighbors", params=params)  # type: ignore[arg-type]
        return [(ids.index(item["memory"]["id"]), item["depth"]) for item in answer.json()["items"]]

    assert sorted(await found()) == [(1, 1), (3, 1)]
    assert await found(direction="out") == [(1, 1)]
    assert await found(direction="in") == [(3, 1)]
    assert await found(direction="out", depth=2) == [(1, 1), (2, 2)]
    assert await found(relation="about") == [(3, 1)]
    page = (await client.get(f"/v1/memories/{ids[0]}/neighbors?limit=1")).json()
    assert len(page["items"]) == 1
    rest = (await client.get(f"/v1/memories/{ids[0]}/neighbors", params={"cursor": page["next"]})).json()
    assert len(rest["items"]) == 1


@pytest.mark.parametrize("query", ["depth=0", "depth=6", "direction=up", "limit=0", "colour=red", "cursor=x"])
async def test_a_refused_parameter_of_neighbours_is_named(
    client: httpx.AsyncClient, ids: list[str], query: str
) -> None:
    """422 with the parameter."""
    answer = await client.get(f"/v1/memories/{ids[0]}/neighbors?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, query.split("=")[0])


async def test_the_cheapest_path_is_found(client: httpx.AsyncClient, ids: list[str]) -> None:
    """By the sum of weights; none is 404."""
    for source, target, weight in ((0, 1, 1.0), (1, 2, 1.0), (0, 2, 3.0)):
        await client.post("/v1/links", json={"source": ids[source], "target": ids[target], "weight": weight})
    body = (await client.post("/v1/paths", json={"source": ids[0], "target": ids[2]})).json()
    assert [ids.index(node["id"]) for node in body["nodes"]] == [0, 1, 2]
    assert (body["cost"], len(body["links"])) == (2.0, 2)
    assert (await client.post("/v1/paths", json={"source": ids[2], "target": ids[0]})).status_code == 404
    assert (await client.post("/v1/paths", json={"source": ids[2]})).status_code == 422
