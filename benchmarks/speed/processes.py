"""Figures of whole processes: start to first recalled memory, modules of the import, memory, disk, fsyncs, reopening."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["cold_start", "footprint", "fsyncs", "imports"]

_RUNS = 5

_COLD = """
import asyncio, sys
from sfm_core import open_memory
async def main():
    async with open_memory(settings={"data_dir": sys.argv[1]}) as memory:
        await memory.remember("Ada moved to Turin", namespace="acme/agent-7", author="Ada")
        answer = await memory.recall("Where does Ada live?", namespace="acme/agent-7", k=5)
        assert answer.hits[0].memory.content == "Ada moved to Turin"
asyncio.run(main())
"""
_COLD_FLOOR = """
import asyncio, sqlite3, sys
import numpy
async def main():
    db = sqlite3.connect(sys.argv[1] + ".floor")
    db.execute("pragma journal_mode = wal")
    db.execute("create table if not exists memory (content text)")
    db.execute("insert into memory values ('Ada moved to Turin')")
    db.commit()
    assert db.execute("select content from memory").fetchone()
asyncio.run(main())
"""
_IMPORT = "import time; t = time.perf_counter(); import sfm_core, sys; print(time.perf_counter() - t, len(sys.modules))"
_STORES = """
import asyncio, sys
from sfm_core import open_memory
async def main():
    async with open_memory(settings={"data_dir": sys.argv[1]}) as memory:
        for i in range(int(sys.argv[2])):
            if sys.argv[3] == "alone":
                await memory.remember(f"note {i}")
        if sys.argv[3] == "together":
            await asyncio.gather(*(memory.remember(f"note {i}") for i in range(int(sys.argv[2]))))
asyncio.run(main())
"""
_FOOTPRINT = """
import asyncio, json, resource, sys, time
sys.path.insert(0, sys.argv[3])
from benchmarks.speed.texts import DIMENSION, embed, namespace
from sfm_core import open_memory
async def main():
    start = time.perf_counter()
    async with open_memory(settings={"data_dir": sys.argv[1]}, embed=embed) as memory:
        await memory.recall_vector(embed(["a"])[0].tolist(), namespace=namespace(0))
        first = time.perf_counter() - start
        for n in range(int(sys.argv[2])):
            await memory.recall_vector(embed(["a"])[0].tolist(), namespace=namespace(n))
            await memory.recall("What did Ada say about the house?", namespace=namespace(n))
        status = open("/proc/self/status").read() if sys.platform == "linux" else ""
        resident = [int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")]
        print(json.dumps({"first_s": first, "resident_mb": resident[0] if resident else None}))
asyncio.run(main())
"""


def _timed(code: str, *arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
    return time.perf_counter() - start


def cold_start(folder: Path) -> tuple[float, float]:
    """Return seconds from process start to the first recalled memory, ours and the floor's (medians)."""
    ours, floor = [], []
    for run in range(_RUNS):
        ours.append(_timed(_COLD, str(folder / f"cold-{run}")))
        floor.append(_timed(_COLD_FLOOR, str(folder / f"cold-{run}")))
    return statistics.median(ours), statistics.median(floor)


def imports() -> tuple[float, int]:
    """Return the seconds of `import sfm_core` (median) and how many modules are loaded after it."""
    runs = [
        subprocess.run([sys.executable, "-c", _IMPORT], check=True, capture_output=True, text=True).stdout.split()
        for _ in range(_RUNS)
    ]
    return statistics.median(float(seconds) for seconds, _ in runs), int(runs[0][1])


def fsyncs(folder: Path, how: str, count: int = 200) -> float | None:
    """Return fsyncs per acknowledged store, `alone` one after the other or `together`; None where strace is missing."""
    strace = shutil.which("strace")
    if strace is None:
        return None

    def total(stores: int, name: str) -> int:
        log = folder / f"{name}.strace"
        traced = [strace, "-f", "-e", "trace=fsync,fdatasync", "-o", str(log)]
        command = [sys.executable, "-c", _STORES, str(folder / name), str(stores), how]
        subprocess.run([*traced, *command], check=True)
        return sum("sync(" in line for line in log.read_text().splitlines())

    return (total(count, f"{how}-some") - total(0, f"{how}-none")) / count


def footprint(data: Path, namespaces: int) -> dict[str, float | None]:
    """Return resident megabytes, megabytes on disk, and seconds to the first recall after reopening."""
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", _FOOTPRINT, str(data), str(namespaces), root]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, float | None] = json.loads(out)
    figures["disk_mb"] = sum(f.stat().st_size for f in data.rglob("*") if f.is_file()) / 1e6
    return figures
