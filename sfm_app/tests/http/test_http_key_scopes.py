"""A key of some namespaces over every route: whatever is asked, nothing of another namespace is shown or changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfm_app.http.routes import HANDLERS
from sfm_app.http.table import template_of
from sfm_core.model.namespace import parse_scope
from sfm_core.services.principal import Verb

NAMES = ["a", "a/b", "a-b", "ab", "a b", "A", "a.b", "a/b/c", "a%", "a_", "ä", "b/a"]
ALL = [verb.value for verb in Verb]
ROUTES = {
    (method, template_of(path))
    for handler in HANDLERS
    for path in handler.paths
    for method in handler.http_methods
    if path.startswith("/v1/")
}
TELLS_NOTHING_OF_MEMORIES = {("GET", "/v1/plugins"), ("GET", "/v1/capabilities")}
NDJSON = {"Content-Type": "application/x-ndjson"}


def namespaces_in(found: Any) -> Iterator[str]:
    """Yield every namespace that a document tells of."""
    if isinstance(found, dict):
        yield from (value for name, value in found.items() if name == "namespace" and isinstance(value, str))
        yield from (
            pattern
            for name, value in found.items()
            if name == "namespaces" and isinstance(value, list)
            for pattern in value
        )
        for value in found.values():
            yield from namespaces_in(value)
    elif isinstance(found, list):
        for value in found:
            yield from namespaces_in(value)


class World:
    """A service with the same two linked memories, a deletion and a key in every namespace."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.admin: dict[str, str] = {}
        self.memories: dict[str, tuple[str, str]] = {}
        self.operations: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.archives: dict[str, bytes] = {}

    async def ask(self, who: dict[str, str], method: str, path: str, **more: Any) -> httpx.Response:
        """Send a request with a key."""
        return await self.client.request(method, path, headers={**who, **more.pop("headers", {})}, **more)

    async def key(self, pattern: str) -> tuple[str, dict[str, str]]:
        """Make a key that may do everything in a pattern; return its id and its header."""
        answer = await self.ask(self.admin, "POST", "/v1/keys", json={"namespaces": [pattern], "verbs": ALL})
        return answer.json()["id"], {"Authorization": f"Bearer {answer.json()['key']}"}

    async def fill(self, names: list[str]) -> None:
        """Make everything."""
        _, self.admin = await self.key("**")
        for name in names:
            ids = []
            for number in range(3):
                body = {"content": f"tea {number}", "namespace": name, "coordinate": [number], "tags": ["t"]}
                answer = await self.ask(self.admin, "POST", "/v1/memories", json=body)
                ids.append(answer.json()["memory"]["id"])
            await self.ask(self.admin, "POST", "/v1/links", json={"source": ids[0], "target": ids[1]})
            gone = await self.ask(self.admin, "DELETE", f"/v1/memories/{ids[2]}")
            self.operations[name] = gone.json()["operation"]
            self.memories[name] = ids[0], ids[1]
            self.keys[name], _ = await self.key(name)
            self.archives[name] = await self.archive(name)

    async def archive(self, name: str) -> bytes:
        """Return everything that a namespace holds, the manifest left out, which tells when."""
        answer = await self.ask(self.admin, "GET", "/v1/export", params={"namespace": name})
        return b"\n".join(answer.content.splitlines()[1:-1])

    async def whole_archive(self, name: str) -> bytes:
        """Return an archive that can be imported."""
        return (await self.ask(self.admin, "GET", "/v1/export", params={"namespace": name})).content


