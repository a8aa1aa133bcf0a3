"""Many writers at once in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sfm_core.errors import NotFound, StaleVersion
from sfm_core.model.namespace import ALL
from sfm_core.ports.storage import Order, Result, Storage
from sfm_core.ports.writes import Write
from sfm_core.testing.build import HERE, NAMESPACE, NOW, applied, at, ids_of, memory, put, remove, replacing, store
from sfm_core.testing.suite import Suite

__all__ = ["RaceTests"]


class RaceTests(Suite):
    """Races."""

    async def test_racing_twins_become_one_memory(self, backend: Storage) -> None:
        """Sixteen equal writes: one is created, the others are its duplicates."""
        results = [applied(one[0]) for one in await _together(backend, [put("twin") for _ in range(16)])]
        assert sorted(result.outcome for result in results) == ["created"] + ["duplicate"] * 15
        assert len({result.memory.id for result in results}) == 1
        assert len(await backend.changes(ALL, after=0, limit=99)) == 1

    async def test_racing_writers_at_a_coordinate_share_it(self, backend: Storage) -> None:
        """Sixteen contents at one place are sixteen versions of one memory."""
        writes = [put(f"writer {number}", coordinate=(1.0, 2.0)) for number in range(16)]
        results = [applied(one[0]) for one in await _together(backend, writes)]
        assert sorted(result.outcome for result in results) == ["created"] + ["versioned"] * 15
        assert len({result.memory.id for result in results}) == 1
        assert sorted(result.memory.version for result in results) == list(range(1, 17))
        newest = max(results, key=lambda result: result.memory.version).memory
        assert await backend.at_coordinate(NAMESPACE, (1.0, 2.0), now=NOW) == newest
        assert len(await backend.history(newest.id, limit=99)) == 16

    async def test_of_racing_updates_of_one_version_one_wins(self, backend: Storage) -> None:
        """The others are told that they are stale; nothing is lost without a word."""
        [one] = await store(backend, put("one"))
        writes = [replacing(one, content=f"writer {number}") for number in range(16)]
        answers = await asyncio.gather(*(backend.apply([write]) for write in writes), return_exceptions=True)
        assert sum(isinstance(answer, StaleVersion) for answer in answers) == 15
        [won] = [applied(answer[0]).memory for answer in answers if isinstance(answer, list)]
        assert await backend.get([one.id], now=at(9)) == [won]
        assert won.version == 2

    async def test_a_reader_of_changes_never_skips_one(self, backend: Storage) -> None:
        """Following the log by the last sequence seen meets every change, while writers and refused writers run."""
        writers = [asyncio.create_task(_write(backend, number)) for number in range(8)]
        seen: list[int] = []
        ids: list[str] = []
        while True:
            done = all(writer.done() for writer in writers)
            rows = await backend.changes(ALL, after=seen[-1] if seen else 0, limit=7)
            seen += [row.sequence for row in rows]
            ids += [row.memory_id for row in rows]
            if done and not rows:
                break
            await asyncio.sleep(0)
        written = [id for writer in writers for id in writer.result()]
        assert seen == sorted(set(seen))
        assert sorted(ids) == sorted(written)
        assert [row.sequence for row in await backend.changes(ALL, after=0, limit=9999)] == seen

    async def test_a_write_and_its_change_are_one(self, backend: Storage) -> None:
        """Whoever sees the change row sees the memory, and whoever sees the memory its change row; also for batches."""
        batches = [[memory(f"batch {b} memory {m}") for m in range(5)] for b in range(12)]
        writers = [asyncio.create_task(store(backend, *(put(one) for one in batch))) for batch in batches]
        done = False
        logged: list[str] = []
        while not done:
            done = all(writer.done() for writer in writers)
            listed = await backend.list(HERE, filter=None, order=Order.CREATED_AT, limit=999, after=None, now=NOW)
            logged = [row.memory_id for row in await backend.changes(HERE, after=0, limit=999)]
            assert set(ids_of(listed.memories)) <= set(logged)
            assert ids_of(await backend.get(logged, now=NOW)) == logged
            for batch in batches:
                assert sum(one.id in logged for one in batch) in (0, 5)
            await asyncio.sleep(0)
        await asyncio.gather(*writers)
        assert len(logged) == 60

    async def test_a_cancelled_write_is_whole_or_absent(self, backend: Storage) -> None:
        """Cancelled at any moment, a batch is stored with all its changes or not at all."""
        batches = [[memory(f"batch {b} memory {m}") for m in range(4)] for b in range(20)]
        tasks = [asyncio.create_task(store(backend, *(put(one) for one in batch))) for batch in batches]
        for turns, task in enumerate(tasks):
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await store(backend, put("a last one"))
        logged, found = await _quiet(backend, [one.id for batch in batches for one in batch])
        for batch, end in zip(batches, ended, strict=True):
            stored = [one.id for one in batch if one.id in found]
            assert len(stored) in (0, 4)
            assert len(stored) == 4 or isinstance(end, asyncio.CancelledError)
            assert [id for id in ids_of(batch) if id in logged] == stored


async def _quiet(backend: Storage, ids: Sequence[str]) -> tuple[set[str], set[str]]:
    """Return which of `ids` are logged and which are stored, once nothing is written any more: what was cancelled may go on."""
    while True:
        before = await backend.last_sequence()
        logged = {row.memory_id for row in await backend.changes(HERE, after=0, limit=999)}
        found = set(ids_of(await backend.get(ids, now=NOW)))
        if await backend.last_sequence() == before:
            return logged.intersection(ids), found


async def _together(backend: Storage, writes: Sequence[Write]) -> list[list[Result]]:
    """Apply each write in a task of its own, all at once."""
    answers = await asyncio.gather(*(backend.apply([write]) for write in writes))
    return [answer for answer in answers if isinstance(answer, list)]


async def _write(backend: Storage, writer: int) -> list[str]:
    """Write batches of several sizes, every third of them refused, and return the ids that were acknowledged."""
    written: list[str] = []
    for number in range(12):
        batch = [memory(f"writer {writer} batch {number} memory {m}") for m in range(1 + number % 3)]
        writes: list[Write] = [put(one) for one in batch]
        if number % 3 == 2:
            writes.append(remove(memory("unknown")))
        try:
            await backend.apply(writes)
        except NotFound:
            assert number % 3 == 2
        else:
            written += ids_of(batch)
        await asyncio.sleep(0)
    return written
