"""What writing answers: outcomes, duplicates, coordinates, given ids, merge patches, versions, races."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from sfm_core.errors import Conflict, InvalidInput, NotFound, StaleVersion
from sfm_core.memory import AgentMemory
from sfm_core.model.memory import NewMemory
from sfm_core.testing.fakes import SettableClock


async def test_a_new_memory_has_the_documented_defaults(memory: AgentMemory) -> None:
    """Everything that was not given, the id version 7, and the times of the write."""
    receipt = await memory.remember("tea at four")
    stored = receipt.memory
    assert (receipt.outcome, receipt.sequence, receipt.indexed) == ("created", 1, True)
    assert uuid.UUID(stored.id).version == 7
    assert (stored.namespace, stored.kind, stored.importance, stored.pinned) == ("default", "episodic", 0.5, False)
    assert (stored.payload, stored.tags, stored.derived_from, stored.version) == ({}, (), (), 1)
    assert stored.occurred_at == stored.created_at == stored.updated_at
    assert await memory.get(stored.id) == stored


async def test_null_counts_as_not_given(memory: AgentMemory) -> None:
    """For every field."""
    fields = {field: None for field in NewMemory.__struct_fields__ if field != "content"}
    stored = (await memory.remember("x", **fields)).memory
    assert (stored.namespace, stored.importance) == ("default", 0.5)
    assert (await memory.remember("x")).outcome == "duplicate"


async def test_ids_rise_with_time(memory: AgentMemory) -> None:
    """Sorted by id is sorted by arrival."""
    results = await memory.remember_many([{"content": f"m{n}"} for n in range(500)])
    ids = [result.memory.id for result in results if result.memory is not None]
    assert len(ids) == 500
    assert ids == sorted(ids)


async def test_a_duplicate_is_folded_into_the_live_memory(memory: AgentMemory) -> None:
    """When every field that was given equals the stored one's; what was not given does not count."""
    first = await memory.remember("tea", author="Ada", tags=["a", "b"], payload={"n": 1}, position=3)
    for again in (
        {"content": "tea", "payload": {"n": 1}},
        {"content": "tea", "payload": {"n": 1.0}, "author": "Ada"},
        {"content": "tea", "payload": {"n": 1}, "tags": ["a", "b"], "position": 3},
        {"content": "tea", "payload": {"n": 1}, "occurred_at": first.memory.occurred_at},
    ):
        receipt = await memory.remember(**again)
        assert (receipt.outcome, receipt.memory, receipt.sequence) == ("duplicate", first.memory, first.sequence)
    for other in (
        {"content": "tea"},
        {"content": "tea", "payload": {"n": True}},
        {"content": "tea", "payload": {"n": 1}, "author": "Bob"},
        {"content": "tea", "payload": {"n": 1}, "tags": ["b", "a"]},
        {"content": "tea", "payload": {"n": 1}, "namespace": "default/below"},
        {"content": "Tea", "payload": {"n": 1}},
    ):
        assert (await memory.remember(**other)).outcome == "created"
    assert (await memory.remember("tea", payload={"n": 1}, dedupe=False)).outcome == "created"


async def test_no_duplicate_of_what_is_not_live(memory: AgentMemory, clock: SettableClock) -> None:
    """Deleted, erased, expired and changed memories are not folded into."""
    deleted = (await memory.remember("deleted")).memory.id
    await memory.delete(deleted)
    erased = (await memory.remember("erased")).memory.id
    await memory.erase(erased)
    await memory.remember("expired", expires_at=clock() + timedelta(seconds=10))
    await memory.update((await memory.remember("changed")).memory.id, content="else")
    clock.advance(11)
    for content in ("deleted", "erased", "expired", "changed"):
        assert (await memory.remember(content)).outcome == "created"


async def test_a_given_id_is_kept_and_not_given_twice(memory: AgentMemory) -> None:
    """The same memory again is a duplicate; another one, and one in another namespace, a conflict; an erased id stays taken."""
    id = str(uuid.uuid4())
    first = await memory.remember("one", id=id)
    assert first.memory.id == id
    assert (await memory.remember("one", id=id)).outcome == "duplicate"
    for taken in ({"content": "two"}, {"content": "one", "namespace": "else"}, {"content": "one", "dedupe": False}):
        with pytest.raises(Conflict):
            await memory.remember(id=id, **taken)
    await memory.delete(id)
    with pytest.raises(Conflict):
        await memory.remember("one", id=id)
    await memory.erase(id)
    with pytest.raises(Conflict):
        await memory.remember("one", id=id)
    with pytest.raises(NotFound):
        await memory.get(id)


