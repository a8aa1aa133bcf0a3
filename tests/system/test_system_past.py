"""History, reading the past, restoring, expiry."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sfm_core.errors import Conflict, NotFound
from sfm_core.memory import AgentMemory
from sfm_core.testing.fakes import SettableClock


async def test_history_holds_every_version_newest_first(memory: AgentMemory) -> None:
    """Updates, tombstone and undo included; paged by cursor."""
    id = (await memory.remember("one")).memory.id
    await memory.update(id, content="two")
    operation = (await memory.delete(id)).operation
    await memory.undo(str(operation))
    await memory.restore(id, 1)
    items = (await memory.history(id)).items
    assert [(m.version, m.content) for m in items] == [(5, "one"), (4, "two"), (3, "two"), (2, "two"), (1, "one")]
    assert items[0] == await memory.get(id)
    first = await memory.history(id, limit=2)
    rest = await memory.history(id, limit=9, cursor=first.next)
    assert (*first.items, *rest.items) == items
    assert rest.next is None


async def test_the_past_is_read_as_it_was(memory: AgentMemory, clock: SettableClock) -> None:
    """Before it was stored, between versions, while it was deleted, after it came back; by get and list alike."""
    before = clock()
    clock.advance(10)
    id = (await memory.remember("one", author="Ada")).memory.id
    clock.advance(10)
    after_one = clock()
    clock.advance(10)
    await memory.update(id, content="two")
    clock.advance(10)
    after_two = clock()
    clock.advance(10)
    operation = str((await memory.delete(id)).operation)
    clock.advance(10)
    deleted = clock()
    clock.advance(10)
    await memory.undo(operation)

    async def at(moment: Any) -> list[str | None]:
        listed = [m.content for m in (await memory.list(as_of=moment, author="Ada")).items]
        try:
            got = [(await memory.get(id, as_of=moment)).content]
        except NotFound:
            got = []
        assert got == listed
        return got

    assert [await at(moment) for moment in (before, after_one, after_two, deleted, clock())] == [
        [],
        ["one"],
        ["two"],
        [],
        ["two"],
    ]
    assert await at(after_one.isoformat()) == ["one"]
    await memory.erase(id)
    assert await at(after_one) == []


async def test_a_restored_version_is_a_new_one(memory: AgentMemory) -> None:
    """With everything it had; a deleted memory comes back by it."""
    first = (await memory.remember("one", tags=["a"], payload={"n": 1}, coordinate=[1])).memory
    await memory.update(first.id, content="two", tags=None, payload={"n": None, "m": 2}, coordinate=None)
    restored = await memory.restore(first.id, 1)
    assert (restored.outcome, restored.memory.version) == ("restored", 3)
    for field in ("content", "tags", "payload", "coordinate", "created_at", "occurred_at"):
        assert getattr(restored.memory, field) == getattr(first, field)
    await memory.delete(first.id)
    again = await memory.restore(first.id, 2)
    assert (again.memory.content, again.memory.version, await memory.get(first.id)) == ("two", 5, again.memory)
    assert (await memory.at_coordinate([1])) == ()


async def test_what_cannot_be_restored_is_told(memory: AgentMemory) -> None:
    """No such version, a tombstone, an erased memory, a coordinate that another holds."""
    id = (await memory.remember("one", coordinate=[1])).memory.id
    await memory.delete(id)
    for version in (2, 3, 99):
        with pytest.raises(NotFound):
            await memory.restore(id, version)
    await memory.remember("holder", coordinate=[1])
    with pytest.raises(Conflict):
        await memory.restore(id, 1)
    await memory.erase(id)
    with pytest.raises(NotFound):
        await memory.restore(id, 1)


async def test_an_expired_memory_is_hidden_at_once(memory: AgentMemory, clock: SettableClock) -> None:
    """From get, list, coordinate, links, recall, update, delete; its history answers; a sweep makes it a tombstone."""
    other = (await memory.remember("other")).memory.id
    made = await memory.remember("brief tea", coordinate=[1], expires_at=clock() + timedelta(seconds=60))
    id = made.memory.id
    await memory.link(other, id)
    assert (await memory.get(id)).content == "brief tea"
    clock.advance(61)
    for call in (
        memory.get(id),
        memory.update(id, author="x"),
        memory.delete(id),
        memory.neighbors(id),
        memory.link(id, other),
    ):
        with pytest.raises(NotFound):
            await call
    assert [m.id for m in (await memory.list()).items] == [other]
    assert await memory.at_coordinate([1]) == ()
    assert (await memory.neighbors(other)).items == ()
    assert [hit.memory.id for hit in (await memory.recall("brief tea")).hits] == [other]
    assert [m.version for m in (await memory.history(id)).items] == [1]
    assert (await memory.changes()).last_sequence == 3
    assert await memory.services.forget.sweep() == 1
    assert [m.version for m in (await memory.history(id)).items] == [2, 1]
    assert (await memory.changes()).items[-1].type == "memory.deleted"
    assert await memory.services.forget.sweep() == 0


async def test_a_sweep_leaves_what_is_not_due(memory: AgentMemory, clock: SettableClock) -> None:
    """Later ones, those without expiry, and one whose expiry was put off."""
    soon = clock() + timedelta(seconds=60)
    kept = [(await memory.remember("never")).memory.id]
    kept.append((await memory.remember("later", expires_at=soon + timedelta(days=1))).memory.id)
    put_off = (await memory.remember("put off", expires_at=soon)).memory.id
    await memory.update(put_off, expires_at=None)
    await memory.remember("due", expires_at=soon)
    clock.advance(61)
    assert await memory.services.forget.sweep() == 1
    assert {m.id for m in (await memory.list()).items} == {*kept, put_off}


async def test_an_expired_memory_can_be_restored(memory: AgentMemory, clock: SettableClock) -> None:
    """Without the expiry that would hide it again at once; one that is to come is kept."""
    soon = clock() + timedelta(seconds=60)
    id = (await memory.remember("x", expires_at=soon)).memory.id
    assert (await memory.restore(id, 1)).memory.expires_at == soon
    clock.advance(61)
    restored = await memory.restore(id, 1)
    assert restored.memory.expires_at is None
    assert await memory.get(id) == restored.memory


async def test_a_past_expiry_hides_a_new_memory(memory: AgentMemory) -> None:
    """It is stored and expired; its history shows it."""
    receipt = await memory.remember("late", expires_at="2020-01-01")
    with pytest.raises(NotFound):
        await memory.get(receipt.memory.id)
    assert len((await memory.history(receipt.memory.id)).items) == 1
