"""Copies of memories in the cache: when they are made and used, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sfm_core.config.modes import Role
from sfm_core.model.namespace import ALL
from sfm_core.model.query import RecallQuery
from sfm_core.runtime import Runtime, open_services
from sfm_core.services.principal import EVERYTHING
from sfm_core.services.projection import Projection
from sfm_core.services.projector import Projector
from sfm_core.testing import build

pytestmark = pytest.mark.usefixtures("impatient")


async def remember(runtime: Runtime, content: str | None, **fields: Any) -> Any:
    """Remember in namespace "n" and return the receipt."""
    return await runtime.services.remember.remember(EVERYTHING, {"content": content, "namespace": "n", **fields})


async def recall(runtime: Runtime, query: str = "word", **options: Any) -> list[Any]:
    """Recall from namespace "n" and return the memories."""
    asked = RecallQuery(query=query, namespace="n", **{"k": 1, **options})
    answer = await runtime.services.recall.recall(EVERYTHING, asked)
    return [hit.memory for hit in answer.hits]


def holds_secret(cache: Any) -> bool:
    """Tell whether the word is anywhere in the cache."""
    return any(b"secret" in value for value in cache.values.values())


async def erase(runtime: Runtime, id: str, **options: Any) -> Any:
    """Erase and return the receipt."""
    return await runtime.services.forget.delete(EVERYTHING, id, erase=True, **options)


async def test_a_memory_is_read_once(opening: Any, storage: Any) -> None:
    """By any process; what comes out of the cache equals what came out of storage."""
    payload = {"int": 2**63 - 1, "float": 1.0, "deep": [{"a": [None, True, -0.5, "é"]}], "big": 1e300, "empty": {}}
    times = {"valid_from": "1999-12-31T23:59:59.999999Z", "expires_at": "2999-01-01T00:00:00Z"}
    async with opening() as one, opening() as two:
        await remember(one, "word", payload=payload, coordinate=(1, -0.0), tags=["t"], author="Ada", **times)
        first = await recall(one)
        reads = storage.reads
        assert [await recall(one), await recall(two)] == [first, first]
        assert storage.reads == reads
        assert repr(await recall(two)) == repr(first)
        assert one.services.cache.counts["memory_hits"] == 1
        assert one.services.cache.counts["memory_misses"] == 1


async def test_a_new_version_is_answered_at_once_and_copied_anew(opening: Any, storage: Any) -> None:
    """Versions have places of their own; when all are taken the storage answers."""
    async with opening() as runtime:
        id = (await remember(runtime, "word 0")).memory.id
        for n in range(1, 8):
            await recall(runtime)
            await runtime.services.remember.update(EVERYTHING, id, {"content": f"word {n}"})
            assert [memory.content for memory in await recall(runtime)] == [f"word {n}"]
        reads = storage.reads
        await recall(runtime)
        assert storage.reads == reads + 1


async def test_what_does_not_fit_is_not_copied(opening: Any, cache: Any, storage: Any) -> None:
    """Large memories, and numbers that MessagePack does not hold (a storage may be filled by another release)."""
    async with opening() as runtime:
        await remember(runtime, "large " + "x" * 70_000)
        await storage.apply([build.put("huge", namespace="n", payload={"n": 2**64})])
        for query in ("large", "huge"):
            assert await recall(runtime, query) == await recall(runtime, query) != []
        assert cache.values == {}


async def test_the_past_is_read_from_storage(opening: Any, cache: Any) -> None:
    """Copies are of the present."""
    async with opening() as runtime:
        written = await remember(runtime, "word")
        past = written.memory.updated_at + timedelta(microseconds=1)
        await runtime.services.remember.update(EVERYTHING, written.memory.id, {"content": "word, later"})
        await recall(runtime)
        assert [m.content for m in await recall(runtime, as_of=past)] == ["word"]
        assert len(cache.values) == 1


async def test_an_expired_memory_is_not_answered_from_its_copy(opening: Any) -> None:
    """The instant of its expiry counts, not the copy's lifetime."""
    async with opening() as runtime:
        soon = datetime.now(UTC) + timedelta(seconds=0.3)
        await remember(runtime, "word", expires_at=soon)
        assert len(await recall(runtime)) == 1
        await asyncio.sleep(0.35)
        assert await recall(runtime) == []


async def test_an_erased_memory_leaves_marks_only(opening: Any, cache: Any) -> None:
    """The receipt and the operation say that the cache is done."""
    async with opening() as runtime:
        id = (await remember(runtime, "word secret")).memory.id
        await recall(runtime)
        assert holds_secret(cache)
        receipt = await erase(runtime, id)
        assert {s.store: s.state for s in receipt.stores} == {"storage:shared": "done", "cache:shared": "done"}
        assert not holds_secret(cache)
        assert len(cache.values) == 4
        assert (await runtime.services.forget.operation(EVERYTHING, receipt.operation)).state == "done"


