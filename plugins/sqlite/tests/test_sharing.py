"""One file, many openings: threads with loops of their own, and other processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sfm_core.model.namespace import ALL
from sfm_core.ports.storage import TextQuery, WordGroup
from sfm_core.testing.build import NOW, put, store

TASKS, ROUNDS = 8, 5

WRITING = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from sfm_core.plugins.types import OpenContext
    from sfm_core.testing.build import erase, put, store
    from sfm_sqlite.config import SqliteConfig
    from sfm_sqlite.storage import open_storage

    async def main():
        async with open_storage(SqliteConfig(), OpenContext(data_dir=Path(sys.argv[1]))) as storage:
            for n in range(20):
                [one] = await store(storage, put(f"shared process {sys.argv[2]} number {n}", dedupe=False))
                if n % 5 == 4:
                    await store(storage, erase(one))
                await store(storage, put("the same everywhere"))

    asyncio.run(main())
    """
)


async def test_threads_tasks_and_processes_lose_nothing(opening: Callable[..., Any], tmp_path: Path) -> None:
    """8 threads with 8 tasks each, beside 2 processes: every memory once, twins folded, one strict order of changes."""

    async def write(thread: int) -> None:
        async with opening(busy_timeout=60) as storage:
            for n in range(ROUNDS):
                await asyncio.gather(
                    *(
                        store(storage, put(f"shared thread {thread} task {task} number {n}", dedupe=False))
                        for task in range(TASKS)
                    )
                )
                await store(storage, put("the same everywhere"))

    def in_thread(thread: int) -> None:
        asyncio.run(write(thread))

    def in_process(number: int) -> None:
        command = [sys.executable, "-c", WRITING, str(tmp_path), str(number)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(10) as pool:
        async with opening(busy_timeout=60) as watching:
            await asyncio.gather(
                *(loop.run_in_executor(pool, in_thread, thread) for thread in range(8)),
                *(loop.run_in_executor(pool, in_process, number) for number in range(2)),
            )
            expected = 8 * TASKS * ROUNDS + 2 * 16 + 1
            [space] = await watching.namespaces(ALL, now=NOW)
            assert (space.memories, space.deleted) == (expected, 0)
            query = TextQuery((WordGroup((("shared", 1.0), ("same", 1.0))),))
            found = await watching.search_text(ALL, query, filter=None, limit=9999, now=NOW)
            assert len(found) == expected
            changes = await watching.changes(ALL, after=0, limit=9999)
            assert [change.sequence for change in changes] == list(range(1, len(changes) + 1))
            assert len(changes) == expected + 2 * 8


async def test_what_another_opening_does_is_seen_by_every_kind_of_read(opening: Callable[..., Any]) -> None:
    """Also by what is kept in memory: terms, candidates, words."""
    from sfm_core.model.namespace import Scope
    from sfm_core.testing.build import erase, remove, replacing

    here = Scope("acme/agent")

    def query(word: str) -> TextQuery:
        return TextQuery((WordGroup(((word, 1.0),)),))

    async with opening() as writer, opening() as reader:
        stored = await store(writer, *(put(f"tea {n}", thread="t", position=n) for n in range(5)))
        ids = [one.id for one in stored]
        assert len(await reader.search_text(here, query("tea"), filter=None, limit=9, now=NOW)) == 5
        assert (await reader.candidates(ids[2:3], now=NOW))[ids[2]].before == (ids[1], ids[0])
        await store(writer, remove(stored[1]), replacing(stored[3], content="coffee", importance=0.9))
        assert len(await reader.search_text(here, query("tea"), filter=None, limit=9, now=NOW)) == 3
        assert len(await reader.search_text(here, query("coffee"), filter=None, limit=9, now=NOW)) == 1
        found = await reader.candidates(ids[2:3], now=NOW)
        assert found[ids[2]].before == (ids[0],)
        assert (found[ids[3]].importance, found[ids[3]].version) == (0.9, 2)
        token = await reader.words_token(here)
        await store(writer, erase(stored[3]))
        assert ids[3] not in await reader.candidates(ids, now=NOW)
        assert await reader.words_token(here) != token
        await store(reader, put("coffee"))
        assert len(await writer.search_text(here, query("coffee"), filter=None, limit=9, now=NOW)) == 1
        assert len(await reader.search_text(here, query("coffee"), filter=None, limit=9, now=NOW)) == 1
