"""Many callers at once: tasks, threads through the synchronous facade, processes on one data directory."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sfm_core import sync
from sfm_core.errors import BackendError, BackendUnavailable, Forbidden, InvalidInput, NotFound, SfmError
from sfm_core.memory import AgentMemory
from sfm_core.model.namespace import Scope
from sfm_core.services.principal import Principal, Verb
from sfm_core.sync import SyncMemory

WORK = """
import hashlib, sys
from concurrent.futures import ThreadPoolExecutor
from sfm_core.sync import open_memory

def embed(texts):
    return [[b + 1.0 for b in hashlib.sha256(text.encode()).digest()] for text in texts]

name, data_dir = sys.argv[1:]
with open_memory(mode="development", settings={"data_dir": data_dir}, embed=embed) as memory:
    shared = memory.remember("shared", id="00000000-0000-4000-8000-000000000001").memory.id
    print("ready", flush=True)
    sys.stdin.readline()
    def work(thread):
        for n in range(6):
            own = memory.remember(f"{name} {thread} {n}", author=name).memory.id
            memory.update(shared, payload={f"{name}-{thread}-{n}": n})
            memory.remember(f"{name} {thread} {n} here", coordinate=[n])
            memory.remember(f"twin {thread} {n}")
            memory.link(shared, own)
            assert len(memory.recall(f"{name} {thread} {n}", k=3).hits) == 3
            if n % 3 == 2:
                memory.delete(own)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    print("done", flush=True)
"""


@pytest.fixture
def opened(mode: str, data_dir: Path) -> Any:
    """A memory for synchronous callers."""
    with sync.open_memory(mode=mode, settings={"data_dir": data_dir}) as memory:
        yield memory


def test_the_synchronous_facade_has_every_method(opened: SyncMemory) -> None:
    """With the same answers and errors."""
    assert opened.remember("tea").outcome == "created"
    id = opened.remember("tea").memory.id
    assert opened.get(id).content == "tea"
    assert opened.recall("tea").hits[0].memory.id == id
    assert [m.id for m in opened.list().items] == [id]
    assert opened.update(id, author="Ada").memory.version == 2
    assert b"".join(opened.export()).count(b"\n") == 3
    assert opened.import_from(opened.export()).skipped == 1
    with pytest.raises(InvalidInput):
        opened.remember("")
    with pytest.raises(NotFound):
        opened.get("00000000-0000-4000-8000-000000000000")
    reader = opened.as_principal(Principal("r", (Scope("default"),), frozenset({Verb.READ})))
    assert reader.get(id).content == "tea"
    with pytest.raises(Forbidden):
        reader.remember("x")
    for name in ("services", "nothing", "_memory_"):
        with pytest.raises(AttributeError):
            getattr(opened, name)
    public = {name for name in vars(AgentMemory) if not name.startswith("_")}
    assert all(callable(getattr(opened, name)) for name in public)


def test_eight_threads_lose_nothing(opened: SyncMemory) -> None:
    """Writes, updates of one memory, coordinates, twins, links, recall and deletions from each."""
    shared = opened.remember("shared").memory.id

    def work(thread: int) -> None:
        for n in range(10):
            own = opened.remember(f"mine {thread} {n}", author=f"t{thread}").memory.id
            opened.update(shared, payload={f"{thread}-{n}": n})
            opened.remember(f"place {thread} {n}", coordinate=[n])
            opened.remember(f"twin {n}")
            opened.link(shared, own)
            assert opened.recall(f"mine {thread} {n}", k=1).hits
            if n % 5 == 4:
                opened.delete(own)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert opened.get(shared).payload == {f"{thread}-{n}": n for thread in range(8) for n in range(10)}
    assert opened.get(shared).version == 81
    contents = {m.content for m in opened.list(limit=1000).items}
    assert {f"mine {t} {n}" for t in range(8) for n in range(10) if n % 5 != 4} <= contents
    assert len([c for c in contents if c and c.startswith("twin")]) == 10
    assert len([c for c in contents if c and c.startswith("place")]) == 10
    assert len(opened.neighbors(shared, limit=1000).items) == 64
    sequences = [e.data.sequence for e in opened.changes(limit=1000).items]
    assert sequences == sorted(set(sequences))


async def test_eight_tasks_lose_nothing(memory: AgentMemory) -> None:
    """Of one event loop."""
    shared = (await memory.remember("shared")).memory.id

    async def work(task: int) -> None:
        for n in range(10):
            own = (await memory.remember(f"mine {task} {n}")).memory.id
            await memory.update(shared, payload={f"{task}-{n}": n})
            await memory.remember(f"place {task} {n}", coordinate=[n])
            await memory.link(shared, own)
            await memory.undo(str((await memory.delete(own)).operation))
            assert (await memory.recall(f"mine {task} {n}", k=1)).hits

    await asyncio.gather(*(work(task) for task in range(8)))
    assert (await memory.get(shared)).payload == {f"{task}-{n}": n for task in range(8) for n in range(10)}
    assert len((await memory.neighbors(shared, limit=1000)).items) == 80
    assert (await memory.stats()).memories == 1 + 80 + 10


@pytest.mark.parametrize("mode", ["development"], indirect=True)
def test_two_processes_share_one_data_directory(mode: str, data_dir: Path) -> None:
    """No error, nothing lost, one memory for twins and for a coordinate, and an index that agrees with the records."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, name, str(data_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in ("left", "right")
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    assert [worker.communicate(timeout=120)[0] for worker in workers] == ["done\n", "done\n"]
    assert [worker.returncode for worker in workers] == [0, 0]
    names = [(name, thread, n) for name in ("left", "right") for thread in range(4) for n in range(6)]
    with sync.open_memory(mode=mode, settings={"data_dir": data_dir}) as memory:
        shared = memory.get("00000000-0000-4000-8000-000000000001")
        assert shared.payload == {f"{name}-{thread}-{n}": n for name, thread, n in names}
        assert shared.version == len(names) + 1
        contents = [m.content for m in memory.list(limit=1000).items]
        own = [f"{name} {thread} {n}" for name, thread, n in names if n % 3 != 2]
        assert sorted(c for c in contents if c.split()[0] in ("left", "right") and not c.endswith("here")) == sorted(
            own
        )
        assert sorted(c for c in contents if c.startswith("twin")) == [
            f"twin {t} {n}" for t in range(4) for n in range(6)
        ]
        places = [m for n in range(6) for m in memory.at_coordinate([n])]
        assert sum(m.version for m in places) == len(names)
        assert len(memory.neighbors(shared.id, limit=1000).items) == len(own)
        sequences = [e.data.sequence for e in memory.changes(limit=1000).items]
        assert sequences == sorted(set(sequences))

    def embed(texts: list[str]) -> list[list[float]]:
        import hashlib

        return [[b + 1.0 for b in hashlib.sha256(text.encode()).digest()] for text in texts]

    async def agrees() -> Any:
        from sfm_core import open_memory

        async with open_memory(mode=mode, settings={"data_dir": data_dir}, embed=embed) as memory:
            return await memory.services.maintenance.reconcile(memory.principal, repair=False)

    embed.__module__, embed.__qualname__ = "__main__", "embed"
    report = asyncio.run(agrees())
    assert (report.missing, report.stale, report.orphaned) == (0, 0, 0)


