"""What clients of two replicas see: one memory system, whichever replica answers."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.enterprise.deployment import Deployment


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own."""
    return f"e2e/{uuid4().hex}"


def remember(client: httpx.Client, content: str, namespace: str, **more: Any) -> dict[str, Any]:
    """Store a memory and return the receipt."""
    wait = {"wait": more.pop("wait")} if "wait" in more else {}
    answer = client.post("/v1/memories", params=wait, json={"content": content, "namespace": namespace, **more})
    assert answer.status_code in (200, 201), answer.text
    receipt: dict[str, Any] = answer.json()
    return receipt


def recall(client: httpx.Client, query: str, namespace: str, **more: Any) -> dict[str, Any]:
    """Return the answer to a question, explained."""
    answer = client.post("/v1/recall", json={"query": query, "namespace": namespace, "explain": True, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def contents(answer: dict[str, Any]) -> list[str]:
    return [hit["memory"]["content"] for hit in answer["hits"]]


def test_what_one_replica_acknowledged_the_other_shows_at_once(stack: Deployment, namespace: str) -> None:
    """By id, in lists, in statistics and by its words; changed and deleted as well."""
    with stack.client(0) as one, stack.client(1) as other:
        for number in range(20):
            receipt = remember(one, f"the quokka {number} lives on Rottnest", namespace)
            id = receipt["memory"]["id"]
            assert other.get(f"/v1/memories/{id}").json()["content"] == f"the quokka {number} lives on Rottnest"
            assert id in contents_ids(recall(other, f"quokka {number} Rottnest", namespace, k=50))
            changed = other.patch(f"/v1/memories/{id}", json={"content": f"the wombat {number} digs"})
            assert changed.status_code == 200
            assert one.get(f"/v1/memories/{id}").json()["version"] == receipt["memory"]["version"] + 1
            one, other = other, one
        listed = other.get("/v1/memories", params={"namespace": namespace, "limit": 100}).json()["items"]
        assert sorted(memory["content"] for memory in listed) == sorted(f"the wombat {n} digs" for n in range(20))
        assert one.delete(f"/v1/memories/{id}").status_code == 200
        assert other.get(f"/v1/memories/{id}").status_code == 404
        assert id not in contents_ids(recall(other, "wombat", namespace, k=50))


def contents_ids(answer: dict[str, Any]) -> list[str]:
    return [hit["memory"]["id"] for hit in answer["hits"]]


def test_a_write_that_waits_is_found_by_its_meaning_on_every_replica(stack: Deployment, namespace: str) -> None:
    """`wait=indexed` returns when the vector index holds the memory: no word of the question is in it."""
    with stack.client(0) as one, stack.client(1) as other:
        receipt = remember(one, "Ada bought a puppy and named it Rex", namespace, wait="indexed")
        assert receipt["indexed"] is True
        for client in (one, other):
            answer = recall(client, "which pets does somebody own", namespace)
            assert answer["partial"] == []
            [hit] = answer["hits"]
            assert "vectors" in hit["explain"]["arms"]


def test_a_recall_waits_for_the_sequence_it_names(stack: Deployment, namespace: str) -> None:
    """With `min_sequence` of a receipt the other replica's vector arm has that memory, time and again."""
    with stack.client(0) as one, stack.client(1) as other:
        for number in range(10):
            receipt = remember(one, f"she planted {number} oaks beside the river", namespace)
            answer = recall(other, "forestry", namespace, min_sequence=receipt["sequence"], k=20)
            assert "index_lag" not in answer["partial"]
            found = {hit["memory"]["id"]: hit["explain"]["arms"] for hit in answer["hits"]}
            assert "vectors" in found[receipt["memory"]["id"]]


async def test_racing_twins_over_two_replicas_are_one_memory(stack: Deployment, namespace: str) -> None:
    """Sixteen at once: one is created, fifteen are told that it is there."""
    clients = stack.clients()
    for round in range(3):
        body = {"content": f"twin {round}", "namespace": namespace, "tags": ["a"]}
        answers = await asyncio.gather(*(clients[n % 2].post("/v1/memories", json=body) for n in range(16)))
        assert sorted(answer.status_code for answer in answers) == [200] * 15 + [201]
        assert len({answer.json()["memory"]["id"] for answer in answers}) == 1
    for client in clients:
        assert (await client.get("/v1/stats", params={"namespace": namespace})).json()["memories"] == 3
        await client.aclose()


async def test_racing_writes_at_a_coordinate_are_versions_of_one_memory(stack: Deployment, namespace: str) -> None:
    """Sixteen different ones over two replicas: sixteen versions, none lost."""
    clients = stack.clients()
    answers = await asyncio.gather(
        *(
            clients[n % 2].post(
                "/v1/memories", json={"content": f"seen {n}", "namespace": namespace, "coordinate": [1, 2.5]}
            )
            for n in range(16)
        )
    )
    assert {answer.status_code for answer in answers} <= {200, 201}, [answer.text for answer in answers]
    [id] = {answer.json()["memory"]["id"] for answer in answers}
    assert sorted(answer.json()["memory"]["version"] for answer in answers) == list(range(1, 17))
    history = (await clients[1].get(f"/v1/memories/{id}/history")).json()["items"]
    assert {version["content"] for version in history} == {f"seen {n}" for n in range(16)}
    for client in clients:
        await client.aclose()


async def test_an_idempotency_key_holds_across_replicas(stack: Deployment, namespace: str) -> None:
    """Repeated on the other replica it is answered the same and done once, raced as well; another body is refused."""
    clients = stack.clients()
    body = {"content": "pay once", "namespace": namespace}
    key = {"Idempotency-Key": uuid4().hex}
    answers = await asyncio.gather(
        *(clients[n % 2].post("/v1/memories?dedupe=off", json=body, headers=key) for n in range(8))
    )
    # One that is still being carried out elsewhere is told so, not done again.
    assert {answer.status_code for answer in answers} <= {201, 409}
    done = [answer.json() for answer in answers if answer.status_code == 201]
    again = [await client.post("/v1/memories?dedupe=off", json=body, headers=key) for client in clients]
    assert len({receipt["memory"]["id"] for receipt in [*done, *(answer.json() for answer in again)]}) == 1
    for client in clients:
        other = await client.post("/v1/memories?dedupe=off", json={**body, "content": "pay twice"}, headers=key)
        assert other.status_code == 422
        assert (await client.get("/v1/stats", params={"namespace": namespace})).json()["memories"] == 1
        await client.aclose()


def test_an_undone_deletion_is_back_on_every_replica(stack: Deployment, namespace: str) -> None:
    """In lists, by words and by meaning."""
    with stack.client(0) as one, stack.client(1) as other:
        id = remember(one, "the ferry leaves at noon", namespace, wait="indexed")["memory"]["id"]
        gone = one.delete(f"/v1/memories/{id}", params={"wait": "indexed"}).json()
        assert contents(recall(other, "boat timetable", namespace)) == []
        back = other.post(f"/v1/operations/{gone['operation']}/undo", params={"wait": "indexed"})
        assert back.status_code == 200, back.text
        assert contents(recall(one, "ferry", namespace)) == ["the ferry leaves at noon"]
        deadline = time.monotonic() + 30
        while not any("vectors" in hit["explain"]["arms"] for hit in recall(one, "boat timetable", namespace)["hits"]):
            assert time.monotonic() < deadline, "never found by its meaning again"
            time.sleep(0.1)


def test_a_page_of_changes_is_the_same_on_every_replica(stack: Deployment, namespace: str) -> None:
    """Strictly rising, whichever replica took the write, and thin."""
    with stack.client(0) as one, stack.client(1) as other:
        for number in range(10):
            remember((one, other)[number % 2], f"change {number}", namespace)
        pages = [client.get("/v1/changes", params={"namespace": namespace}).json() for client in (one, other)]
        assert pages[0] == pages[1]
        sequences = [event["data"]["sequence"] for event in pages[0]["items"]]
        assert sequences == sorted(set(sequences))
        assert len(sequences) == 10
        assert "change 3" not in str(pages[0])