def requests_for(world: World, foreign: str, scope: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (method, template, request) of everything that can be asked about a foreign namespace or its memories."""
    one, two = world.memories[foreign]
    body: Any
    for method, template, body in (
        ("POST", "/v1/memories", {"content": "x", "namespace": foreign}),
        ("POST", "/v1/memories/batch", {"memories": [{"content": "x", "namespace": foreign}], "atomic": True}),
        ("PATCH", "/v1/memories/{id}", {"content": "changed"}),
        ("POST", "/v1/memories/{id}/restore", {"version": 1}),
        ("POST", "/v1/recall", {"query": "tea", "namespace": scope}),
        ("POST", "/v1/links", {"source": one, "target": two, "relation": "x"}),
        ("POST", "/v1/paths", {"source": one, "target": two}),
        ("POST", "/v1/forget", {"namespace": scope, "filter": {"and": []}, "dry_run": False, "erase": True}),
        ("POST", "/v1/keys", {"namespaces": [scope], "verbs": ["read"]}),
        ("DELETE", "/v1/memories/{id}", None),
        ("GET", "/v1/memories/{id}", None),
        ("GET", "/v1/memories/{id}/history", None),
        ("GET", "/v1/memories/{id}/neighbors", None),
    ):
        yield method, template, {"path": template.replace("{id}", one), "json": body}
    operation = f"/v1/operations/{world.operations[foreign]}"
    yield "GET", "/v1/operations/{id}", {"path": operation}
    yield "POST", "/v1/operations/{id}/undo", {"path": f"{operation}/undo"}
    yield "DELETE", "/v1/links", {"path": "/v1/links", "params": {"source": one, "target": two}}
    yield "DELETE", "/v1/namespaces/{namespace}", {"path": "/v1/namespaces/" + foreign.replace("%", "%25")}
    yield "DELETE", "/v1/keys/{id}", {"path": f"/v1/keys/{world.keys[foreign]}"}
    for path in ("memories", "namespaces", "stats", "changes", "export"):
        yield "GET", f"/v1/{path}", {"path": f"/v1/{path}", "params": {"namespace": scope}}
    coordinate = {"namespace": foreign, "coordinate": "1"}
    yield "GET", "/v1/memories/by-coordinate", {"path": "/v1/memories/by-coordinate", "params": coordinate}


async def check(start: Any, storage: str, names: list[str], pattern: str) -> None:
    """Try everything with a key of `pattern`."""
    own = {name for name in names if parse_scope(pattern).covers(name)}
    foreign = [name for name in names if name not in own]
    async with start(storage=storage) as client:
        world = World(client)
        await world.fill(names)
        mine, who = await world.key(pattern)
        asked = set(TELLS_NOTHING_OF_MEMORIES)
        for name in foreign:
            for scope in (name, f"{name}/**", "**"):
                for method, template, request in requests_for(world, name, scope):
                    answer = await world.ask(who, method, **request)
                    assert answer.status_code in (403, 404), (method, request, answer.status_code, answer.text)
                    assert foreign_words(answer, name) == set(), (method, request, answer.text)
                    asked.add((method, template))
            asked |= await mixed(world, who, name)
        for path in ("memories", "namespaces", "stats", "changes", "export", "keys"):
            answer = await world.ask(
                who, "GET", f"/v1/{path}", params={"limit": 1000} if path in ("changes", "keys") else {}
            )
            shown = [json.loads(line) for line in answer.text.splitlines()] if path == "export" else answer.json()
            if answer.status_code == 200:
                assert {name for name in namespaces_in(shown) if name in names} <= own, path
            asked.add(("GET", f"/v1/{path}"))
        listed = (await world.ask(who, "GET", "/v1/keys")).json()["items"]
        assert {item["id"] for item in listed} == {mine, *(world.keys[name] for name in own)}
        counted = (await world.ask(who, "GET", "/v1/stats")).json()
        assert (counted["namespaces"], counted["memories"]) == (len(own), 2 * len(own))
        for name in foreign:
            assert await world.archive(name) == world.archives[name]
        kept = (await world.ask(world.admin, "GET", "/v1/keys")).json()["items"]
        assert [item for item in kept if item["revoked_at"] is not None] == []
        assert not foreign or asked == ROUTES


def foreign_words(answer: httpx.Response, name: str) -> set[str]:
    """Return what a refusal tells of memories: nothing."""
    return {word for word in ("tea 0", "tea 1", "tea 2") if word in answer.text}


async def mixed(world: World, who: dict[str, str], name: str) -> set[tuple[str, str]]:
    """Try what may be half allowed: batches and archives; return the routes."""
    memories = [{"content": "x", "namespace": name}]
    batch = await world.ask(who, "POST", "/v1/memories/batch", json={"memories": memories})
    assert [result["status"] for result in batch.json().get("results", [])] in ([], [403])
    queries = await world.ask(who, "POST", "/v1/recall/batch", json={"queries": [{"query": "tea", "namespace": name}]})
    assert [answer["status"] for answer in queries.json()["answers"]] == [403]
    archive = await world.whole_archive(name)
    imported = await world.ask(who, "POST", "/v1/import", content=archive, headers=NDJSON)
    assert imported.status_code in (403, 404), imported.text
    return {("POST", "/v1/memories/batch"), ("POST", "/v1/recall/batch"), ("POST", "/v1/import")}


@pytest.mark.parametrize("storage", ["inmemory", "sqlite"])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.sampled_from(NAMES), min_size=2, max_size=4, unique=True),
    subtree=st.booleans(),
)
def test_a_key_shows_and_changes_nothing_outside_its_namespaces(
    start: Any, storage: str, names: list[str], subtree: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Over every route that there is, with all verbs, for names that are easily confused."""
    folder = tmp_path_factory.mktemp("keys")

    def started(**more: Any) -> Any:
        return start(data_dir=folder, rate_limit=0, **more)

    asyncio.run(check(started, storage, names, f"{names[0]}/**" if subtree else names[0]))