async def test_a_write_at_an_occupied_coordinate_is_a_new_version(memory: AgentMemory) -> None:
    """In the same namespace, whatever the spelling of the numbers; the history keeps what was there."""
    first = (await memory.remember("one", coordinate=[1, 2, 0.0])).memory
    second = await memory.remember("two", coordinate=(1.0, 2.0, -0.0), author="Ada")
    assert (second.outcome, second.memory.id, second.memory.version) == ("versioned", first.id, 2)
    assert (second.memory.created_at, second.memory.content) == (first.created_at, "two")
    assert [m.content for m in (await memory.history(first.id)).items] == ["two", "one"]
    assert (await memory.remember("two", coordinate=[1, 2, 0])).outcome == "duplicate"
    assert (await memory.remember("two", coordinate=[1, 2, 0], namespace="else")).outcome == "created"
    with pytest.raises(Conflict):
        await memory.remember("three", coordinate=[1, 2, 0], id=str(uuid.uuid4()))


async def test_a_coordinate_is_free_again_when_its_memory_is_gone(memory: AgentMemory, clock: SettableClock) -> None:
    """Deleted, erased, expired or moved away."""
    for n, go in enumerate(("delete", "erase", "expire", "move")):
        expires = clock() + timedelta(seconds=10) if go == "expire" else None
        first = (await memory.remember(f"first {go}", coordinate=[n], expires_at=expires)).memory
        if go == "move":
            await memory.update(first.id, coordinate=[100 + n])
        elif go != "expire":
            await getattr(memory, go)(first.id)
        clock.advance(11)
        second = await memory.remember(f"second {go}", coordinate=[n])
        assert (second.outcome, second.memory.id == first.id) == ("created", False)


async def test_memories_are_found_by_coordinate_and_box(memory: AgentMemory) -> None:
    """Bounds belong to the box, other dimensions do not, and the answer is ordered by coordinate."""
    for place in ([2, 2], [1, 1], [1, 2], [3, 3], [1], [1, 1, 1]):
        await memory.remember(f"at {place}", coordinate=place)
    await memory.remember("elsewhere", coordinate=[1, 1], namespace="default/below")
    assert [m.content for m in await memory.at_coordinate([1.0, 1.0])] == ["at [1, 1]"]
    assert await memory.at_coordinate([9, 9]) == ()
    found = await memory.at_coordinate(low=[1, 1], high=[2, 2])
    assert [m.coordinate for m in found] == [(1.0, 1.0), (1.0, 2.0), (2.0, 2.0)]
    assert await memory.at_coordinate(low=[1, 1], high=[2, 2], limit=1) == found[:1]


async def test_an_update_is_a_merge_patch(memory: AgentMemory) -> None:
    """Objects are merged, null removes, everything else replaces."""
    id = (await memory.remember("x", payload={"a": {"b": 1, "c": 2}, "d": [1, 2]}, author="Ada", tags=["t"])).memory.id
    changed = await memory.update(
        id, payload={"a": {"b": None, "e": {"f": 1}}, "d": [3], "g": {"h": None}}, author=None
    )
    assert (changed.outcome, changed.memory.version) == ("versioned", 2)
    assert changed.memory.payload == {"a": {"c": 2, "e": {"f": 1}}, "d": [3], "g": {}}
    assert (changed.memory.author, changed.memory.tags) == (None, ("t",))
    assert (await memory.update(id, payload=None)).memory.payload == {}
    assert await memory.get(id) == (await memory.history(id)).items[0]


async def test_null_clears_every_optional_field(memory: AgentMemory) -> None:
    """Back to what it would be without."""
    given: dict[str, Any] = {
        "kind": "semantic",
        "payload": {"a": 1},
        "coordinate": [1],
        "author": "a",
        "thread": "t",
        "position": 1,
        "importance": 0.9,
        "tags": ["x"],
        "source": "s",
        "pinned": True,
        "occurred_at": "2020-01-01",
        "valid_from": "2020-01-01",
        "valid_to": "2030-01-01",
        "expires_at": "2030-01-01",
        "derived_from": [str(uuid.uuid4())],
    }
    full = (await memory.remember("x", **given)).memory
    bare = (await memory.remember("y")).memory
    cleared = (await memory.update(full.id, **dict.fromkeys(given))).memory
    for field in given:
        expected = full.created_at if field == "occurred_at" else getattr(bare, field)
        assert getattr(cleared, field) == expected, field
    assert await memory.at_coordinate([1]) == ()


