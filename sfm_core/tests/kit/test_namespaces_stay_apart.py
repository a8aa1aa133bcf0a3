"""No operation of the whole memory sees or touches another namespace, however alike the names are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given

from sfm_core import open_memory
from sfm_core.errors import Conflict, Forbidden, InvalidInput, NotFound, SfmError
from sfm_core.memory import AgentMemory
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope
from sfm_core.services.principal import Principal, Verb
from sfm_core.testing.build import new_id
from sfm_core.testing.fakes import HashingEmbedding
from sfm_core.testing.storage_isolation import QUIET, namespaces

Pairs = dict[str, tuple[Memory, Memory]]


def embed(texts: list[str]) -> list[list[float]]:
    """Texts with words in common are near each other."""
    return [HashingEmbedding(16).vector(text) for text in texts]


def opened(storage: str, folder: str) -> AbstractAsyncContextManager[AgentMemory]:
    """Return a new, empty memory."""
    if storage == "inmemory":
        return open_memory(mode="test", embed=embed)
    return open_memory(mode="development", settings={"data_dir": folder}, embed=embed)


def in_fresh_memory(storage: str, check: Callable[[AgentMemory], Coroutine[Any, Any, None]]) -> None:
    """Run `check` on a new memory."""

    async def run(folder: str) -> None:
        async with opened(storage, folder) as memory:
            await check(memory)

    with TemporaryDirectory() as folder:
        asyncio.run(run(str(Path(folder) / "data")))


async def filled(memory: AgentMemory, names: list[str]) -> Pairs:
    """Store the same two linked memories in every namespace."""
    found: Pairs = {}
    for name in names:
        one = (
            await memory.remember("green tea", namespace=name, coordinate=(1.0,), author="Ada", thread="t", position=1)
        ).memory
        two = (await memory.remember("black tea", namespace=name, tags=("x",), thread="t", position=2)).memory
        await memory.link(one.id, two.id)
        found[name] = (one, two)
    return found


async def reads(memory: AgentMemory, scope: Scope) -> dict[str, set[str]]:
    """Return the namespaces that each read of a scope shows."""
    where = str(scope)
    tea = await memory.recall("tea", namespace=where, k=1000)
    black = {"field": "tags", "op": "contains", "value": "x"}
    filtered = await memory.recall("Where is Ada's tea?", namespace=where, k=1000, filter=black, expand_links=1)
    near = await memory.recall_vector(embed(["tea"])[0], namespace=where, k=1000)
    lines = b"".join([chunk async for chunk in memory.export(namespace=where)]).splitlines()
    exported = [json.loads(line) for line in lines]
    page = await memory.list(namespace=where, limit=1000)
    past = await memory.list(namespace=where, limit=1000, as_of="2999-01-01")
    forgetting = await memory.forget(namespace=where, filter=black)
    log = await memory.changes(namespace=where, limit=1000)
    counted = await memory.services.overview.namespaces(memory.principal, namespace=where)
    return {
        "recall": {hit.memory.namespace for hit in tea.hits},
        "filtered recall": {hit.memory.namespace for hit in filtered.hits},
        "recall_vector": {hit.memory.namespace for hit in near.hits},
        "list": {one.namespace for one in page.items},
        "list of the past": {one.namespace for one in past.items},
        "changes": {event.data.namespace for event in log.items},
        "namespaces": {stats.namespace for stats in counted},
        "export": {part["namespace"] for line in exported for part in mappings(line) if "occurred_at" in part},
        "forget": {(await memory.get(id)).namespace for id in forgetting.items},
    }


def mappings(value: Any) -> list[dict[str, Any]]:
    """Return every object inside a JSON value."""
    if isinstance(value, dict):
        return [value, *(inner for one in value.values() for inner in mappings(one))]
    return [inner for one in value for inner in mappings(one)] if isinstance(value, list) else []


async def refused(work: Awaitable[object], *kinds: type[SfmError]) -> None:
    """Carry out what must be refused."""
    with pytest.raises(kinds):
        await work


@pytest.mark.parametrize("storage", ["inmemory", "sqlite"])
@QUIET
@given(names=namespaces)
def test_every_read_stays_in_its_scope(storage: str, names: list[str]) -> None:
    """Recall by words and vector, lists, the past, changes, counts, exports and dry runs show the scope and no more."""

    async def check(memory: AgentMemory) -> None:
        pairs = await filled(memory, names)
        for scope in (Scope(name, sub) for name in names for sub in (False, True)):
            inside = {name for name in names if scope.covers(name)}
            shown = await reads(memory, scope)
            assert shown == dict.fromkeys(shown, inside), scope
            stats = await memory.stats(namespace=str(scope))
            assert (stats.memories, stats.links, stats.namespaces) == (2 * len(inside), len(inside), len(inside))
        for name, (one, two) in pairs.items():
            assert await memory.at_coordinate((1.0,), namespace=name) == (one,)
            assert await memory.at_coordinate(low=(0.0,), high=(2.0,), namespace=name) == (one,)
            assert [n.memory.id for n in (await memory.neighbors(one.id, depth=5)).items] == [two.id]

    in_fresh_memory(storage, check)


@pytest.mark.parametrize("storage", ["inmemory", "sqlite"])
@QUIET
@given(names=namespaces)
def test_every_write_stays_in_its_namespace(storage: str, names: list[str]) -> None:
    """Updates, links, deletions, erasures and forgetting in one namespace leave all others as they were."""

    async def check(memory: AgentMemory) -> None:
        pairs = await filled(memory, names)
        first, *others = names
        one, two = pairs[first]
        before = [await memory.list(namespace=name) for name in others]
        for other in others:
            await refused(memory.link(one.id, pairs[other][0].id), InvalidInput)
        await memory.update(one.id, content="changed", tags=("y",))
        undone = await memory.forget(namespace=first, filter={"and": []}, dry_run=False)
        await memory.undo(str(undone.operation))
        await memory.delete(two.id)
        await memory.erase(one.id)
        await memory.delete_namespace(first)
        assert (await memory.list(namespace=first)).items == ()
        assert [await memory.list(namespace=name) for name in others] == before

    in_fresh_memory(storage, check)


@pytest.mark.parametrize("storage", ["inmemory", "sqlite"])
@QUIET
@given(names=namespaces)
def test_a_principal_sees_its_own_namespace_only(storage: str, names: list[str]) -> None:
    """Ids of other namespaces are not found by any operation, and other scopes are forbidden."""

    async def check(memory: AgentMemory) -> None:
        pairs = await filled(memory, names)
        first, *others = names
        bound = memory.as_principal(Principal("bound", (Scope(first),), frozenset(Verb)))
        own, _ = pairs[first]
        assert {hit.memory.namespace for hit in (await bound.recall("tea", namespace=first, k=99)).hits} == {first}
        assert {event.data.namespace for event in (await bound.changes()).items} == {first}
        assert (await bound.stats()).memories == 2
        for other in others:
            one, two = pairs[other]
            for work in (
                bound.get(one.id),
                bound.history(one.id),
                bound.update(one.id, content="x"),
                bound.delete(one.id),
                bound.erase(one.id),
                bound.restore(one.id, 1),
                bound.neighbors(one.id),
                bound.path(one.id, two.id),
                bound.link(own.id, one.id),
                bound.unlink(one.id, two.id),
            ):
                await refused(work, NotFound, Forbidden)
            await refused(bound.remember("x", namespace=first, id=one.id), Conflict)
            for scope in (other, f"{other}/**", f"{first}/**", "**"):
                await refused(bound.recall("tea", namespace=scope), Forbidden)
                await refused(bound.list(namespace=scope), Forbidden)
                await refused(bound.forget(namespace=scope, filter={"and": []}, dry_run=False), Forbidden)
                await refused(bound.changes(namespace=scope), Forbidden)
            await refused(bound.remember("x", namespace=other), Forbidden)
            await refused(bound.delete_namespace(other, erase=True), Forbidden)
            await refused(bound.at_coordinate((1.0,), namespace=other), Forbidden)
        gone = await memory.delete(pairs[others[0]][0].id)
        for work in (bound.undo(str(gone.operation)), bound.operation(str(gone.operation)), bound.undo(new_id())):
            await refused(work, NotFound, Forbidden)
        assert (await memory.stats()).memories == 2 * len(names) - 1

    in_fresh_memory(storage, check)