@pytest.mark.parametrize("mood", ["down", "hung"])
async def test_an_erasure_while_the_cache_is_down_is_worked_off(
    opening: Any, cache: Any, mood: str, eventually: Any
) -> None:
    """The operation is pending until the cache has confirmed it, and needs nobody to ask."""
    async with opening() as runtime:
        id = (await remember(runtime, "word secret")).memory.id
        await recall(runtime)
        setattr(cache, mood, True)
        receipt = await erase(runtime, id)
        assert {s.store: s.state for s in receipt.stores} == {"storage:shared": "done", "cache:shared": "pending"}
        operation = await runtime.services.forget.operation(EVERYTHING, receipt.operation)
        assert operation.state == "pending"
        assert await recall(runtime) == []
        setattr(cache, mood, False)
        await eventually(lambda: not holds_secret(cache))

        async def done() -> bool:
            return (await runtime.services.forget.operation(EVERYTHING, receipt.operation)).state == "done"

        await eventually(done)


async def test_asking_for_an_operation_does_what_its_process_could_not(opening: Any, cache: Any) -> None:
    """The process that erased is gone; another one finds the copy and overwrites it."""
    async with opening() as runtime:
        id = (await remember(runtime, "word secret")).memory.id
        await recall(runtime)
        cache.down = True
        receipt = await erase(runtime, id)
    cache.down = False
    assert holds_secret(cache)
    async with opening() as other:
        assert (await other.services.forget.operation(EVERYTHING, receipt.operation)).state == "done"
    assert not holds_secret(cache)


async def test_the_projector_forgets_what_a_writer_could_not(opening: Any, cache: Any, storage: Any) -> None:
    """A process that died between its commit and the cache leaves the change in the log."""
    async with opening() as runtime:
        memory = (await remember(runtime, "word secret")).memory
        await recall(runtime)
        await storage.apply([build.erase(memory)])
        assert holds_secret(cache)
        assert await runtime.services.projector.catch_up()
        assert not holds_secret(cache)


async def test_a_deleted_memory_comes_back_with_its_undo(opening: Any) -> None:
    """Its places are marked for a while; the storage answers."""
    async with opening() as runtime:
        id = (await remember(runtime, "word")).memory.id
        await recall(runtime)
        receipt = await runtime.services.forget.delete(EVERYTHING, id)
        assert await recall(runtime) == []
        state = await runtime.services.forget.undo(EVERYTHING, receipt.operation)
        assert state.state == "undone"
        assert [memory.id for memory in await recall(runtime)] == [id]


async def test_many_are_forgotten_in_parts(opening: Any, cache: Any) -> None:
    """A namespace with more memories than one request marks."""
    async with opening() as runtime:
        items = [{"content": f"word secret {n}", "namespace": "n"} for n in range(250)]
        await runtime.services.remember.remember_many(EVERYTHING, items)
        assert len(await recall(runtime, k=250)) == 250
        report = await runtime.services.forget.delete_namespace(EVERYTHING, "n", erase=True)
        assert not holds_secret(cache)
        assert (await runtime.services.forget.operation(EVERYTHING, report.operation)).state == "done"


async def test_no_copies_without_a_lifetime_or_a_shared_cache(opening: Any, cache: Any) -> None:
    """`SFM_CACHE_TTL=0` leaves them out; a cache of one process could not be told of the deletions of others."""
    async with opening(SFM_CACHE_TTL=0) as runtime:
        id = (await remember(runtime, "word")).memory.id
        await recall(runtime)
        assert cache.values == {}
        assert [s.store for s in (await erase(runtime, id)).stores] == ["storage:shared"]
    async with open_services(settings={"mode": "test"}, role=Role.SERVICE) as alone:
        assert alone.services.cache is not None
        assert alone.services.copies is None


async def test_a_hung_cache_delays_one_recall_and_no_more(opening: Any, cache: Any, monkeypatch: Any) -> None:
    """The others do not even ask."""
    monkeypatch.setattr("sfm_core.services.steady._FIRST_PAUSE", 60.0)
    async with opening() as runtime:
        await remember(runtime, "word")
        cache.hung = True
        calls = cache.calls
        for _ in range(50):
            assert len(await recall(runtime)) == 1
        assert cache.calls == calls + 1
        assert runtime.services.cache.counts["failures"] == 1


async def test_the_health_of_the_cache_is_that_of_the_cache(opening: Any, cache: Any) -> None:
    """Left alone or not: `check` asks it, and a cache that is down makes nobody unready."""

    async def check() -> None:
        cache.calls += 1
        await cache._before()

    cache.check = check
    async with opening() as runtime:
        for down, state in ((True, "down"), (False, "up")):
            cache.down = down
            await recall(runtime)
            ready = await runtime.services.health.ready()
            assert (ready.status, ready.backends["cache:shared"].state) == ("ready", state)


async def test_no_write_waits_for_copies_alone(storage: Any) -> None:
    """Where a consumer forgets copies and nothing is searched but storage, writes are indexed at once."""
    forgotten: list[str] = []

    async def forget(ids: Sequence[str]) -> None:
        forgotten.extend(ids)

    projection = Projection(vectors=None, embedding=None, forget=forget)
    projector = Projector(storage, projection, name="copies", drives=False)
    [memory] = await build.store(storage, build.put("word"))
    assert projector.keeps_up
    assert await projector.written([memory], [], [1])
    assert await projector.indexed(5) == 5
    assert await projector.reached(5, 0.0)
    await storage.apply([build.erase(memory)])
    await projector.project(await storage.changes(ALL, after=0, limit=10))
    assert forgotten == [memory.id]