@pytest.mark.parametrize("mode", ["development"], indirect=True)
async def test_two_openings_of_one_process_see_each_other(opening: Callable[..., Any]) -> None:
    """What one acknowledges, the other gets, lists and recalls at once; idempotency and duplicates hold across."""
    async with opening() as one, opening() as two:
        id = (await one.remember("tea from one")).memory.id
        assert (await two.get(id)).content == "tea from one"
        assert [m.id for m in (await two.list()).items] == [id]
        assert (await two.recall("tea from one", k=1)).hits[0].memory.id == id
        assert (await two.remember("tea from one")).outcome == "duplicate"
        receipts = await asyncio.gather(*(m.remember(f"twin {n}") for n in range(8) for m in (one, two)))
        assert sorted(r.outcome for r in receipts) == ["created"] * 8 + ["duplicate"] * 8
        updates = await asyncio.gather(*(m.update(id, payload={f"{n}": n}) for n in range(8) for m in (one, two)))
        assert max(r.memory.version for r in updates) == 9
        await two.erase(id)
        with pytest.raises(NotFound):
            await one.get(id)
        assert [h.memory.id for h in (await one.recall("tea from one")).hits if h.memory.id == id] == []


def test_calls_in_flight_end_when_the_memory_closes(mode: str, data_dir: Path) -> None:
    """With a typed error in their threads; later calls get it at once; closing does not hang."""
    errors: list[BaseException] = []
    started = threading.Event()

    def embed(texts: list[str]) -> list[list[float]]:
        if texts != ["dimension"]:
            started.set()
            time.sleep(0.3)
        return [[1.0] for _ in texts]

    def call(memory: SyncMemory, n: int) -> None:
        try:
            memory.remember(f"m{n}")
        except SfmError as error:
            errors.append(error)

    with sync.open_memory(mode=mode, settings={"data_dir": data_dir}, embed=embed) as memory:
        threads = [threading.Thread(target=call, args=(memory, n)) for n in range(4)]
        for thread in threads:
            thread.start()
        assert started.wait(5)
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert errors
    assert {type(error) for error in errors} == {BackendUnavailable}
    with pytest.raises(BackendUnavailable, match="closed"):
        memory.remember("late")
    with pytest.raises(BackendUnavailable, match="closed"):
        next(iter(memory.export()))


@pytest.mark.parametrize("mode", ["test"], indirect=True)
def test_a_hook_that_waits_for_the_memory_is_refused(mode: str, hooked: Any) -> None:
    """It would wait for itself."""
    found: list[BaseException] = []

    def hook(memory: Any) -> None:
        try:
            holder[0].get(memory.id)
        except BackendError as error:
            found.append(error)

    holder: list[SyncMemory] = []
    with sync.open_memory(mode=mode, plugins=[hooked(sfm_remembered=hook)]) as memory:
        holder.append(memory)
        memory.remember("x")
    assert len(found) == 1
    assert "itself" in str(found[0])


def test_a_memory_that_cannot_be_opened_leaves_no_thread(mode: str, data_dir: Path) -> None:
    """The error is that of opening."""
    before = threading.active_count()
    with pytest.raises(SfmError, match="MEMORY_MODE"), sync.open_memory(mode="no such mode"):
        pytest.fail("opened")
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="mine"), sync.open_memory(mode=mode, settings={"data_dir": data_dir}):
        raise RuntimeError("mine")
    assert threading.active_count() == before