async def test_an_update_that_changes_nothing_is_unchanged(memory: AgentMemory) -> None:
    """No version, no change row, however the same values are spelled."""
    made = await memory.remember("x", coordinate=[1], tags=["t"], payload={"a": 1}, occurred_at="2020-01-01")
    id = made.memory.id
    for same in (
        {},
        {"content": "x"},
        {"coordinate": [1.0]},
        {"tags": ("t",)},
        {"payload": {}},
        {"payload": {"a": 1}},
        {"payload": {"b": None}},
        {"occurred_at": "2020-01-01T01:00:00+01:00"},
        {"author": None},
        {"namespace": "default", "content": "x"},
    ):
        receipt = await memory.update(id, **same)
        assert (receipt.outcome, receipt.memory, receipt.sequence) == ("unchanged", made.memory, made.sequence)
    assert (await memory.stats()).last_sequence == 1


async def test_an_update_keeps_a_memory_worth_remembering(memory: AgentMemory) -> None:
    """Content and payload cannot both go; validity stays in order; a held coordinate is a conflict."""
    id = (await memory.remember("x", valid_from="2020-01-01")).memory.id
    await memory.remember("holder", coordinate=[5])
    with pytest.raises(InvalidInput, match="content"):
        await memory.update(id, content=None)
    with pytest.raises(InvalidInput, match="valid_to"):
        await memory.update(id, valid_to="2019-01-01")
    with pytest.raises(Conflict):
        await memory.update(id, coordinate=[5])
    assert (await memory.update(id, content=None, payload={"a": 1})).memory.content is None
    assert (await memory.get(id)).version == 2


async def test_a_stale_version_is_refused_and_told(memory: AgentMemory) -> None:
    """By update, delete, erase and restore; nothing changes."""
    id = (await memory.remember("x")).memory.id
    await memory.update(id, author="Ada")
    calls: list[Callable[[], Any]] = [
        lambda: memory.update(id, expected_version=1, author="Bob"),
        lambda: memory.update(id, expected_version=3, author="Bob"),
        lambda: memory.update(id, expected_version=1),
        lambda: memory.delete(id, expected_version=1),
        lambda: memory.erase(id, expected_version=1),
        lambda: memory.services.history.restore(memory.principal, id, 1, expected_version=1),
    ]
    for call in calls:
        with pytest.raises(StaleVersion) as refused:
            await call()
        assert refused.value.current == 2
    assert (await memory.stats()).last_sequence == 2
    assert (await memory.update(id, expected_version=2, author="Bob")).memory.version == 3


async def test_a_batch_answers_item_by_item_in_order(memory: AgentMemory) -> None:
    """Good ones are stored, refused ones have their error; duplicates inside the batch are found."""
    results = await memory.remember_many(
        [
            {"content": "one"},
            {"content": " "},
            {"content": "one"},
            {"content": "two", "coordinate": [1]},
            {"content": "three", "coordinate": [1]},
            {"content": "four", "id": "x"},
            NewMemory(content="five", tags=("t",)),
        ]
    )
    assert [result.outcome for result in results] == [
        "created",
        None,
        "duplicate",
        "created",
        "versioned",
        None,
        "created",
    ]
    assert isinstance(results[1].error, InvalidInput)
    assert isinstance(results[5].error, InvalidInput)
    assert results[2].memory == results[0].memory
    assert len((await memory.list()).items) == 3


async def test_an_atomic_batch_is_all_or_nothing(memory: AgentMemory) -> None:
    """Refused by the core or by the storage alike."""
    taken = (await memory.remember("taken")).memory.id
    for bad, error in (({"content": ""}, InvalidInput), ({"content": "else", "id": taken}, Conflict)):
        with pytest.raises(error):
            await memory.remember_many([{"content": "new"}, bad], atomic=True)
        assert (await memory.stats()).last_sequence == 1
    [one, conflict] = await memory.remember_many([{"content": "new"}, {"content": "else", "id": taken}])
    assert (one.outcome, type(conflict.error)) == ("created", Conflict)
    good = await memory.remember_many([{"content": "a"}, {"content": "b"}], atomic=True)
    assert [result.outcome for result in good] == ["created", "created"]


async def test_sixteen_racing_twins_are_one_memory(memory: AgentMemory) -> None:
    """One creates it, the others are told so."""
    receipts = await asyncio.gather(*(memory.remember("twin", author="Ada") for _ in range(16)))
    assert sorted(receipt.outcome for receipt in receipts) == ["created"] + ["duplicate"] * 15
    assert len({receipt.memory.id for receipt in receipts}) == 1


