"""Single memories over REST."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx
import pytest

ADA = {"content": "Ada moved to Turin", "author": "Ada", "namespace": "acme/agent-7"}


async def remembered(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    """Store a memory and return it."""
    answer = await client.post("/v1/memories", json={**ADA, **fields})
    assert answer.status_code == 201, answer.text
    memory: dict[str, Any] = answer.json()["memory"]
    return memory


async def test_a_new_memory_is_answered_with_201_its_receipt_and_where_it_is(client: httpx.AsyncClient) -> None:
    """The receipt holds every field, nulls included; ETag is the version and Location the path."""
    answer = await client.post("/v1/memories", json=ADA)
    body = answer.json()
    assert answer.status_code == 201
    assert (body["outcome"], body["sequence"], body["indexed"]) == ("created", 1, True)
    assert set(body["memory"]) == {
        *("id", "namespace", "kind", "content", "payload", "coordinate", "author", "thread", "position", "importance"),
        *("tags", "source", "pinned", "occurred_at", "valid_from", "valid_to", "expires_at", "derived_from"),
        *("created_at", "updated_at", "version"),
    }
    assert body["memory"]["thread"] is None
    assert answer.headers["etag"] == '"1"'
    assert (await client.get(answer.headers["location"])).json() == body["memory"]


async def test_a_twin_is_folded_into_the_first_and_answered_with_200(client: httpx.AsyncClient) -> None:
    """The second receipt names the first memory; dedupe=off stores it again."""
    first = await remembered(client)
    twin = await client.post("/v1/memories", json=ADA)
    assert (twin.status_code, twin.json()["outcome"], twin.json()["memory"]) == (200, "duplicate", first)
    again = await client.post("/v1/memories?dedupe=off", json=ADA)
    assert (again.status_code, again.json()["outcome"]) == (201, "created")
    assert again.json()["memory"]["id"] != first["id"]


async def test_an_occupied_coordinate_makes_a_new_version(client: httpx.AsyncClient) -> None:
    """The memory there keeps its id, and the answer is 201 with `versioned`."""
    first = await remembered(client, coordinate=[1, 2])
    answer = await client.post("/v1/memories", json={**ADA, "content": "other", "coordinate": [1.0, 2.0]})
    assert (answer.status_code, answer.json()["outcome"]) == (201, "versioned")
    assert (answer.json()["memory"]["id"], answer.json()["memory"]["version"]) == (first["id"], 2)


async def test_a_taken_id_is_409(client: httpx.AsyncClient) -> None:
    """A given id that another memory has is a conflict."""
    first = await remembered(client)
    answer = await client.post("/v1/memories", json={**ADA, "content": "other", "id": first["id"]})
    assert answer.status_code == 409


async def test_a_version_that_the_caller_has_is_304(client: httpx.AsyncClient) -> None:
    """If-None-Match takes the tag as it is, weak, in a list, or any."""
    memory = await remembered(client)
    path = f"/v1/memories/{memory['id']}"
    for tag in ('"1"', 'W/"1"', '"0", "1"', "*"):
        answer = await client.get(path, headers={"If-None-Match": tag})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", '"1"')
    assert (await client.get(path, headers={"If-None-Match": '"2"'})).status_code == 200


async def test_the_past_is_read_by_as_of(client: httpx.AsyncClient) -> None:
    """The version of that moment, 404 before the first."""
    memory = await remembered(client)
    path = f"/v1/memories/{memory['id']}"
    await client.patch(path, json={"content": "Ada moved to Rome"})
    past = await client.get(path, params={"as_of": memory["created_at"]})
    assert past.json()["content"] == "Ada moved to Turin"
    assert (await client.get(path, params={"as_of": "2001-01-01"})).status_code == 404
    assert (await client.get(path, params={"as_of": "yesterday"})).status_code == 422


@pytest.mark.parametrize(
    "media", ["application/json", "application/merge-patch+json", "Application/JSON; charset=UTF-8"]
)
async def test_a_merge_patch_changes_what_it_names(client: httpx.AsyncClient, media: str) -> None:
    """Null clears, payloads are merged, the version rises."""
    memory = await remembered(client, payload={"a": 1, "b": {"c": 2}}, thread="t")
    answer = await client.patch(
        f"/v1/memories/{memory['id']}",
        content=b'{"thread": null, "payload": {"a": null, "b": {"d": 3}}}',
        headers={"Content-Type": media},
    )
    body = answer.json()
    assert (answer.status_code, body["outcome"], answer.headers["etag"]) == (200, "versioned", '"2"')
    assert (body["memory"]["thread"], body["memory"]["payload"]) == (None, {"b": {"c": 2, "d": 3}})


async def test_a_patch_that_changes_nothing_is_unchanged(client: httpx.AsyncClient) -> None:
    """No new version is made."""
    memory = await remembered(client)
    answer = await client.patch(f"/v1/memories/{memory['id']}", json={"author": "Ada"})
    assert (answer.json()["outcome"], answer.json()["memory"]["version"]) == ("unchanged", 1)


@pytest.mark.parametrize("field", ["id", "namespace"])
async def test_id_and_namespace_cannot_be_patched(client: httpx.AsyncClient, field: str) -> None:
    """The refusal names the field."""
    memory = await remembered(client)
    answer = await client.patch(f"/v1/memories/{memory['id']}", json={field: str(uuid.uuid4())})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


async def test_a_stale_if_match_is_412_and_changes_nothing(client: httpx.AsyncClient) -> None:
    """For PATCH, restore and DELETE; the stored version, any version and no condition go through."""
    memory = await remembered(client)
    path = f"/v1/memories/{memory['id']}"
    assert (await client.patch(path, json={"importance": 1}, headers={"If-Match": '"1"'})).status_code == 200
    for tag in ('"1"', '"seven"', 'W/"2"'):
        stale = {"If-Match": tag}
        assert (await client.patch(path, json={"importance": 0}, headers=stale)).status_code == 412
        assert (await client.post(f"{path}/restore", json={"version": 1}, headers=stale)).status_code == 412
        assert (await client.delete(path, headers=stale)).status_code == 412
    assert (await client.get(path)).json()["version"] == 2
    assert (await client.patch(path, json={"importance": 0}, headers={"If-Match": "*"})).status_code == 200
    assert (await client.delete(path, headers={"If-Match": '"3"'})).status_code == 200


async def test_a_deleted_memory_is_hidden_until_its_operation_is_undone(client: httpx.AsyncClient) -> None:
    """The receipt names operation and stores; history still answers."""
    memory = await remembered(client)
    path = f"/v1/memories/{memory['id']}"
    answer = await client.delete(path)
    body = answer.json()
    assert (answer.status_code, body["outcome"]) == (200, "deleted")
    assert {store["state"] for store in body["stores"]} == {"done"}
    assert (await client.get(path)).status_code == 404
    assert (await client.delete(path)).status_code == 404
    assert len((await client.get(f"{path}/history")).json()["items"]) == 2
    state = await client.get(f"/v1/operations/{body['operation']}")
    assert (state.json()["state"], state.json()["kind"], state.json()["count"]) == ("done", "delete", 1)
    undone = await client.post(f"/v1/operations/{body['operation']}/undo")
    assert (undone.status_code, undone.json()["state"]) == (200, "undone")
    assert (await client.get(path)).json()["content"] == memory["content"]
    assert (await client.post(f"/v1/operations/{body['operation']}/undo")).status_code == 409


async def test_an_erased_memory_is_404_everywhere(client: httpx.AsyncClient) -> None:
    """Its history too, and it cannot be undone or stored again under its id."""
    memory = await remembered(client)
    path = f"/v1/memories/{memory['id']}"
    answer = await client.delete(f"{path}?erase=true")
    assert answer.json()["outcome"] == "erased"
    for gone in (path, f"{path}/history", f"{path}/neighbors"):
        assert (await client.get(gone)).status_code == 404
    assert (await client.post(f"{path}/restore", json={"version": 1})).status_code == 404
    assert (await client.post(f"/v1/operations/{answer.json()['operation']}/undo")).status_code == 409
    assert (await client.post("/v1/memories", json={**ADA, "id": memory["id"]})).status_code == 409


async def test_history_is_paged_newest_first_and_an_old_version_can_be_restored(client: httpx.AsyncClient) -> None:
    """Restoring makes a new version with the old content."""
    memory = await remembered(client)
    path = f"/v1/memories/{memory['id']}"
    for n in range(4):
        await client.patch(path, json={"content": f"change {n}"})
    first = (await client.get(f"{path}/history", params={"limit": 3})).json()
    rest = (await client.get(f"{path}/history", params={"limit": 3, "cursor": first["next"]})).json()
    assert [m["version"] for m in (*first["items"], *rest["items"])] == [5, 4, 3, 2, 1]
    assert rest["next"] is None
    answer = await client.post(f"{path}/restore", json={"version": 1})
    assert (answer.json()["outcome"], answer.json()["memory"]["version"]) == ("restored", 6)
    assert answer.json()["memory"]["content"] == memory["content"]
    assert (await client.post(f"{path}/restore", json={"version": 99})).status_code == 404
    assert (await client.post(f"{path}/restore", json={"version": "one"})).status_code == 422
    assert (await client.post(f"{path}/restore", json={})).json()["errors"][0]["field"] == "version"


@pytest.mark.parametrize("suffix", ["", "/history", "/neighbors"])
async def test_an_unknown_id_is_404_and_a_malformed_one_422(client: httpx.AsyncClient, suffix: str) -> None:
    """On every route of a memory."""
    assert (await client.get(f"/v1/memories/{uuid.uuid4()}{suffix}")).status_code == 404
    answer = await client.get(f"/v1/memories/seven{suffix}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "id")


async def test_a_write_may_wait_until_it_is_indexed(client: httpx.AsyncClient) -> None:
    """`wait=indexed` is taken by every write; another value is refused."""
    answer = await client.post("/v1/memories?wait=indexed", json=ADA)
    assert answer.json()["indexed"] is True
    assert (await client.post("/v1/memories?wait=soon", json=ADA)).status_code == 422


async def test_racing_twins_become_one_memory(client: httpx.AsyncClient) -> None:
    """Sixteen equal requests at once: one 201, the others 200 with the same memory."""
    answers = await asyncio.gather(*(client.post("/v1/memories", json=ADA) for _ in range(16)))
    assert sorted(a.status_code for a in answers) == [200] * 15 + [201]
    assert len({a.json()["memory"]["id"] for a in answers}) == 1
