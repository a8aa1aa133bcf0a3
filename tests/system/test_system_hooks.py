"""Operation hooks: change, refuse, watch; what fails after the write is counted, not raised."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from sfm_core.errors import Forbidden, InvalidInput, NotFound, PluginError
from sfm_core.memory import AgentMemory
from sfm_core.model.memory import Memory
from sfm_core.services.principal import Principal

Hooked = Callable[..., Any]


def redact(memory: Memory) -> Memory | None:
    """Take a word out of contents."""
    if memory.content is None or "secret" not in memory.content:
        return None
    return replace(memory, content=memory.content.replace("secret", "[...]"))


async def test_a_hook_changes_what_is_stored_by_every_way(opening: Callable[..., Any], hooked: Hooked) -> None:
    """New, batch, coordinate, update, restore and import, old versions included; a second import adds nothing."""
    async with opening() as plain:
        id = (await plain.remember("a secret from before")).memory.id
        await plain.update(id, content="the later secret")
        archive = b"".join([line async for line in plain.export()])
        await plain.erase(id)
    async with opening(plugins=[hooked(sfm_remembering=redact)], mode="test") as memory:
        made = await memory.remember("my secret")
        assert (made.memory.content, (await memory.get(made.memory.id)).content) == ("my [...]", "my [...]")
        assert (await memory.remember("my secret")).outcome == "duplicate"
        [result] = await memory.remember_many([{"content": "many secrets"}])
        assert result.memory is not None
        assert result.memory.content == "many [...]s"
        assert (await memory.update(made.memory.id, content="new secret")).memory.content == "new [...]"
        assert (await memory.update(made.memory.id, content="new secret")).outcome == "unchanged"
        report = await memory.import_from([archive])
        assert report.added == 1
        assert [m.content for m in (await memory.history(id)).items] == ["the later [...]", "a [...] from before"]
        assert (await memory.import_from([archive])).added == 0
        whole = b"".join([line async for line in memory.export()])
        assert b"secret" not in whole


async def test_a_hook_refuses_and_nothing_is_stored(opening: Callable[..., Any], hooked: Hooked) -> None:
    """Its own error reaches the caller as it is; another exception as a plugin's failure without its text."""

    def guard(memory: Memory, principal: Principal) -> None:
        if memory.content == "forbidden":
            raise Forbidden("not for me")
        if memory.content == "broken":
            raise ValueError(memory.content)

    async with opening(plugins=[hooked(sfm_remembering=guard)]) as memory:
        for content, error in (("forbidden", Forbidden), ("broken", PluginError)):
            with pytest.raises(error) as refused:
                await memory.remember(content)
            assert "broken" not in str(refused.value)
            with pytest.raises(error):
                await memory.remember_many([{"content": "fine"}, {"content": content}], atomic=True)
            with pytest.raises(error):
                await memory.remember(content, coordinate=[1])
        good, bad = await memory.remember_many([{"content": "fine"}, {"content": "forbidden"}])
        assert (good.outcome, type(bad.error)) == ("created", Forbidden)
        assert good.memory is not None
        with pytest.raises(Forbidden):
            await memory.update(good.memory.id, content="forbidden")
        assert (await memory.stats()).versions == 1


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("blank content", {"content": " "}),
        ("no content", {"content": None}),
        ("a null payload", {"payload": None}),
        ("a bad payload", {"payload": {"a": float("nan")}}),
        ("a null importance", {"importance": None}),
        ("an importance of 2", {"importance": 2}),
        ("odd tags", {"tags": ("a", "a")}),
        ("no time", {"occurred_at": None}),
        ("no creation", {"created_at": None}),
        ("an order of validity", {"valid_from": "2024-01-01", "valid_to": "2023-01-01"}),
    ],
)
@pytest.mark.parametrize("mode", ["test"], indirect=True)
async def test_what_a_hook_gives_is_checked(
    opening: Callable[..., Any], hooked: Hooked, name: str, changes: dict[str, Any]
) -> None:
    """As if the caller had given it."""
    plugin = hooked(sfm_remembering=lambda memory: replace(memory, **changes))
    async with opening(plugins=[plugin]) as memory:
        with pytest.raises(InvalidInput):
            await memory.remember("x")
        assert (await memory.stats()).last_sequence == 0


@pytest.mark.parametrize("mode", ["test"], indirect=True)
async def test_what_a_hook_gives_is_made_canonical(opening: Callable[..., Any], hooked: Hooked) -> None:
    """Lists become tuples, texts times, whole numbers floats."""
    changes: dict[str, Any] = {"tags": ["a"], "coordinate": [1, -0.0], "occurred_at": "2024-01-01", "importance": 1}
    async with opening(plugins=[hooked(sfm_remembering=lambda memory: replace(memory, **changes))]) as memory:
        stored = (await memory.remember("x")).memory
        assert (stored.tags, str(stored.coordinate), stored.importance) == (("a",), "(1.0, 0.0)", 1.0)
        assert stored.occurred_at.isoformat() == "2024-01-01T00:00:00+00:00"
        assert await memory.at_coordinate([1, 0]) == (stored,)


