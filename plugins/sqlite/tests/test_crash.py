"""kill -9 at any moment: what was acknowledged is there, whole, and the index agrees with it."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sfm_core.model.namespace import ALL, Scope
from sfm_core.ports.storage import TextQuery, WordGroup
from sfm_core.testing.build import NOW, analyse

KILLS = int(os.environ.get("SFM_TEST_KILLS", "6"))

WRITING = textwrap.dedent(
    """
    import asyncio, os, sys
    from pathlib import Path
    from sfm_core.plugins.types import OpenContext
    from sfm_core.testing.build import erase, put, remove, replacing, store, tie
    from sfm_sqlite.config import SqliteConfig
    from sfm_sqlite.storage import open_storage

    def say(*parts):
        os.write(1, (" ".join(map(str, parts)) + "\\n").encode())

    async def write(storage, task):
        for n in range(10**6):
            name = f"r{sys.argv[2]}t{task}n{n}"
            pair = [put(f"{name} {part} shared", dedupe=False, thread=name, position=part) for part in (1, 2)]
            one, two = await store(storage, *pair)
            say("live", one.id, 1, two.id, 1)
            if n % 3 == 0:
                await store(storage, replacing(one, content=f"{name} changed"), tie(one, two))
                say("live", one.id, 2)
            if n % 3 == 1:
                await store(storage, remove(two))
                say("gone", two.id, 2)
            if n % 7 == 2:
                await store(storage, erase(two))
                say("erased", two.id, 0)
            await storage.save_cursor(name[:6], n)

    async def main():
        config = SqliteConfig(checkpoint_megabytes=1)
        async with open_storage(config, OpenContext(data_dir=Path(sys.argv[1]))) as storage:
            say("open", "", 0)
            await asyncio.gather(*(write(storage, task) for task in range(3)))

    asyncio.run(main())
    """
)


def run_and_kill(folder: Path, number: int, patience: float) -> list[str]:
    """Write until the process is killed `patience` seconds after it opened; return what it acknowledged."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITING, str(folder), str(number)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    first = child.stdout.readline()
    assert first.startswith("open")
    time.sleep(patience)
    child.kill()
    lines = child.stdout.read().splitlines(keepends=True)
    child.stdout.close()
    child.wait()
    return [line for line in lines if line.endswith("\n")]


def note(states: dict[str, tuple[str, int]], lines: list[str]) -> None:
    for line in lines:
        kind, *rest = line.split()
        for id, version in zip(rest[::2], rest[1::2], strict=True):
            states[id] = (kind, int(version))


async def check(opening: Callable[..., Any], states: dict[str, tuple[str, int]]) -> None:
    async with opening() as storage:
        stored = await storage.locate(list(states))
        for (id, (kind, version)), one in zip(states.items(), stored, strict=True):
            if kind == "erased":
                assert one is None, id
                continue
            # A later write may have been committed just before the kill, unacknowledged.
            assert one is None or one.memory.version >= version, id
            assert one is not None or version < 3, id
            if kind == "gone":
                assert one is None or one.deleted
        pages = [page async for page in storage.scan(ALL, now=NOW)]
        live = {one.memory.id: one.memory for page in pages for one in page if not one.deleted}
        terms = {stem for memory in live.values() for stem in analyse(memory.content).stems}
        query = TextQuery((WordGroup(tuple((term, 1.0) for term in sorted(terms))),))
        found = await storage.search_text(Scope("acme/agent"), query, filter=None, limit=10**6, now=NOW)
        assert {hit.id for hit in found} == live.keys()
        words = {stem for _, stem in await storage.words(ALL)}
        assert terms <= words
        last = await storage.last_sequence()
        changes = await storage.changes(ALL, after=0, limit=10**9)
        assert [change.sequence for change in changes] == list(range(1, last + 1))


@pytest.mark.slow
async def test_kills_lose_nothing_that_was_acknowledged(opening: Callable[..., Any], tmp_path: Path) -> None:
    """Over and over on the same file: `SFM_TEST_KILLS` says how often."""
    draw = random.Random(3)
    states: dict[str, tuple[str, int]] = {}
    for number in range(KILLS):
        note(states, run_and_kill(tmp_path, number, draw.uniform(0.0, 0.4)))
        await check(opening, states)
    assert len(states) > KILLS
    connection = sqlite3.connect(tmp_path / "memory.sqlite3")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("SELECT count(*) FROM records WHERE body NOT IN (SELECT num FROM bodies)").fetchone() == (
        0,
    )
    connection.close()
