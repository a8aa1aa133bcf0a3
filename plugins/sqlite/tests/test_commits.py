"""How writes reach the disk: one fsync each, fewer together, whole or not at all."""

from __future__ import annotations

import asyncio
import re
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from sfm_core.errors import BackendUnavailable, Conflict
from sfm_core.model.namespace import ALL, Scope
from sfm_core.ports.storage import Order
from sfm_core.testing.build import HERE, NOW, erase, memory, put, store
from sfm_sqlite import lexicon
from sfm_sqlite.storage import SqliteStorage
from sfm_sqlite.writer import Writer

STRACE = shutil.which("strace")

WRITING = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from sfm_core.plugins.types import OpenContext
    from sfm_core.testing.build import put
    from sfm_sqlite.config import SqliteConfig
    from sfm_sqlite.storage import open_storage

    async def main():
        async with open_storage(SqliteConfig(), OpenContext(data_dir=Path(sys.argv[1]))) as storage:
            await storage.apply([put("the first write begins the log")])
            print("BEGIN", flush=True)
            if sys.argv[2] == "alone":
                for n in range(200):
                    await storage.apply([put(f"memory {n}")])
                    await storage.save_cursor("c", n)
            else:
                await asyncio.gather(*(storage.apply([put(f"memory {n}")]) for n in range(200)))
            print("END", flush=True)

    asyncio.run(main())
    """
)


@pytest.fixture
async def quick(storage: SqliteStorage) -> SqliteStorage:
    """A storage that found its commits to be quick, as they are on a memory disk."""
    await store(storage, put("the first write"))
    make_quick(storage)
    return storage


def make_quick(storage: SqliteStorage) -> None:
    assert storage._writer is not None
    storage._writer._seconds = 0.0
    storage._writer._note_duration = lambda seconds: None  # type: ignore[method-assign]


async def count_commits(storage: SqliteStorage, *calls: Coroutine[Any, Any, object]) -> int:
    """Return in how many transactions `calls`, all at once, were committed."""
    assert storage._writer is not None
    statements: list[str] = []
    storage._writer._connection.set_trace_callback(statements.append)
    await asyncio.gather(*calls)
    storage._writer._connection.set_trace_callback(None)
    return statements.count("COMMIT")


@pytest.mark.skipif(STRACE is None, reason="counting system calls needs strace")
@pytest.mark.parametrize(("how", "least", "most"), [("alone", 200, 200), ("together", 1, 40)])
def test_a_write_costs_one_fsync_and_many_share_one(tmp_path: Path, how: str, least: int, most: int) -> None:
    """Counted by the kernel: exactly one for each lone acknowledged write, few for 200 at once."""
    log = tmp_path / "calls"
    command = ["strace", "-f", "-e", "trace=fsync,fdatasync,write", "-o", str(log)]
    done = subprocess.run(
        [*command, sys.executable, "-c", WRITING, str(tmp_path), how], capture_output=True, text=True, timeout=120
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    calls = log.read_text()
    during = calls[calls.index('write(1, "BEGIN') : calls.index('write(1, "END')]
    count = len(re.findall(r"\b(?:fsync|fdatasync)\(", during))
    assert least <= count <= most


async def test_a_refused_write_in_a_group_leaves_the_others(storage: SqliteStorage) -> None:
    """Every call of a shared commit gets its own answer."""
    [one] = await store(storage, put("one"))
    taken = put(memory("two", id=one.id), dedupe=False)
    calls = [storage.apply([put(f"n {n}"), *([taken] if n % 3 == 0 else [])]) for n in range(60)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(result, Conflict) for result in results] == [n % 3 == 0 for n in range(60)]
    page = await storage.list(HERE, filter=None, order=Order.CREATED_AT, limit=99, after=None, now=NOW)
    expected = {"one", *(f"n {n}" for n in range(60) if n % 3)}
    assert {one.content for one in page.memories} == expected
    assert await storage.last_sequence() == len(expected)


async def test_words_of_a_refused_batch_are_not_taken_for_stored(storage: SqliteStorage) -> None:
    """Terms and words that were numbered in a part that was taken back get new numbers."""
    [one] = await store(storage, put("one"))
    taken = put(memory("zwei", id=one.id), dedupe=False)
    calls = [storage.apply([put("drei vier"), taken]), storage.apply([put("vier")])]
    await asyncio.gather(*calls, return_exceptions=True)
    assert [word for word, _ in await storage.words(ALL)] == ["one", "vier"]
    await store(storage, put("drei vier"))
    assert [word for word, _ in await storage.words(ALL)] == ["one", "vier", "drei"]


async def test_writes_of_one_turn_share_a_commit_where_commits_are_quick(quick: SqliteStorage) -> None:
    """On a memory disk commits run on the event loop's thread; tasks that write at once still wait for each other."""
    commits = await count_commits(quick, *(quick.apply([put(f"memory {n}")]) for n in range(64)))
    assert commits <= 64 // 8 + 2
    assert await quick.last_sequence() == 65