async def test_racing_updates_are_applied_one_after_the_other(memory: AgentMemory) -> None:
    """Forty at once, each to the result of the one before: no error, nothing lost, a version for each."""
    id = (await memory.remember("x", payload={"start": 0})).memory.id
    receipts = await asyncio.gather(*(memory.update(id, payload={f"k{n}": n}) for n in range(40)))
    assert sorted(receipt.memory.version for receipt in receipts) == list(range(2, 42))
    assert (await memory.get(id)).payload == {"start": 0, **{f"k{n}": n for n in range(40)}}


async def test_racing_restores_and_updates_do_not_fail(memory: AgentMemory) -> None:
    """A restore is repeated on what came between, as an update is."""
    id = (await memory.remember("first")).memory.id
    await memory.update(id, content="second")
    calls = [memory.restore(id, 1) if n % 2 else memory.update(id, author=f"a{n}") for n in range(20)]
    receipts = await asyncio.gather(*calls)
    assert sorted(receipt.memory.version for receipt in receipts) == list(range(3, 23))


async def test_racing_writes_at_one_coordinate_become_versions(memory: AgentMemory) -> None:
    """Of one memory; none is lost."""
    receipts = await asyncio.gather(*(memory.remember(f"m{n}", coordinate=[1]) for n in range(16)))
    assert len({receipt.memory.id for receipt in receipts}) == 1
    assert sorted(receipt.memory.version for receipt in receipts) == list(range(1, 17))
    contents = {m.content for m in (await memory.history(receipts[0].memory.id)).items}
    assert contents == {f"m{n}" for n in range(16)}


@pytest.mark.parametrize(
    "order", ["created_at", "-created_at", "occurred_at", "importance", "-importance", "-position"]
)
async def test_lists_are_paged_without_repeats_and_gaps(memory: AgentMemory, order: str) -> None:
    """In the asked order, by cursor, with filters."""
    for n in range(23):
        await memory.remember(
            f"m{n}",
            importance=(n % 3) / 2,
            position=n if n % 2 else None,
            occurred_at=f"2024-01-{n % 5 + 1:02}",
            author="Ada" if n % 4 else "Bob",
            kind="semantic" if n % 2 else "episodic",
            tags=["even"] if n % 2 == 0 else ["odd", "more"],
            thread="t" if n < 10 else None,
        )
    whole = (await memory.list(order=order)).items
    assert len(whole) == 23
    paged: list[Any] = []
    cursor = None
    while True:
        page = await memory.list(order=order, limit=5, cursor=cursor)
        paged += page.items
        cursor = page.next
        if cursor is None:
            break
    assert paged == list(whole)
    field = order.removeprefix("-")
    values = [getattr(m, field) for m in whole if getattr(m, field) is not None]
    assert values == sorted(values, reverse=order.startswith("-"))
    assert [getattr(m, field) is None for m in whole] == sorted(getattr(m, field) is None for m in whole)
    chosen = await memory.list(author="Ada", kind="semantic", tag="odd", thread="t", order="position")
    assert [m.position for m in chosen.items] == [1, 3, 5, 7, 9]
    wanted = {"or": [{"field": "position", "op": "gte", "value": 21}, {"field": "content", "op": "eq", "value": "m0"}]}
    assert {m.content for m in (await memory.list(filter=wanted)).items} == {"m0", "m21"}
    with pytest.raises(InvalidInput, match="cursor"):
        await memory.list(
            order="created_at" if order != "created_at" else "importance", cursor=await a_cursor(memory, order)
        )


async def a_cursor(memory: AgentMemory, order: str) -> str:
    """Return the cursor of a second page."""
    page = await memory.list(order=order, limit=1)
    assert page.next is not None
    return page.next


async def test_a_list_takes_one_namespace_or_a_subtree(memory: AgentMemory) -> None:
    """By whole segments."""
    for name in ("a", "a/b", "a/b/c", "a-b", "ab", "A", "a%"):
        await memory.remember("x", namespace=name)

    async def names(namespace: str) -> list[str]:
        return sorted(m.namespace for m in (await memory.list(namespace=namespace)).items)

    assert await names("a") == ["a"]
    assert await names("a/**") == ["a", "a/b", "a/b/c"]
    assert await names("a/b/**") == ["a/b", "a/b/c"]
    assert len(await names("**")) == 7
    assert await names("a/x/**") == []
    assert (await memory.list()).items == ()
