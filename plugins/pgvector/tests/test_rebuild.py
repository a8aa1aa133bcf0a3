"""Another process makes the index anew while this one uses it."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from sfm_core.errors import BackendUnavailable, ConfigError
from sfm_core.model.namespace import ALL
from sfm_core.ports.vectors import Point, Space
from sfm_core.testing.build import HERE, ids_of, memory
from sfm_core.testing.vectors import point

UP = [1.0] + [0.0] * 15
OTHER = Space(3, "other/3")


async def test_who_uses_the_old_index_of_another_space_is_out_until_it_is_restarted(opening: Any) -> None:
    """Every call says which space is stored and what helps, as an outage of the index; nothing of it is changed."""
    async with opening() as old, opening(space=OTHER, rebuild=True) as new:
        one = memory("one")
        await old.upsert([point(one, UP)])
        await new.clear(OTHER)
        await new.upsert([Point(one.id, 1, one.namespace, [0.0, 1.0, 0.0], one)])
        for call in (
            lambda: old.search(HERE, UP, limit=9),
            lambda: old.upsert([point(memory(), UP)]),
            lambda: old.delete([(one.id, 9)]),
            lambda: old.versions([one.id]),
            lambda: old.count(ALL),
            old.check,
        ):
            with pytest.raises(BackendUnavailable, match=r"'other/3' .*'test/16' .*`sfm reindex`"):
                await call()
        assert await new.versions([one.id]) == {one.id: 1}
        async with opening(space=OTHER) as again:
            assert ids_of(await again.search(HERE, [0.0, 1.0, 0.0], limit=9)) == [one.id]
    with pytest.raises(ConfigError, match="sfm reindex"):
        async with opening():
            pass


async def test_a_rebuild_leaves_one_table(opening: Any, peek: Any, config: Any) -> None:
    """The one before goes with it."""
    async with opening() as vectors:
        for _ in range(3):
            await vectors.clear()
        tables = peek(
            f"SELECT count(*) FROM pg_tables WHERE schemaname = '{config.schema}' AND tablename LIKE 'points%'"
        )
    assert tables == [(1,)]


async def test_the_settings_of_the_index_change_with_a_rebuild(opening: Any) -> None:
    """Opening alone leaves it as it was made."""
    async with opening():
        pass
    async with opening(precision="full", hnsw=False) as vectors:
        index = await vectors.greet()
        assert (index.kind, index.hnsw) == ("halfvec", True)
        await vectors.clear()
        index = await vectors.greet()
        assert (index.kind, index.hnsw) == ("vector", False)


async def test_readers_and_writers_go_on_through_rebuilds(opening: Any) -> None:
    """No call of theirs fails, and the last of what is written is there."""
    points = [point(memory(f"n {n}"), [1.0, n / 30, *[0.0] * 14]) for n in range(30)]
    async with opening() as first, opening() as second, opening() as third:
        done = asyncio.Event()

        async def read() -> int:
            count = 0
            while not done.is_set():
                await first.search(HERE, UP, limit=5)
                await first.count(ALL)
                count += 1
            return count

        async def write() -> None:
            draw = random.Random(1)
            while not done.is_set():
                await second.upsert(draw.sample(points, 10))

        tasks = [asyncio.create_task(job()) for job in (read, read, write)]
        for _ in range(10):
            await third.clear()
        done.set()
        assert min((await asyncio.gather(*tasks))[:2]) > 0
        await second.upsert(points)
        assert await first.count(ALL) == len(points)
