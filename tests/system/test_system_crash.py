"""A process that is killed while it writes: nothing acknowledged is lost, and the index agrees after reopening."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sfm_core.errors import NotFound
from sfm_core.runtime import open_memory

WRITER = """
import asyncio, hashlib, sys
from sfm_core import open_memory

def embed(texts):
    return [[byte + 1.0 for byte in hashlib.sha256(text.encode()).digest()] for text in texts]

embed.__module__, embed.__qualname__ = "crash", "embed"

async def main():
    async with open_memory(mode="development", settings={"data_dir": sys.argv[1]}, embed=embed) as memory:
        async def work(task):
            n = 0
            while True:
                n += 1
                made = await memory.remember(f"run {sys.argv[2]} task {task} number {n}")
                print("made", made.memory.id, flush=True)
                if n % 3 == 0:
                    await memory.update(made.memory.id, content=f"changed {sys.argv[2]} {task} {n}")
                    print("changed", made.memory.id, flush=True)
                if n % 4 == 0:
                    await memory.erase(made.memory.id)
                    print("erased", made.memory.id, flush=True)
        await asyncio.gather(*map(work, range(3)))

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["development"], indirect=True)
async def test_a_killed_writer_loses_nothing_and_leaves_an_index_that_agrees(mode: str, data_dir: Path) -> None:
    """Eight times on one data directory, at random moments."""
    dice = random.Random(3)
    told: dict[str, str] = {}

    def embed(texts: list[str]) -> list[list[float]]:
        return [[byte + 1.0 for byte in hashlib.sha256(text.encode()).digest()] for text in texts]

    embed.__module__, embed.__qualname__ = "crash", "embed"
    for run in range(8):
        writer = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-c", WRITER, str(data_dir), str(run)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(dice.randrange(5, 120))]
        writer.send_signal(signal.SIGKILL)
        lines += writer.communicate()[0].splitlines(keepends=True)
        for line in lines:
            if line.endswith("\n"):
                what, id = line.split()
                told[id] = what
        async with open_memory(mode=mode, settings={"data_dir": data_dir}, embed=embed) as memory:
            last = (await memory.stats()).last_sequence
            assert await memory.services.projector.reached(last, 10)
            report = await memory.services.maintenance.reconcile(memory.principal, repair=False)
            assert (report.missing, report.stale, report.orphaned) == (0, 0, 0)
            for id, what in told.items():
                if what == "erased":
                    with pytest.raises(NotFound):
                        await memory.history(id)
                    continue
                try:
                    stored = await memory.get(id)
                except NotFound:
                    continue  # its erasure was under way, and not acknowledged
                assert str(stored.content).startswith("changed") or what == "made"
                [vector] = embed([str(stored.content)])
                assert (await memory.recall_vector(vector, k=1)).hits[0].memory.id == id