@pytest.mark.parametrize("field", ["id", "namespace", "version"])
@pytest.mark.parametrize("mode", ["test"], indirect=True)
async def test_a_hook_cannot_move_a_memory(opening: Callable[..., Any], hooked: Hooked, field: str) -> None:
    """Id, namespace and version must stay."""
    other = {"id": "00000000-0000-4000-8000-000000000000", "namespace": "elsewhere", "version": 7}[field]
    async with opening(plugins=[hooked(sfm_remembering=lambda memory: replace(memory, **{field: other}))]) as memory:
        with pytest.raises(PluginError, match=field):
            await memory.remember("x")
        assert (await memory.stats()).last_sequence == 0


async def test_a_failing_watcher_is_counted_and_the_write_stands(
    opening: Callable[..., Any], hooked: Hooked, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged without the content; duplicates and unchanged ones are not told."""
    told: list[tuple[str | None, int]] = []

    def watch(memory: Memory) -> None:
        told.append((memory.content, memory.version))
        raise ValueError(memory.content)

    async with opening(plugins=[hooked(name="watcher", sfm_remembered=watch)]) as memory:
        with caplog.at_level(logging.ERROR):
            id = (await memory.remember("my secret")).memory.id
        assert "watcher" in caplog.text
        assert "secret" not in caplog.text
        await memory.remember("my secret")
        await memory.update(id, pinned=True)
        await memory.update(id, pinned=True)
        await memory.delete(id)
        await memory.restore(id, 1)
        assert told == [("my secret", 1), ("my secret", 2), ("my secret", 4)]
        assert memory.services.remember._committer.hooks.failures == {"watcher": 3}
        assert (await memory.get(id)).version == 4


async def test_a_hold_keeps_memories_from_going(opening: Callable[..., Any], hooked: Hooked) -> None:
    """Delete, erase, forget and the removal of a namespace are refused whole; expiry is not asked."""
    held: set[str] = set()
    asked: list[tuple[int, bool]] = []

    def hold(memory_ids: list[str], erase: bool) -> None:
        asked.append((len(memory_ids), erase))
        if held & set(memory_ids):
            raise Forbidden("on hold")

    async with opening(plugins=[hooked(sfm_forgetting=hold)]) as memory:
        first = (await memory.remember("held")).memory.id
        await memory.remember("free")
        held.add(first)
        calls = [
            memory.delete(first),
            memory.erase(first),
            memory.forget(namespace="default", filter={"and": []}, dry_run=False),
            memory.forget(namespace="default", policy={"keep_newest": 0}, dry_run=False, erase=True),
            memory.delete_namespace("default"),
        ]
        for call in calls:
            with pytest.raises(Forbidden, match="hold"):
                await call
        assert asked == [(1, False), (1, True), (2, False), (2, True), (2, False)]
        assert (await memory.stats()).memories == 2
        assert (await memory.forget(namespace="default", filter={"and": []})).count == 2
        held.clear()
        await memory.erase(first)
        with pytest.raises(NotFound):
            await memory.history(first)


async def test_recall_passes_through_its_hooks(opening: Callable[..., Any], hooked: Hooked) -> None:
    """The query may be changed, the answer cut."""
    plugin = hooked(
        sfm_recalling=lambda query: replace(query, k=2),
        sfm_recalled=lambda answer: replace(answer, hits=answer.hits[:1]),
    )
    async with opening(plugins=[plugin]) as memory:
        for n in range(3):
            await memory.remember(f"tea {n}")
        assert len((await memory.recall("tea", k=3)).hits) == 1


async def test_hooks_run_in_the_order_of_the_plugins(opening: Callable[..., Any], hooked: Hooked) -> None:
    """Each on the result of the one before, with the principal when it asks for it."""
    seen: list[str] = []

    def adding(word: str) -> Callable[..., Memory]:
        def hook(memory: Memory, principal: Principal) -> Memory:
            seen.append(principal.name)
            return replace(memory, content=f"{memory.content} {word}")

        return hook

    plugins = [hooked(name=name, sfm_remembering=adding(name)) for name in ("one", "two")]
    async with opening(plugins=plugins) as memory:
        assert (await memory.remember("x")).memory.content == "x one two"
    assert seen == ["local", "local"]


async def test_a_cancelled_write_is_whole_or_absent(memory: AgentMemory) -> None:
    """And what is stored of it is found like any other."""
    for n in range(20):
        task = asyncio.ensure_future(memory.remember(f"tea number{n}"))
        for _ in range(n % 5):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.05)
    stored = (await memory.list()).items
    assert len((await memory.changes()).items) == len(stored)
    for item in stored:
        assert (await memory.recall(str(item.content), k=1)).hits[0].memory == item
