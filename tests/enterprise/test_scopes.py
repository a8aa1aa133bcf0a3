"""Namespaces on the whole stack: whatever is asked, nothing of another namespace is in the answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.enterprise.deployment import Deployment

CONFUSING = ["a", "a-b", "ab", "a/b", "a/B", "A", "a%", "a_", "a/b/c", "ä", "a.b", "a b", "'a", "a\\b", "b/a"]
WORDS = "the heron fishes at dawn"


def below(namespace: str, scope: str) -> bool:
    """Tell whether a namespace is within what was asked for."""
    if not scope.endswith("/**"):
        return namespace == scope
    return namespace == scope[:-3] or namespace.startswith(scope[:-2])


@pytest.fixture(scope="module")
def root(stack: Deployment) -> str:
    """Above namespaces that are easily confused, each with memories of the same words and places."""
    above = f"scopes/{uuid4().hex}"
    memories = [
        {"content": f"{WORDS} {number}", "namespace": f"{above}/{name}", "coordinate": [number, 1], "tags": ["t"]}
        for name in CONFUSING
        for number in range(2)
    ]
    with stack.client() as client:
        answer = client.post("/v1/memories/batch", params={"wait": "indexed"}, json={"memories": memories})
        assert {result["status"] for result in answer.json()["results"]} == {201}, answer.text
    return above


def namespaces_in(found: Any) -> Iterator[str]:
    """Yield every namespace that a document tells of."""
    if isinstance(found, dict):
        yield from (value for name, value in found.items() if name == "namespace")
        for value in found.values():
            yield from namespaces_in(value)
    elif isinstance(found, list):
        for value in found:
            yield from namespaces_in(value)


def asked(client: httpx.Client, scope: str) -> list[httpx.Response]:
    """Ask in every way there is."""
    one = scope.removesuffix("/**")
    return [
        client.post("/v1/recall", json={"query": WORDS, "namespace": scope, "k": 100}),
        client.post("/v1/recall", json={"query": "birds hunting in the morning", "namespace": scope, "k": 100}),
        client.get("/v1/memories", params={"namespace": scope, "limit": 1000}),
        client.get("/v1/memories", params={"namespace": scope, "tag": "t", "order": "importance"}),
        client.get("/v1/changes", params={"namespace": scope, "limit": 1000}),
        client.get("/v1/namespaces", params={"namespace": scope}),
        client.get("/v1/export", params={"namespace": scope}),
        client.get("/v1/memories/by-coordinate", params={"namespace": one, "coordinate": "1,1"}),
        client.get("/v1/memories/by-coordinate", params={"namespace": one, "min": "0,0", "max": "9,9"}),
    ]


def documents(answer: httpx.Response) -> list[Any]:
    """Return the JSON documents of an answer, one a line in an archive."""
    assert answer.status_code == 200, answer.text
    kind = answer.headers["content-type"]
    return [json.loads(line) for line in answer.text.splitlines()] if "ndjson" in kind else [answer.json()]


@given(name=st.sampled_from(CONFUSING), subtree=st.booleans(), replica=st.integers(0, 1))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_way_of_asking_tells_of_another_namespace(
    stack: Deployment, root: str, name: str, subtree: bool, replica: int
) -> None:
    """Recall by words and by meaning, lists, changes, statistics, archives, places: all of the scope, and only it."""
    scope = f"{root}/{name}" + ("/**" if subtree else "")
    expected = {f"{root}/{other}" for other in CONFUSING if below(f"{root}/{other}", scope)}
    with stack.client(replica) as client:
        for answer in asked(client, scope):
            found = {
                namespace
                for document in documents(answer)
                for namespace in namespaces_in(document)
                if not namespace.endswith("/**")
            }
            assert found <= expected, answer.request.url
        recalled, meant, listed = asked(client, scope)[:3]
        for answer in (recalled, meant):
            assert {hit["memory"]["namespace"] for hit in answer.json()["hits"]} == expected
        assert {memory["namespace"] for memory in listed.json()["items"]} == expected
