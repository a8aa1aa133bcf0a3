"""Deleting, erasing, forgetting by filter, policy and namespace, undo and operations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from sfm_core.errors import Conflict, InvalidInput, NotFound
from sfm_core.memory import AgentMemory
from sfm_core.model.namespace import ALL
from sfm_core.testing.fakes import SettableClock

EVERYTHING = {"and": []}


async def contents(memory: AgentMemory, namespace: str = "**") -> set[str | None]:
    """Return the contents of all live memories."""
    return {m.content for m in (await memory.list(namespace=namespace, limit=1000)).items}


async def test_a_deleted_memory_is_hidden_and_can_be_brought_back(memory: AgentMemory) -> None:
    """At once and everywhere; with its links, at a new version, under the operation of the receipt."""
    one = (await memory.remember("one tea", coordinate=[1])).memory
    two = (await memory.remember("two")).memory
    await memory.link(one.id, two.id)
    receipt = await memory.delete(one.id)
    assert (receipt.outcome, receipt.memory.version) == ("deleted", 2)
    assert {(s.store.split(":")[0], s.state) for s in receipt.stores or ()} == {("storage", "done")}
    with pytest.raises(NotFound):
        await memory.get(one.id)
    with pytest.raises(NotFound):
        await memory.delete(one.id)
    assert await contents(memory) == {"two"}
    assert await memory.at_coordinate([1]) == ()
    assert (await memory.neighbors(two.id)).items == ()
    assert [hit.memory.id for hit in (await memory.recall("one tea")).hits] == [two.id]
    state = await memory.operation(str(receipt.operation))
    assert (state.kind, state.state, state.count, state.sequence) == ("delete", "done", 1, receipt.sequence)
    assert state.undo_until == state.created_at + timedelta(days=7)
    undone = await memory.undo(str(receipt.operation))
    assert (undone.state, undone.undone_at is not None) == ("undone", True)
    back = await memory.get(one.id)
    assert (back.version, back.content, back.coordinate) == (3, "one tea", (1.0,))
    assert len((await memory.neighbors(two.id)).items) == 1
    assert (await memory.recall("one tea")).hits[0].memory == back
    with pytest.raises(Conflict):
        await memory.undo(str(receipt.operation))


async def test_undo_is_over_after_its_window(memory: AgentMemory, clock: SettableClock) -> None:
    """Seven days by default."""
    id = (await memory.remember("x")).memory.id
    operation = str((await memory.delete(id)).operation)
    clock.advance(7 * 86400 + 1)
    with pytest.raises(Conflict, match="window"):
        await memory.undo(operation)
    assert (await memory.operation(operation)).state == "done"
    assert (await memory.restore(id, 1)).outcome == "restored"


async def test_undo_spares_what_came_after(memory: AgentMemory) -> None:
    """A memory that was restored or erased since, and one whose coordinate is taken, stay as they are."""
    ids = [(await memory.remember(f"m{n}", coordinate=[n], tags=["t"])).memory.id for n in range(4)]
    report = await memory.forget(
        namespace="default", filter={"field": "tags", "op": "contains", "value": "t"}, dry_run=False
    )
    assert report.count == 4
    restored = (await memory.restore(ids[0], 1)).memory
    await memory.erase(ids[1])
    await memory.remember("holder", coordinate=[2])
    state = await memory.undo(str(report.operation))
    assert state.state == "undone"
    assert await memory.get(ids[0]) == restored
    assert await contents(memory) == {"m0", "holder", "m3"}


async def test_an_erased_memory_is_gone_for_everything(memory: AgentMemory) -> None:
    """Get, history, restore, undo; its links go too; the receipt and the log tell ids and numbers only."""
    one = (await memory.remember("the secret tea", payload={"k": "secret"}, author="secret")).memory
    two = (await memory.remember("two")).memory
    await memory.link(one.id, two.id, metadata={"m": "secret"})
    await memory.update(one.id, content="the other secret")
    deleted = str((await memory.delete(one.id)).operation)
    receipt = await memory.erase(one.id)
    assert (receipt.outcome, receipt.memory.id, receipt.memory.version) == ("erased", one.id, 4)
    assert "secret" not in repr(receipt)
    for call in (
        memory.get(one.id),
        memory.get(one.id, as_of=one.created_at),
        memory.history(one.id),
        memory.restore(one.id, 1),
        memory.update(one.id, author="x"),
        memory.delete(one.id),
        memory.erase(one.id),
        memory.neighbors(one.id),
        memory.link(one.id, two.id),
    ):
        with pytest.raises(NotFound):
            await call
    await memory.undo(deleted)
    with pytest.raises(NotFound):
        await memory.get(one.id)
    with pytest.raises(Conflict):
        await memory.undo(str(receipt.operation))
    events = (await memory.changes()).items
    assert [e.type for e in events if e.subject == one.id][-2:] == ["memory.deleted", "memory.erased"]
    assert events[-1].data.version == receipt.memory.version
    archive = b"".join([line async for line in memory.export()])
    assert b"secret" not in archive
    assert (await memory.stats()).links == 0


async def test_live_expired_and_deleted_memories_can_be_erased(memory: AgentMemory, clock: SettableClock) -> None:
    """Only an unknown one is not found."""
    live = (await memory.remember("live")).memory.id
    deleted = (await memory.remember("deleted")).memory.id
    await memory.delete(deleted)
    expired = (await memory.remember("expired", expires_at=clock() + timedelta(seconds=1))).memory.id
    clock.advance(2)
    for id in (live, deleted, expired):
        assert (await memory.erase(id)).outcome == "erased"
    assert (await memory.stats()).versions == 0


async def test_an_expired_memory_is_not_counted_as_live(memory: AgentMemory, clock: SettableClock) -> None:
    """In `stats` and `namespaces`, before the sweep has made a tombstone of it; neither is a link to it."""
    stays = (await memory.remember("stays")).memory.id
    expires = (await memory.remember("expires", expires_at=clock() + timedelta(seconds=1))).memory.id
    await memory.link(stays, expires)
    before = await memory.stats()
    assert (before.memories, before.links) == (2, 1)
    clock.advance(2)
    after = await memory.stats()
    assert (after.memories, after.deleted, after.versions, after.links) == (1, 0, before.versions, 0)


async def test_a_dry_run_tells_what_would_go(memory: AgentMemory) -> None:
    """And changes nothing; it is the default."""
    ids = {(await memory.remember(f"m{n}", importance=n / 4)).memory.id for n in range(5)}
    low = {"field": "importance", "op": "lt", "value": 0.5}
    report = await memory.forget(namespace="default", filter=low)
    assert (report.dry_run, report.count, len(report.items)) == (True, 2, 2)
    assert set(report.items) < ids
    assert (await memory.stats()).last_sequence == 5
    gone = await memory.forget(namespace="default", filter=low, dry_run=False)
    assert (gone.count, set(gone.items), gone.sequence) == (2, set(report.items), 7)
    assert await contents(memory) == {"m2", "m3", "m4"}


async def test_a_filter_is_bound_to_its_namespace(memory: AgentMemory) -> None:
    """A subtree only when asked for; near names stay."""
    for name in ("a", "a/b", "a-b", "ab", "A"):
        await memory.remember(name, namespace=name)
    assert (await memory.forget(namespace="a", filter=EVERYTHING, dry_run=False)).count == 1
    assert (await memory.forget(namespace="a/**", filter=EVERYTHING, dry_run=False)).count == 1
    assert await contents(memory) == {"a-b", "ab", "A"}


async def test_policies_spare_pinned_and_newest(memory: AgentMemory, clock: SettableClock) -> None:
    """Every condition must hold; the newest that are kept are those of the whole scope."""

    async def fill() -> None:
        for n in range(10):
            moment = clock() - timedelta(days=10 * n)
            await memory.remember(f"m{n}", occurred_at=moment, importance=n / 10, pinned=n == 9, dedupe=False)

    async def left(policy: dict[str, Any]) -> set[str | None]:
        await memory.delete_namespace("default", erase=True)
        await fill()
        await memory.forget(namespace="default", policy=policy, dry_run=False)
        return await contents(memory)

    names = [f"m{n}" for n in range(10)]
    assert await left({"older_than_days": 45}) == {*names[:5], "m9"}
    assert await left({"max_importance": 0.25}) == set(names[3:])
    assert await left({"keep_newest": 4}) == {*names[:4], "m9"}
    assert await left({"keep_newest": 0}) == {"m9"}
    assert await left({"keep_newest": 100}) == set(names)
    assert await left({"keep_newest": 7, "older_than_days": 45}) == {*names[:7], "m9"}
    assert await left({"keep_newest": 2, "older_than_days": 45}) == {*names[:5], "m9"}
    assert await left({"max_importance": 0.6, "older_than_days": 45, "keep_newest": None}) == {*names[:5], *names[7:]}
    assert await left({"older_than_days": 1e6}) == set(names)


async def test_exactly_one_of_filter_and_policy_is_needed(memory: AgentMemory) -> None:
    """Neither and both are refused."""
    with pytest.raises(InvalidInput, match="policy"):
        await memory.forget(namespace="default")
    with pytest.raises(InvalidInput, match="policy"):
        await memory.forget(namespace="default", filter=EVERYTHING, policy={"keep_newest": 1})


async def test_a_namespace_is_removed_exactly_and_brought_back(memory: AgentMemory) -> None:
    """Those below and near stay; erasing takes the tombstones too."""
    for name in ("a", "a/b", "ab"):
        for n in range(3):
            await memory.remember(f"{name} {n}", namespace=name)
    report = await memory.delete_namespace("a")
    assert (report.count, report.dry_run) == (3, False)
    assert await contents(memory, "a/**") == {"a/b 0", "a/b 1", "a/b 2"}
    assert (await memory.operation(str(report.operation))).kind == "namespace"
    await memory.undo(str(report.operation))
    assert len(await contents(memory, "a")) == 3
    [first, *_] = (await memory.list(namespace="a")).items
    await memory.delete(first.id)
    assert (await memory.delete_namespace("a", erase=True)).count == 3
    assert (await memory.stats(namespace="a")).versions == 0
    assert (await memory.delete_namespace("a")).count == 0
    assert len(await contents(memory)) == 6


async def test_many_are_forgotten_and_brought_back_under_one_operation(memory: AgentMemory) -> None:
    """More than one batch; the report counts all and lists the first thousand."""
    for start in range(0, 2500, 500):
        await memory.remember_many([{"content": f"m{n}"} for n in range(start, start + 500)])
    report = await memory.forget(namespace="default", filter=EVERYTHING, dry_run=False)
    assert (report.count, len(report.items)) == (2500, 1000)
    assert (await memory.stats()).memories == 0
    state = await memory.operation(str(report.operation))
    assert (state.count, state.sequence) == (2500, report.sequence)
    await memory.undo(str(report.operation))
    assert (await memory.stats()).memories == 2500


async def test_every_removal_raises_the_version_and_is_logged(memory: AgentMemory) -> None:
    """Delete, undo, delete again, erase: one change each, versions without gaps."""
    id = (await memory.remember("x")).memory.id
    operation = str((await memory.delete(id)).operation)
    await memory.undo(operation)
    await memory.delete(id)
    await memory.erase(id)
    events = (await memory.changes()).items
    assert [(e.type.removeprefix("memory."), e.data.version) for e in events] == [
        ("created", 1),
        ("deleted", 2),
        ("restored", 3),
        ("deleted", 4),
        ("erased", 5),
    ]


@pytest.mark.parametrize("task", ["reindex", "reconcile"])
async def test_no_maintenance_brings_back_a_word(memory: AgentMemory, task: str) -> None:
    """It has read the memory already and goes on after the erasure."""
    one = (await memory.remember("a secret kettle")).memory
    await memory.remember("green tea")
    maintenance: Any = memory.services.maintenance
    storage = maintenance._storage
    scan = storage.scan

    async def late(*args: Any, **options: Any) -> AsyncIterator[Any]:
        async for batch in scan(*args, **options):
            await memory.erase(one.id)
            yield batch

    storage.scan = late
    assert {"secret", "kettle"} <= {word for word, _ in await storage.words(ALL)}
    await getattr(maintenance, task)(memory.principal)
    assert {word for word, _ in await storage.words(ALL)} == {"green", "tea"}
