"""Queries by a given vector: exact order, filters on every kind of index, stale points."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest

from sfm_core.errors import BackendUnavailable, CapabilityNotSupported, InvalidInput
from sfm_core.model.filter import parse_filter
from sfm_core.ports.storage import StorageCapability
from sfm_core.ports.vectors import VectorsCapability
from sfm_core.services.vector_arm import unit

Contents = Callable[[Any], list[str | None]]

TOWARDS_A = (0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # "a" is letter 97, 97 % 8 == 1


async def test_the_order_is_that_of_the_cosine(world: Any, contents: Contents) -> None:
    """The score is (1 + cosine) / 2, whatever the length of the vector."""
    for text in ("a a a b", "b", "a", "a b"):
        await world.put(text)
    using = world.recall(meaning=True)
    answer = await world.ask(vector=TOWARDS_A, using=using, explain=True)
    assert contents(answer) == ["a", "a a a b", "a b", "b"]
    assert [hit.score for hit in answer.hits] == pytest.approx([1.0, 0.974, 0.854, 0.5], abs=1e-3)
    assert answer.hits[0].explain.arms == ("vectors",)
    assert answer.hits[0].explain.parts[0].name == "cosine"
    assert answer.arms_ms.keys() == {"vectors"}
    for scale in (1e-300, 1e-40, 1e40, 1e300):
        again = await world.ask(vector=tuple(scale * number for number in TOWARDS_A), using=using)
        assert contents(again) == contents(answer)
    assert contents(await world.ask(vector=TOWARDS_A, using=using, k=2, min_score=0.99)) == ["a"]


@pytest.mark.parametrize(
    ("able", "storage_able"),
    [
        ((VectorsCapability.FILTER,), ()),
        ((VectorsCapability.AMONG,), (StorageCapability.MATCHING,)),
        ((VectorsCapability.AMONG,), ()),
        ((), (StorageCapability.MATCHING,)),
    ],
)
async def test_filters_apply_before_the_best_are_taken(
    world: Any, contents: Contents, able: Sequence[StrEnum], storage_able: Sequence[StrEnum]
) -> None:
    """On an index that filters, one that is restricted by ids, and one that can do neither."""
    for i in range(150):
        await world.put("a", position=i)
    for i in range(3):
        await world.put("a b", tags=("keep",), position=i)
    using = world.recall(meaning=True, able=able, storage_able=storage_able)
    keep = parse_filter({"field": "tags", "op": "contains", "value": "keep"})
    answer = await world.ask(vector=TOWARDS_A, using=using, k=2, filter=keep)
    assert contents(answer) == ["a b", "a b"]
    assert len((await world.ask(vector=TOWARDS_A, using=using, k=9, filter=keep)).hits) == 3
    nothing = parse_filter({"or": []})
    assert (await world.ask(vector=TOWARDS_A, using=using, filter=nothing)).hits == ()
    assert len((await world.ask(vector=TOWARDS_A, using=using, k=9, kinds=("episodic",))).hits) == 9


async def test_an_index_is_never_asked_for_contents(
    world: Any, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter that tests the content, however deep, is applied by the storage or after the search."""
    for text in ("a", "a b", "b"):
        await world.put(text)
    search, given = world.vectors.search, []

    async def noted(*args: Any, **options: Any) -> Any:
        given.append(options.get("filter"))
        return await search(*args, **options)

    monkeypatch.setattr(world.vectors, "search", noted)
    ends = parse_filter({"not": {"and": [{"field": "content", "op": "prefix", "value": "a"}]}})
    for storage_able in ((StorageCapability.MATCHING,), ()):
        using = world.recall(meaning=True, able=tuple(VectorsCapability), storage_able=storage_able)
        assert contents(await world.ask(vector=TOWARDS_A, using=using, filter=ends)) == ["b"]
    assert given == [None, None]


