"""An erased memory is in none of the stores any more: looked for in the stores themselves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.enterprise.deployment import Deployment
from tests.enterprise.stores import cached, data_folder, database_text, files_with, indexed, published, vacuum


def until(holds: Callable[[], bool], told: str, seconds: float = 30) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, told
        time.sleep(0.1)


def states(client: httpx.Client, operation: str) -> dict[str, str]:
    """Return the state of an operation in every store."""
    stores = client.get(f"/v1/operations/{operation}").json()["stores"]
    return {store["store"]: store["state"] for store in stores}


async def test_an_erased_memory_is_in_no_store(stack: Deployment) -> None:
    """Record, history, words, vector, cached copies, idempotency answer: gone; events never had it."""
    place, word, namespace = stack.place, f"zarf{uuid4().hex}", f"erase/{uuid4().hex}"
    body: dict[str, Any] = {
        "content": f"the {word} is on the table",
        "payload": {"what": [word]},
        "tags": [word],
        "author": word,
        "namespace": namespace,
    }
    with stack.client(0) as one, stack.client(1) as other:
        key = {"Idempotency-Key": uuid4().hex}
        stored = one.post("/v1/memories?wait=indexed", json=body, headers=key).json()
        id = stored["memory"]["id"]
        one.patch(f"/v1/memories/{id}?wait=indexed", json={"content": f"the {word} fell down"})
        for client in (one, other, one):
            asked = client.post("/v1/recall", json={"query": f"where is the {word}", "namespace": namespace}).json()
            assert [hit["memory"]["id"] for hit in asked["hits"]] == [id]
        # Each place is one where it would be found.
        assert word in database_text(place)
        assert await indexed(place, id)
        assert any(word.encode() in value for value in (await cached(place)).values())

        gone = other.delete(f"/v1/memories/{id}", params={"erase": "true", "wait": "indexed"}).json()
        for client in (one, other):
            assert client.get(f"/v1/memories/{id}").status_code == 404
            assert client.get(f"/v1/memories/{id}/history").status_code == 404
            asked = client.post("/v1/recall", json={"query": f"where is the {word}", "namespace": namespace}).json()
            assert asked["hits"] == []
        until(
            lambda: set(states(one, gone["operation"]).values()) == {"done"},
            f"still not everywhere: {states(one, gone['operation'])}",
        )
    assert word not in database_text(place)
    assert await indexed(place, id) == []
    assert [name for name, value in (await cached(place)).items() if word.encode() in value] == []
    events = await published(place)
    assert events
    assert [event for event in events if word.encode() in (event[2] or b"") + (event[3] or b"")] == []


def test_its_bytes_leave_the_files_of_postgres_when_the_tables_are_rewritten(stack: Deployment) -> None:
    """A plain vacuum frees their place and leaves its bytes until it is used again; a full one leaves nothing."""
    place, word, namespace = stack.place, f"zarf{uuid4().hex}", f"erase/{uuid4().hex}"
    folder = data_folder(place)
    if folder is None:
        pytest.skip("the files of a server that was not started here cannot be read")
    with stack.client(0) as client:
        ids = []
        for number in range(60):
            content = f"the {word if number % 2 else 'saucer'} number {number} is on the table"
            body = {"content": content, "namespace": namespace, "payload": {"n": number}}
            id = client.post("/v1/memories", json=body).json()["memory"]["id"]
            ids += [id] if number % 2 else []
        vacuum(place)
        assert files_with(folder, word)
        operations = [client.delete(f"/v1/memories/{id}", params={"erase": "true"}).json()["operation"] for id in ids]
        until(lambda: all(set(states(client, o).values()) == {"done"} for o in operations), "never done everywhere")
    vacuum(place, full=True)
    assert files_with(folder, word) == []
