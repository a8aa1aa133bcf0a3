"""The change log for callers, counts, and what is told of the plan."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from sfm_core.memory import AgentMemory
from sfm_core.model.event import DATASCHEMA


async def test_events_are_thin_cloud_events(memory: AgentMemory) -> None:
    """Every attribute of the specification, ids and numbers, no content."""
    made = (await memory.remember("the secret", payload={"k": "secret"}, namespace="a/b")).memory
    [event] = (await memory.changes()).items
    raw = json.loads(msgspec.json.encode(event))
    assert raw == {
        "specversion": "1.0",
        "id": raw["id"],
        "source": "urn:somafractalmemory",
        "type": "memory.created",
        "subject": made.id,
        "time": raw["time"],
        "datacontenttype": "application/json",
        "dataschema": DATASCHEMA,
        "data": {"memory_id": made.id, "version": 1, "namespace": "a/b", "sequence": 1},
    }
    assert raw["id"]
    assert raw["time"].endswith("Z")


async def test_pages_of_changes_cover_the_log_once(memory: AgentMemory) -> None:
    """In order, by `after`; `next` continues, `last_sequence` is the newest."""
    for n in range(7):
        await memory.remember(f"m{n}", namespace="a" if n % 2 else "b/c")
    whole = await memory.changes()
    assert [e.data.sequence for e in whole.items] == [1, 2, 3, 4, 5, 6, 7]
    assert (whole.next, whole.last_sequence) == (None, 7)
    seen: list[int] = []
    after: int | None = 0
    while after is not None:
        page = await memory.changes(after=after, limit=3)
        seen += [e.data.sequence for e in page.items]
        after = page.next
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    assert [e.data.sequence for e in (await memory.changes(namespace="a")).items] == [2, 4, 6]
    assert [e.data.sequence for e in (await memory.changes(namespace="b/**", after=3)).items] == [5, 7]
    assert (await memory.changes(namespace="b")).items == ()
    assert (await memory.changes(after=10**9)).items == ()


async def test_following_yields_what_comes(memory: AgentMemory) -> None:
    """First what is there above `after`, then each change as it is written, of the namespace asked for."""
    await memory.remember("before", namespace="a")
    await memory.remember("seen", namespace="a")
    stream = memory.services.changes.follow(memory.principal, namespace="a", after=1)
    assert (await anext(stream)).data.sequence == 2
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await memory.remember("elsewhere", namespace="b")
    late = await memory.remember("late", namespace="a")
    assert (await asyncio.wait_for(waiting, 5)).data.sequence == late.sequence
    for n in range(1500):
        await memory.remember(f"m{n}", namespace="a")
        if n % 500 == 0:
            await memory.remember(f"other {n}", namespace="b")
    found = [await asyncio.wait_for(anext(stream), 5) for _ in range(1500)]
    sequences = [event.data.sequence for event in found]
    assert sequences == sorted(set(sequences))
    assert {event.data.namespace for event in found} == {"a"}
    await stream.aclose()  # type: ignore[attr-defined]


async def test_counts_are_told_by_namespace_and_in_sum(memory: AgentMemory) -> None:
    """Live, deleted, versions and links between the living."""
    a = (await memory.remember("one", namespace="a")).memory.id
    b = (await memory.remember("two", namespace="a")).memory.id
    await memory.remember("three", namespace="a/b")
    await memory.update(a, author="Ada")
    await memory.link(a, b)
    stats = await memory.stats()
    expected: dict[str, Any] = {
        "namespaces": 2,
        "memories": 3,
        "deleted": 0,
        "versions": 4,
        "links": 1,
        "last_sequence": 5,
    }
    assert {name: getattr(stats, name) for name in expected} == expected
    assert stats.indexed_sequence == 5
    await memory.delete(b)
    named = await memory.services.overview.namespaces(memory.principal, namespace="a/**")
    assert [(s.namespace, s.memories, s.deleted, s.versions, s.links) for s in named] == [
        ("a", 1, 1, 4, 0),
        ("a/b", 1, 0, 1, 0),
    ]
    assert (await memory.stats(namespace="a/b")).memories == 1
    assert (await memory.stats(namespace="x")).namespaces == 0


async def test_the_plan_in_force_is_told(memory: AgentMemory, mode: str) -> None:
    """Plugins with distribution and version; slots, arms and limits."""
    plugins = await memory.services.overview.plugins(memory.principal)
    assert all(plugin.version for plugin in plugins)
    able = await memory.services.overview.capabilities(memory.principal)
    assert (able.mode, able.indexing) == (mode, "inline")
    storage = able.slots["storage"]
    assert storage is not None
    assert "full_text" in storage.capabilities
    assert set(able.arms) >= {"lexical", "links", "time"}
    assert able.limits.k == 1000


@pytest.mark.parametrize("mode", ["test"], indirect=True)
async def test_readiness_names_every_backend(memory: AgentMemory) -> None:
    """Up, with its port, and whether it is required."""
    ready = await memory.services.health.ready()
    assert ready.status == "ready"
    assert {name: (b.port, b.required, b.state) for name, b in ready.backends.items()} == {
        "storage:inmemory": ("storage", True, "up")
    }