async def test_very_many_passing_memories_are_filtered_after_the_search(
    world: Any, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond a bound ids are not handed to the index."""
    monkeypatch.setattr("sfm_core.services.vector_arm._AMONG", 5)
    for i in range(20):
        await world.put("a", position=i, tags=("keep",) if i % 2 else ())
    using = world.recall(meaning=True, able=(VectorsCapability.AMONG,))
    keep = parse_filter({"field": "tags", "op": "contains", "value": "keep"})
    answer = await world.ask(vector=TOWARDS_A, using=using, k=8, filter=keep)
    assert [hit.memory.tags for hit in answer.hits] == [("keep",)] * 8


async def test_stale_points_are_replaced_by_the_next_best(world: Any, contents: Contents) -> None:
    """Deleted memories and vectors of old versions take no place in the answer."""
    stale = [await world.put("a", position=i) for i in range(30)]
    for i, memory in enumerate(stale):
        await (world.remove(memory) if i % 2 else world.replace(memory, content="b"))
    for _ in range(3):
        await world.put("a b")
    assert contents(await world.ask(vector=TOWARDS_A, using=world.recall(meaning=True), k=3)) == ["a b"] * 3


async def test_fewer_hits_than_asked_are_explained_by_the_lag(world: Any) -> None:
    """Only when the index is behind the log."""
    behind = True

    async def reached(sequence: int, timeout: float) -> bool:
        return not behind

    await world.put("a")
    await world.put("a b", embed=False)
    using = world.recall(meaning=True, reached=reached)
    answer = await world.ask(vector=TOWARDS_A, using=using, k=2)
    assert (len(answer.hits), answer.partial) == (1, ("index_lag",))
    assert (await world.ask(vector=TOWARDS_A, using=using, k=1)).partial == ()
    behind = False
    assert (await world.ask(vector=TOWARDS_A, using=using, k=2)).partial == ()


async def test_a_failing_or_slow_index_is_named(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is empty and says why."""
    await world.put("a")

    async def down(*args: object, **options: object) -> object:
        raise BackendUnavailable("test/vectors: down")

    async def slow(*args: object, **options: object) -> object:
        await asyncio.sleep(60)
        raise AssertionError

    for fault in (down, slow):
        monkeypatch.setattr(world.vectors, "search", fault)
        answer = await world.ask(vector=TOWARDS_A, using=world.recall(meaning=True), deadline_ms=100.0)
        assert (answer.hits, answer.partial) == ((), ("vectors",))


@pytest.mark.parametrize(
    "vector",
    [(), (1.0,), (1.0,) * 7, (1.0,) * 9, (0.0,) * 8, (float("nan"),) * 8, (1.0,) * 7 + (float("inf"),), (True,) * 8, "ab"],
)  # fmt: skip
async def test_a_wrong_vector_is_refused(world: Any, vector: Any) -> None:
    """Size, finite numbers, not all zero."""
    with pytest.raises(InvalidInput) as caught:
        await world.ask(vector=vector, using=world.recall(meaning=True))
    assert caught.value.problems[0].field.split(".")[0] == "vector"


@pytest.mark.parametrize(
    "option", [{"prefer": "recent"}, {"expand_links": 1}, {"as_of": datetime(2024, 1, 1, tzinfo=UTC)}]
)
async def test_what_a_vector_cannot_do_is_refused(world: Any, option: dict[str, Any]) -> None:
    """No option is ignored in silence."""
    with pytest.raises(InvalidInput) as caught:
        await world.ask(vector=TOWARDS_A, using=world.recall(meaning=True), **option)
    assert caught.value.problems[0].field in option


async def test_a_plan_without_vectors_says_what_to_install(world: Any) -> None:
    """By name of plugin and setting."""
    with pytest.raises(CapabilityNotSupported, match=r"sfm-plugin-minilm.*SFM_EMBEDDING"):
        await world.ask(vector=TOWARDS_A)


def test_unit_vectors_do_not_overflow() -> None:
    """Also at the edges of the range of floats."""
    assert unit([3.0, 4.0]) == pytest.approx([0.6, 0.8])
    assert unit([3e300, -4e300]) == pytest.approx([0.6, -0.8])
    assert unit([5e-324, 0.0]) == [1.0, 0.0]