async def test_a_task_that_writes_without_end_lets_others_run(quick: SqliteStorage) -> None:
    """Though its writes never wait for the disk."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    beside = asyncio.create_task(other())
    for n in range(300):
        await quick.apply([put(f"memory {n}")])
    beside.cancel()
    assert turns > 3


async def test_another_process_that_writes_does_not_hold_up_the_event_loop(
    quick: SqliteStorage, tmp_path: Path
) -> None:
    """The write waits in its thread until the other is done."""
    other = sqlite3.connect(tmp_path / "memory.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(quick.apply([put("one")]))
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert not waiting.done()
    other.execute("ROLLBACK")
    other.close()
    assert await waiting
    assert await quick.last_sequence() == 2


async def test_waiting_for_readers_of_what_was_erased_does_not_hold_up_the_event_loop(
    opening: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their snapshot keeps the log of the erasure from being emptied; each write tries again, in the writer's thread."""
    threads: list[str] = []
    scrub = Writer._scrub

    def watched(self: Writer) -> None:
        threads.append(threading.current_thread().name)
        scrub(self)

    monkeypatch.setattr(Writer, "_scrub", watched)
    async with opening(busy_timeout=0.05) as storage:
        make_quick(storage)
        [one] = await store(storage, put("one"))
        reader = sqlite3.connect(tmp_path / "memory.sqlite3", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM bodies").fetchone()
        await store(storage, erase(one))
        await store(storage, put("two"))
        reader.close()
    assert threads == ["sfm-sqlite-writer"] * 2


async def test_a_cancelled_write_leaves_those_beside_it_alone(quick: SqliteStorage) -> None:
    """Though the cancelled one was to commit for all."""
    tasks = [asyncio.create_task(quick.apply([put(f"memory {n}")])) for n in range(4)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, BaseException) for result in results] == [False, True, False, False]
    page = await quick.list(HERE, filter=None, order=Order.CREATED_AT, limit=99, after=None, now=NOW)
    assert {"memory 0", "memory 2", "memory 3"} <= {one.content for one in page.memories}


async def test_words_are_read_again_only_where_they_were_dropped(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the bound the namespace written to longest ago goes; the others stay remembered."""
    monkeypatch.setattr(lexicon, "_MOST_WORDS", 8)
    assert storage._writer is not None
    statements: list[str] = []
    storage._writer._connection.set_trace_callback(statements.append)
    for namespace in ("a", "b", "b", "b", "a", "b"):
        await store(storage, put(f"five words for each one {len(statements)}", namespace=namespace))
    storage._writer._connection.set_trace_callback(None)
    read = [sql for sql in statements if sql.startswith("SELECT num, words FROM wordlists")]
    assert len(read) == 4
    assert len(await storage.words(Scope("a"))) == len(set(await storage.words(Scope("a")))) >= 5


async def test_cursors_are_readable_before_they_are_stored_and_after(opening: Callable[..., Any]) -> None:
    """Resets too."""
    async with opening() as storage, opening() as other:
        await storage.save_cursor("c", 5)
        await storage.save_cursor("c", 3)
        assert (await storage.cursor("c"), await other.cursor("c")) == (5, 0)
        await store(storage, put("one"))
        assert (await storage.cursor("c"), await other.cursor("c")) == (5, 5)
        await storage.save_cursor("c", 0)
        assert await storage.cursor("c") == 0
        await storage.save_cursor("c", 2)
    async with opening() as storage:
        assert await storage.cursor("c") == 2


async def test_a_closed_storage_says_so(opening: Callable[..., Any]) -> None:
    """Reads and writes alike; what was queued before is stored."""
    async with opening() as storage:
        queued = asyncio.ensure_future(storage.apply([put("one")]))
        await asyncio.sleep(0)
    assert await queued
    for call in (storage.apply([put("two")]), storage.get([], now=NOW), storage.check()):
        with pytest.raises(BackendUnavailable, match="closed"):
            await call


FULL_DISK = textwrap.dedent(
    """
    import asyncio, resource, signal, sys
    from pathlib import Path
    from sfm_core.errors import BackendUnavailable
    from sfm_core.model.namespace import ALL, Scope
    from sfm_core.plugins.types import OpenContext
    from sfm_core.testing.build import NOW, put, store
    from sfm_sqlite.config import SqliteConfig
    from sfm_sqlite.storage import open_storage

    async def main():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        async with open_storage(SqliteConfig(), OpenContext(data_dir=Path(sys.argv[1]))) as storage:
            stored = await store(storage, put("before"))
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
            refused = 0
            for n in range(40):
                try:
                    stored += await store(storage, put(f"{n} " + "x" * 20_000), put(f"{n} b"))
                except BackendUnavailable as error:
                    assert "sqlite/storage" in str(error) and "xxx" not in str(error), error
                    refused += 1
            assert refused > 20, refused
            assert await storage.get([one.id for one in stored], now=NOW) == stored
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            stored += await store(storage, put("after"))
            [space] = await storage.namespaces(ALL, now=NOW)
            assert space.memories == len(stored), (space, len(stored))
        async with open_storage(SqliteConfig(), OpenContext(data_dir=Path(sys.argv[1]))) as storage:
            assert await storage.get([one.id for one in stored], now=NOW) == stored

    asyncio.run(main())
    """
)


def test_a_full_disk_refuses_writes_and_loses_nothing(tmp_path: Path) -> None:
    """Typed errors, nothing half-written, and writing goes on when there is room again."""
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
