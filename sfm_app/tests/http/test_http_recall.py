"""Recall over REST."""

from __future__ import annotations

from typing import Any

import httpx
import pytest


@pytest.fixture
async def filled(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """A service that knows some things."""
    memories = [
        {"content": "Ada moved to Turin in spring", "author": "Ada"},
        {"content": "Bob bought a red bicycle", "author": "Bob", "kind": "semantic"},
        {"content": "The bicycle of Bob was stolen", "author": "Bob"},
    ]
    await client.post("/v1/memories/batch", json={"memories": memories})
    return client


async def test_a_question_is_answered_with_hits_best_first(filled: httpx.AsyncClient) -> None:
    """Scores fall, nothing is partial, and the time it took is told."""
    answer = await filled.post("/v1/recall", json={"query": "Where did Ada move?", "k": 2})
    body = answer.json()
    assert answer.status_code == 200
    assert body["hits"][0]["memory"]["content"] == "Ada moved to Turin in spring"
    scores = [hit["score"] for hit in body["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert body["partial"] == []
    assert body["took_ms"] >= 0
    assert "explain" not in body["hits"][0]


async def test_an_explained_answer_says_why(filled: httpx.AsyncClient) -> None:
    """Each hit has its parts and arms."""
    answer = await filled.post("/v1/recall", json={"query": "bicycle", "explain": True})
    assert {"total", "parts", "arms", "matched"} <= set(answer.json()["hits"][0]["explain"])


async def test_kinds_and_filter_narrow_the_answer(filled: httpx.AsyncClient) -> None:
    """Both apply before the top k."""
    semantic = await filled.post("/v1/recall", json={"query": "bicycle", "kinds": ["semantic"]})
    assert [h["memory"]["content"] for h in semantic.json()["hits"]] == ["Bob bought a red bicycle"]
    ada = {"field": "author", "op": "eq", "value": "Ada"}
    answer = await filled.post("/v1/recall", json={"query": "Ada bicycle", "filter": ada})
    assert [h["memory"]["author"] for h in answer.json()["hits"]] == ["Ada"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"query": ""}, "query"),
        ({"query": "  "}, "query"),
        ({"query": 7}, "query"),
        ({"query": None}, "query"),
        ({"vector": [1.0]}, "query"),
        ({"k": 0}, "k"),
        ({"k": -1}, "k"),
        ({"k": 10**9}, "k"),
        ({"k": 1.5}, "k"),
        ({"k": True}, "k"),
        ({"namespace": "a//b"}, "namespace"),
        ({"kinds": ["dream"]}, "kinds.0"),
        ({"deadline_ms": 0}, "deadline_ms"),
        ({"min_score": 2}, "min_score"),
        ({"expand_links": 4}, "expand_links"),
        ({"prefer": "old"}, "prefer"),
        ({"as_of": "soon"}, "as_of"),
        ({"filter": {"field": "x", "op": "eq", "value": 1}}, "filter.field"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_refused_question_names_the_field(
    client: httpx.AsyncClient, change: dict[str, Any], field: str
) -> None:
    """422 with the member that is refused."""
    answer = await client.post("/v1/recall", json={"query": "bicycle", **change})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field


async def test_many_questions_are_answered_in_order(filled: httpx.AsyncClient) -> None:
    """One answer per question."""
    queries = [{"query": "Ada", "k": 1}, {"query": "bicycle", "k": 1}]
    answer = await filled.post("/v1/recall/batch", json={"queries": queries})
    authors = [found["hits"][0]["memory"]["author"] for found in answer.json()["answers"]]
    assert authors == ["Ada", "Bob"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"queries": [{"query": "a"}, {"query": "b", "k": 0}]}, "queries.1.k"),
        ({"queries": [{"query": "a"}] * 101}, "queries"),
        ({"queries": "a"}, "queries"),
        ({}, "queries"),
        ({"queries": [], "k": 1}, "k"),
    ],
)
async def test_a_refused_batch_of_questions_names_the_field(
    client: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    """Nothing is searched."""
    answer = await client.post("/v1/recall/batch", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_a_write_is_found_at_once(client: httpx.AsyncClient) -> None:
    """The lexical arm sees what was acknowledged before."""
    for n in range(5):
        await client.post("/v1/memories", json={"content": f"the heliograph number {n}"})
        answer = await client.post("/v1/recall", json={"query": "heliograph"})
        assert len(answer.json()["hits"]) == n + 1
