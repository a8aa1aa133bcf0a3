"""Several consumers write the same points at once."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from sfm_core.model.namespace import ALL
from sfm_core.testing.build import memory
from sfm_core.testing.vectors import point

UP = [1.0] + [0.0] * 15


async def test_writers_of_the_same_points_never_wait_for_each_other_in_a_ring(opening: Any, peek: Any) -> None:
    """In whatever order they name them; the newest version of each stays, deletions among them."""
    base = [memory(f"n {n}") for n in range(60)]
    draw = random.Random(3)
    jobs: list[tuple[str, list[Any]]] = []
    newest: dict[str, tuple[int, bool]] = {}
    for version in range(1, 25):
        chosen = draw.sample(base, 40)
        kind = "delete" if version % 6 == 0 else "upsert"
        if kind == "delete":
            chosen = chosen[:10]
            jobs.append((kind, [(one.id, version) for one in chosen]))
        else:
            jobs.append((kind, [point(one, UP, version) for one in chosen]))
        newest |= {one.id: (version, kind == "upsert") for one in chosen}
    jobs *= 3
    draw.shuffle(jobs)

    async def work(number: int) -> None:
        async with opening() as vectors:
            for kind, arguments in jobs[number::6]:
                await getattr(vectors, kind)(arguments)

    before = peek("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    await asyncio.gather(*map(work, range(6)))
    assert peek("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == before
    async with opening() as vectors:
        live = {id: version for id, (version, there) in newest.items() if there}
        assert await vectors.versions([one.id for one in base]) == live
        assert await vectors.count(ALL) == len(live)


async def test_the_newest_of_repeated_ids_in_one_call_counts(opening: Any) -> None:
    """As if they had come one after the other."""
    one, two = memory("one"), memory("two")
    away = [0.0, 1.0, *[0.0] * 14]
    async with opening() as vectors:
        await vectors.upsert([point(one, UP, 2), point(one, away, 3), point(two, UP, 5), point(two, away, 5)])
        assert await vectors.versions([one.id, two.id]) == {one.id: 3, two.id: 5}
        [best, _] = await vectors.search(ALL, UP, limit=9)
        assert best.id == two.id
        await vectors.delete([(one.id, 4), (one.id, 3), (two.id, 4)])
        assert await vectors.versions([one.id, two.id]) == {two.id: 5}
        await vectors.upsert([point(one, UP, 4)])
        assert await vectors.versions([one.id]) == {}


async def test_a_deleted_point_leaves_nothing_in_its_row(opening: Any, peek: Any, config: Any) -> None:
    """Neither its vector nor a field; only which version it was."""
    one = memory("one", author="Ada", payload={"city": "Turin"}, tags=("x",), thread="t")
    async with opening() as vectors:
        await vectors.upsert([point(one, UP)])
        await vectors.delete([(one.id, 2)])
    [(row,)] = peek(f"SELECT jsonb_strip_nulls(to_jsonb(p)) FROM {config.schema}.points_1 p")
    assert row == {"id": one.id, "version": 2}


async def test_very_large_payloads_go_in_parts(opening: Any) -> None:
    """A batch that is larger than what one value of the server may hold."""
    batch = [point(memory(f"n {n}", payload={"text": "x" * 1_000_000, "n": n}), UP) for n in range(40)]
    async with opening() as vectors:
        await vectors.upsert(batch)
        assert await vectors.count(ALL) == len(batch)
