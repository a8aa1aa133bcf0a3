"""Vector search in the whole system: embed functions, failures and backlogs, reopening, reconcile and reindex."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sfm_core.errors import BackendError, CapabilityNotSupported, ConfigError, InvalidInput, SfmError
from sfm_core.memory import AgentMemory
from sfm_core.model.memory import Memory
from sfm_core.ports.vectors import Point
from sfm_core.testing.fakes import HashingEmbedding

Opening = Callable[..., Any]
HASHING = HashingEmbedding(256)


class Embedder:
    """A plain function whose moods a test sets: `down` raises, `poison` refuses one text, `pause` takes its time."""

    def __init__(self) -> None:
        self.down = False
        self.poison: str | None = None
        self.pause = 0.0
        self.calls: list[int] = []
        self.together = 0
        self._inside = 0

    def __call__(self, texts: list[str]) -> list[list[float]]:
        self._inside += 1
        self.together = max(self.together, self._inside)
        try:
            if self.pause:
                time.sleep(self.pause)
            if self.down:
                raise ConnectionError("the embedder's secret address")
            if self.poison in texts:
                raise ValueError(self.poison)
            self.calls.append(len(texts))
            return [HASHING.vector(text) for text in texts]
        finally:
            self._inside -= 1


@pytest.fixture
def embedder() -> Embedder:
    """The embed function of a test."""
    return Embedder()


async def nearest(memory: AgentMemory, text: str, k: int = 1, **options: Any) -> list[str | None]:
    """Return the contents that are nearest to a text, by its vector."""
    answer = await memory.recall_vector(HASHING.vector(text), k=k, **options)
    return [hit.memory.content for hit in answer.hits]


async def settled(memory: AgentMemory) -> None:
    """Wait until the backlog is worked off."""
    last = (await memory.stats()).last_sequence
    assert await memory.services.projector.reached(last, 10)


async def test_a_memory_is_found_by_its_vector_at_once(opening: Opening, embedder: Embedder) -> None:
    """After each write that changes it, and not after it is gone."""
    async with opening(embed=embedder) as memory:
        receipt = await memory.remember("green tea")
        assert receipt.indexed
        await memory.remember("black coffee")
        await memory.remember(payload={"no": "content"})
        assert await nearest(memory, "green tea") == ["green tea"]
        assert (await memory.recall_vector(HASHING.vector("green tea"), k=1)).hits[0].score == pytest.approx(
            1.0, abs=1e-5
        )
        id = receipt.memory.id
        await memory.update(id, content="red wine")
        assert await nearest(memory, "red wine") == ["red wine"]
        assert (await memory.update(id, author="Ada")).indexed
        assert await nearest(memory, "red wine") == ["red wine"]
        operation = str((await memory.delete(id)).operation)
        assert await nearest(memory, "red wine", k=9) == ["black coffee"]
        await memory.undo(operation)
        assert await nearest(memory, "red wine") == ["red wine"]
        await memory.update(id, content=None, payload={"a": 1})
        assert await nearest(memory, "red wine", k=9) == ["black coffee"]
        await memory.restore(id, 1)
        assert await nearest(memory, "green tea") == ["green tea"]
        erased = await memory.erase(id)
        assert {s.store.split(":")[0]: s.state for s in erased.stores} == {"storage": "done", "vectors": "done"}
        assert (await memory.operation(erased.operation)).state == "done"
        assert await nearest(memory, "green tea", k=9) == ["black coffee"]
        stats = await memory.stats()
        assert stats.indexed_sequence == stats.last_sequence


async def test_vectors_and_filters_meet_before_the_best_are_taken(opening: Opening, embedder: Embedder) -> None:
    """k answers whenever the restriction holds as many."""
    async with opening(embed=embedder) as memory:
        await memory.remember_many(
            [{"content": f"tea {n}", "tags": ["rare"] if n % 20 == 0 else []} for n in range(200)]
        )
        rare = {"field": "tags", "op": "contains", "value": "rare"}
        assert len(await nearest(memory, "tea 7", k=10, filter=rare)) == 10
        assert len(await nearest(memory, "tea 7", k=10, kinds=["semantic"])) == 0
        await memory.remember("a whole other sentence", namespace="default/below")
        assert await nearest(memory, "a whole other sentence", k=1, namespace="default/**") == [
            "a whole other sentence"
        ]
        assert "a whole other sentence" not in await nearest(memory, "a whole other sentence", k=300)


@pytest.mark.parametrize("shape", ["lists", "tuples", "array", "list of arrays", "float64", "integers", "huge", "tiny"])
@pytest.mark.parametrize("mode", ["test"], indirect=True)
async def test_an_embed_function_may_return_any_usual_shape(opening: Opening, shape: str) -> None:
    """Of any length; vectors are normalised."""
    np = pytest.importorskip("numpy")

    def embed(texts: list[str]) -> Any:
        rows = [HASHING.vector(text) for text in texts]
        match shape:
            case "tuples":
                return tuple(tuple(row) for row in rows)
            case "array":
                return np.asarray(rows, dtype=np.float32) * 7
            case "list of arrays":
                return [np.asarray(row, dtype=np.float32) for row in rows]
            case "float64":
                return np.asarray(rows)
            case "integers":
                return [[round(x * 100) for x in row] for row in rows]
            case "huge":
                return [[x * 1e200 for x in row] for row in rows]
            case "tiny":
                return [[x * 1e-200 for x in row] for row in rows]
        return rows

    async with opening(embed=embed) as memory:
        await memory.remember("green tea")
        await memory.remember("black coffee")
        assert await nearest(memory, "green tea") == ["green tea"]
        query = np.asarray(HASHING.vector("black coffee"), dtype=np.float32)
        assert (await memory.recall_vector(query, k=1)).hits[0].memory.content == "black coffee"


BAD_FUNCTIONS: dict[str, Any] = {
    "raises": lambda texts: 1 / 0,
    "None": lambda texts: None,
    "nothing": lambda texts: [],
    "one too many": lambda texts: [[1.0]] * (len(texts) + 1),
    "empty vectors": lambda texts: [[] for _ in texts],
    "zero": lambda texts: [[0.0, 0.0] for _ in texts],
    "NaN": lambda texts: [[1.0, math.nan] for _ in texts],
    "infinite": lambda texts: [[1.0, math.inf] for _ in texts],
    "text": lambda texts: ["abc" for _ in texts],
    "texts": lambda texts: [["a", "b"] for _ in texts],
    "numbers": lambda texts: [1.0 for _ in texts],
    "nested": lambda texts: [[[1.0, 2.0]] for _ in texts],
    "nulls": lambda texts: [[None] for _ in texts],
    "too large": lambda texts: [[10**400] for _ in texts],
    "a generator": lambda texts: ([1.0] for _ in texts),
    "no arguments": lambda: [[1.0]],
}


@pytest.mark.parametrize("name", BAD_FUNCTIONS)
@pytest.mark.parametrize("mode", ["test"], indirect=True)
async def test_a_bad_embed_function_is_refused_at_the_start(opening: Opening, name: str) -> None:
    """By a typed error, before anything is stored."""
    with pytest.raises(BackendError, match="embed function"):
        async with opening(embed=BAD_FUNCTIONS[name]):
            pytest.fail("opened")


@pytest.mark.parametrize("mode", ["test"], indirect=True)
async def test_what_is_no_plain_function_is_refused(opening: Opening) -> None:
    """A coroutine function and things that cannot be called."""

    async def embed(texts: list[str]) -> list[list[float]]:
        return [[1.0] for _ in texts]

    things: list[Any] = [embed, 5, "x", [1.0]]
    for thing in things:
        with pytest.raises(ConfigError, match="embed"):
            async with opening(embed=thing):
                pytest.fail("opened")


async def test_a_function_that_goes_bad_later_never_spoils_the_index(opening: Opening) -> None:
    """Other lengths and bad numbers: the write stands, the vector is left out."""
    answers: list[Any] = [[[1.0, 0.0]], [[1.0, 0.0, 0.0]], [[math.nan, 1.0]], [[0.0, 0.0]], "x", [[1.0, 0.0]] * 2]

    def embed(texts: list[str]) -> Any:
        return answers[0] * len(texts) if len(answers) == 1 or texts == ["dimension"] else answers.pop()

    async with opening(embed=embed) as memory:
        for n in range(5):
            assert not (await memory.remember(f"m{n}")).indexed
            assert (await memory.recall(f"m{n}", k=1)).hits[0].memory.content == f"m{n}"
        await settled(memory)
        assert len((await memory.recall_vector([1.0, 0.0], k=9)).hits) == 5


async def test_vectors_of_a_wrong_size_are_refused_with_both_sizes(opening: Opening, embedder: Embedder) -> None:
    """As a query."""
    async with opening(embed=embedder) as memory:
        for vector in ([1.0], [1.0] * 255, [1.0] * 257):
            with pytest.raises(InvalidInput, match="exactly 256") as refused:
                await memory.recall_vector(vector)
            assert refused.value.problems[0].given == f"{len(vector)} numbers"


async def test_without_an_embedder_a_vector_query_is_not_supported(memory: AgentMemory) -> None:
    """The error says what to install."""
    with pytest.raises(CapabilityNotSupported, match="embed"):
        await memory.recall_vector([1.0])


async def test_while_the_embedder_is_down_writes_stand_and_the_backlog_is_worked_off(
    opening: Opening, embedder: Embedder, caplog: pytest.LogCaptureFixture
) -> None:
    """Acknowledged, not indexed, recalled by words with the missing arm named; afterwards everything is found."""
    async with opening(embed=embedder) as memory:
        await memory.remember("before the fall")
        gone = (await memory.remember("going tea")).memory.id
        embedder.down = True
        with caplog.at_level(logging.WARNING):
            receipts = [await memory.remember(f"tea number {n}") for n in range(5)]
            batch = await memory.remember_many([{"content": f"coffee {n}"} for n in range(5)])
        assert caplog.text.count("projection is behind") == 1
        assert "secret" not in caplog.text
        assert [(r.outcome, r.indexed) for r in receipts] == [("created", False)] * 5
        assert {r.outcome for r in batch} == {"created"}
        answer = await memory.recall("tea number 3", k=1)
        assert (answer.hits[0].memory.content, answer.partial) == ("tea number 3", ("vectors",))
        vector_answer = await memory.recall_vector(HASHING.vector("tea number 3"), k=9)
        assert "index_lag" in vector_answer.partial
        stats = await memory.stats()
        assert stats.indexed_sequence == 2 < stats.last_sequence
        deletion = await memory.delete(gone)
        assert {s.store.split(":")[0]: s.state for s in deletion.stores} == {"storage": "done", "vectors": "pending"}
        lagging = await memory.recall("tea", k=1, min_sequence=stats.last_sequence, deadline_ms=60)
        assert "index_lag" in lagging.partial
        embedder.down = False
        await settled(memory)
        assert await nearest(memory, "tea number 3") == ["tea number 3"]
        assert await nearest(memory, "coffee 4") == ["coffee 4"]
        assert (await memory.operation(deletion.operation)).state == "done"
        assert (await memory.recall("tea number 3", k=1)).partial == ()
        assert (await memory.remember("after")).indexed
        report = await memory.services.maintenance.reconcile(memory.principal, repair=False)
        assert (report.missing, report.stale, report.orphaned) == (0, 0, 0)


async def test_erasing_does_not_wait_for_the_embedder(opening: Opening, embedder: Embedder) -> None:
    """The vector goes with the next look at the log, while texts still cannot be embedded."""
    async with opening(embed=embedder) as memory:
        id = (await memory.remember("secret tea")).memory.id
        embedder.down = True
        await memory.remember("cannot be embedded")
        erased = await memory.erase(id)
        for _ in range(200):
            if (await memory.operation(erased.operation)).state == "done":
                break
            await asyncio.sleep(0.02)
        assert (await memory.operation(erased.operation)).state == "done"
        assert not memory.services.projector.keeps_up


async def test_waiting_for_the_index_is_bounded(opening: Opening, embedder: Embedder) -> None:
    """`wait` returns when it is indexed, or not indexed after the limit."""
    async with opening(embed=embedder, settings={"limits": {"wait_seconds": 0.1}}) as memory:
        embedder.down = True
        assert not (await memory.remember("down", wait=True)).indexed
    embedder.down = False
    async with opening(embed=embedder, settings={"limits": {"wait_seconds": 10}}, mode="test") as memory:
        embedder.down = True
        await memory.remember("down")
        threading.Timer(0.2, lambda: setattr(embedder, "down", False)).start()
        assert (await memory.remember("waiting", wait=True)).indexed
        assert await nearest(memory, "waiting") == ["waiting"]
        assert await nearest(memory, "down") == ["down"]


async def test_a_text_that_cannot_be_embedded_does_not_hold_up_the_others(
    opening: Opening, embedder: Embedder, caplog: pytest.LogCaptureFixture
) -> None:
    """It is left out, logged by id, and reported as missing until it is mended."""
    async with opening(embed=embedder) as memory:
        embedder.poison = "poison"
        results = await memory.remember_many([{"content": c} for c in ("one", "poison", "three")])
        await memory.remember("four")
        await settled(memory)
        poisoned = results[1].memory
        assert poisoned is not None
        assert poisoned.id in caplog.text
        assert sorted(c or "" for c in await nearest(memory, "one", k=9)) == ["four", "one", "three"]
        assert (await memory.recall("poison", k=1)).hits[0].memory.content == "poison"
        report = await memory.services.maintenance.reconcile(memory.principal, repair=False)
        assert report.missing == 1
        embedder.poison = None
        assert (await memory.services.maintenance.reconcile(memory.principal)).missing == 1
        assert await nearest(memory, "poison") == ["poison"]


async def test_the_function_is_called_one_call_at_a_time(opening: Opening, embedder: Embedder) -> None:
    """Also when callers give up meanwhile; the loop goes on while it works."""
    async with opening(embed=embedder) as memory:
        embedder.pause = 0.02
        tasks = [asyncio.ensure_future(memory.remember(f"m{n}")) for n in range(8)]
        await asyncio.sleep(0.03)
        tasks[0].cancel()
        tasks[3].cancel()
        ticks = 0
        while not all(task.done() for task in tasks):
            ticks += 1
            await asyncio.sleep(0.005)
        assert ticks > 5
        assert embedder.together == 1
        embedder.pause = 0.0
        await settled(memory)
        assert len(await nearest(memory, "m1", k=99)) == (await memory.stats()).memories


@pytest.mark.parametrize("mode", ["development"], indirect=True)
async def test_vectors_are_found_after_reopening_without_embedding_again(opening: Opening, embedder: Embedder) -> None:
    """Only the probe is embedded."""
    async with opening(embed=embedder) as memory:
        for n in range(30):
            await memory.remember(f"tea number {n}")
        erased = (await memory.remember("erased tea")).memory.id
        await memory.erase(erased)
    embedder.calls.clear()
    async with opening(embed=embedder) as memory:
        assert embedder.calls == [1]
        assert await nearest(memory, "tea number 7") == ["tea number 7"]
        assert "erased tea" not in await nearest(memory, "erased tea", k=99)
        stats = await memory.stats()
        assert stats.indexed_sequence == stats.last_sequence


@pytest.mark.parametrize("mode", ["development"], indirect=True)
async def test_what_was_written_without_an_index_is_indexed_later(opening: Opening, embedder: Embedder) -> None:
    """Opened without an embedder, or closed while it was down."""
    async with opening() as memory:
        await memory.remember("written without")
        gone = (await memory.remember("gone without")).memory.id
        await memory.delete(gone)
    async with opening(embed=embedder) as memory:
        assert await nearest(memory, "written without", k=9) == ["written without"]
        embedder.down = True
        await memory.remember("written while down")
    embedder.down = False
    async with opening(embed=embedder) as memory:
        await settled(memory)
        assert await nearest(memory, "written while down") == ["written while down"]
    async with opening() as memory:
        await memory.remember("without again")
    async with opening(embed=embedder) as memory:
        assert await nearest(memory, "without again") == ["without again"]


@pytest.mark.parametrize("mode", ["development"], indirect=True)
async def test_a_lost_index_is_built_anew_from_the_records(
    opening: Opening, embedder: Embedder, data_dir: Path
) -> None:
    """When its file is deleted; what was erased stays gone."""
    async with opening(embed=embedder) as memory:
        await memory.remember_many([{"content": f"tea number {n}"} for n in range(50)])
        await memory.erase((await memory.list()).items[0].id)
    names = set(os.listdir(data_dir))
    async with opening() as memory:
        pass
    vectors = {name for name in names if "vector" in name}
    assert vectors
    for name in vectors:
        os.remove(data_dir / name)
    async with opening(embed=embedder) as memory:
        await settled(memory)
        assert len(await nearest(memory, "tea", k=99)) == 49


@pytest.mark.parametrize("mode", ["development"], indirect=True)
async def test_another_embedder_is_refused_by_name_until_it_is_reindexed(opening: Opening, embedder: Embedder) -> None:
    """The index of the first is not touched."""
    async with opening(embed=embedder) as memory:
        await memory.remember("tea")

    def other(texts: list[str]) -> list[list[float]]:
        return [[1.0, 2.0, 3.0] for _ in texts]

    with pytest.raises(ConfigError, match="reindex"):
        async with opening(embed=other):
            pytest.fail("opened")
    async with opening(embed=embedder) as memory:
        assert await nearest(memory, "tea") == ["tea"]


async def spoil(memory: AgentMemory, stored: list[Memory]) -> None:
    """Take one point away, age another, leave one of a deleted memory, and put in two of unknown ones."""
    vectors = memory.services.maintenance._projection.vectors
    assert vectors is not None
    unknown = [
        Point(f"00000000-0000-4000-8000-00000000000{n}", 1, "default", HASHING.vector("lost tea"), stored[0])
        for n in (1, 2)
    ]
    await vectors.clear()
    kept = stored[1:]
    aged = [Point(m.id, 1, m.namespace, HASHING.vector(str(m.content)), m) for m in kept]
    await vectors.upsert([*aged, *unknown])


async def test_reconcile_tells_and_mends_what_differs(opening: Opening, embedder: Embedder) -> None:
    """Missing, stale and orphaned points; a second time there is nothing to mend."""
    async with opening(embed=embedder) as memory:
        stored = [(await memory.remember(f"tea number {n}")).memory for n in range(6)]
        await memory.update(stored[1].id, content="changed tea")
        await memory.delete(stored[2].id)
        await spoil(memory, stored)
        steps: list[tuple[int, int]] = []
        maintenance, who = memory.services.maintenance, memory.principal
        told = await maintenance.reconcile(who, repair=False, progress=lambda *step: steps.append(step))
        assert (told.checked, told.missing, told.stale, told.orphaned, told.repaired) == (6, 1, 1, 3, False)
        assert steps[-1] == (6, 6)
        assert await maintenance.reconcile(who, repair=False) == told
        mended = await maintenance.reconcile(who)
        assert (mended.missing, mended.stale, mended.orphaned, mended.repaired) == (1, 1, 3, True)
        clean = await maintenance.reconcile(who)
        assert (clean.missing, clean.stale, clean.orphaned) == (0, 0, 0)
        assert await nearest(memory, "changed tea") == ["changed tea"]
        assert len(await nearest(memory, "tea", k=99)) == 5


async def test_reindexing_builds_the_projections_anew(opening: Opening, embedder: Embedder) -> None:
    """With progress; everything is found afterwards, and what is written during it too."""
    async with opening(embed=embedder) as memory:
        await memory.remember_many([{"content": f"tea number {n}"} for n in range(30)])
        stored = list((await memory.list()).items)
        await spoil(memory, stored)
        steps: list[tuple[int, int]] = []
        rebuild = memory.services.maintenance.reindex(memory.principal, progress=lambda *step: steps.append(step))
        count, _ = await asyncio.gather(rebuild, memory.remember("meanwhile"))
        assert count in (30, 31)
        assert steps[-1][0] == count
        await settled(memory)
        report = await memory.services.maintenance.reconcile(memory.principal, repair=False)
        assert (report.missing, report.stale, report.orphaned) == (0, 0, 0)
        assert await nearest(memory, "meanwhile") == ["meanwhile"]
        assert len(await nearest(memory, "tea", k=99)) == 31


async def test_a_reindex_that_breaks_off_is_finished_by_the_projector(opening: Opening, embedder: Embedder) -> None:
    """The error is told; as soon as the embedder works again everything is found."""
    async with opening(embed=embedder) as memory:
        await memory.remember_many([{"content": f"tea number {n}"} for n in range(30)])
        embedder.down = True
        with pytest.raises(BackendError):
            await memory.services.maintenance.reindex(memory.principal)
        embedder.down = False
        await settled(memory)
        assert len(await nearest(memory, "tea", k=99)) == 30


async def test_recall_waits_for_what_was_written(opening: Opening, embedder: Embedder) -> None:
    """`min_sequence` of an acknowledged write; one that is never reached is a lag, not an error."""
    async with opening(embed=embedder) as memory:
        receipt = await memory.remember("tea")
        answer = await memory.recall_vector(HASHING.vector("tea"), min_sequence=receipt.sequence)
        assert ("index_lag" in answer.partial, len(answer.hits)) == (False, 1)
        far = await memory.recall("tea", min_sequence=10**9, deadline_ms=400)
        assert far.partial == ("index_lag",)
        assert far.hits[0].memory.content == "tea"


@pytest.mark.parametrize("mode", ["development"], indirect=True)
async def test_opening_with_a_broken_embedder_still_serves(opening: Opening, embedder: Embedder) -> None:
    """A backlog that cannot be worked off does not keep the memory shut."""
    async with opening() as memory:
        await memory.remember("written before")

    def flaky(texts: list[str]) -> list[list[float]]:
        if texts != ["dimension"]:
            raise OSError
        return embedder(texts)

    async with opening(embed=flaky) as memory:
        assert (await memory.recall("written before", k=1)).hits[0].memory.content == "written before"
        assert not (await memory.remember("more")).indexed
        with pytest.raises(SfmError):
            await memory.services.maintenance.reindex(memory.principal)
