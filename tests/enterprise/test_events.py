"""What other programs read from the topic: CloudEvents, thin, in order for each namespace."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from datetime import datetime
from typing import Any
from uuid import uuid4

from tests.enterprise.deployment import Deployment
from tests.enterprise.stores import published

TYPES = {"created", "updated", "deleted", "restored", "erased", "linked", "unlinked"}


def everything_that_happens(stack: Deployment, namespace: str) -> None:
    """Have every kind of change happen in a namespace, over both replicas."""
    with stack.client(0) as one, stack.client(1) as other:

        def store(content: str) -> str:
            answer = one.post("/v1/memories", json={"content": content, "namespace": namespace})
            id: str = answer.json()["memory"]["id"]
            return id

        first, second = store("secretword one"), store("secretword two")
        other.patch(f"/v1/memories/{first}", json={"importance": 0.9}).raise_for_status()
        other.post("/v1/links", json={"source": first, "target": second}).raise_for_status()
        ends = {"source": first, "target": second, "relation": "related"}
        one.delete("/v1/links", params=ends).raise_for_status()
        gone = one.delete(f"/v1/memories/{first}").json()
        other.post(f"/v1/operations/{gone['operation']}/undo").raise_for_status()
        one.delete(f"/v1/memories/{second}", params={"erase": "true", "wait": "indexed"}).raise_for_status()


async def told(stack: Deployment, *, up_to: int) -> dict[str, list[dict[str, Any]]]:
    """Return the events of the topic by their key, once the relay has come that far."""
    deadline = time.monotonic() + 30
    while True:
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for _, _, key, value in await published(stack.place):
            assert key is not None
            assert value is not None
            assert b"secretword" not in value
            event = json.loads(value)
            assert event["data"]["namespace"] == key.decode()
            found[key.decode()].append(event)
        if any(event["data"]["sequence"] >= up_to for events in found.values() for event in events):
            return found
        assert time.monotonic() < deadline, "the relay did not come that far"


async def test_the_topic_tells_every_change_as_a_thin_event_in_order(stack: Deployment) -> None:
    """The key is the namespace, the value is the very document of `/v1/changes`."""
    namespaces = [f"events/{uuid4().hex}" for _ in range(3)]
    for namespace in namespaces:
        everything_that_happens(stack, namespace)
    with stack.client(1) as client:
        last = client.get("/v1/changes", params={"namespace": "events/**"}).json()["last_sequence"]
        found = await told(stack, up_to=last)
        for namespace in namespaces:
            changes = client.get("/v1/changes", params={"namespace": namespace}).json()["items"]
            sequences = [event["data"]["sequence"] for event in found[namespace]]
            assert sequences == sorted(sequences)
            assert {event["id"]: event for event in found[namespace]} == {event["id"]: event for event in changes}
            assert {event["type"].removeprefix("memory.") for event in changes} == TYPES
    for event in found[namespaces[0]]:
        assert event["specversion"] == "1.0"
        assert {"id", "source", "type", "subject", "time", "dataschema", "data"} <= set(event)
        assert datetime.fromisoformat(event["time"]).utcoffset() is not None
        assert event["subject"] == event["data"]["memory_id"]


async def test_a_namespace_stays_in_one_partition(stack: Deployment) -> None:
    """That is what keeps its order."""
    partitions: dict[bytes | None, set[int]] = defaultdict(set)
    for partition, _, key, _ in await published(stack.place):
        partitions[key].add(partition)
    assert {len(places) for places in partitions.values()} == {1}
