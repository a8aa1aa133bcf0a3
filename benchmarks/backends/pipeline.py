"""`python -m benchmarks.backends.pipeline`: the evented pipeline from end to end, on real servers.

How many events a second one process with relay and consumer brings from the change log over Kafka into pgvector, beside how
many memories a second one writer stores; and how far the index is behind while it writes at a steady rate. There is no floor:
what a program would do by hand is measured for each backend on its own.

* backlog: the process is frozen while the memories are stored, so that neither its start nor what it does meanwhile counts;
  the clock runs from when it goes on until the cursor that every process can read has reached the end of the log.
* behind: what that cursor lacks, asked ten times a second by the writer; a memory is in the index some time before.

Vectors are made up at no cost, and the index has no HNSW: what is measured is the pipeline, not a model or a graph.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.speed.texts import embed, memories
from sfm_app.dev.stack import servers
from sfm_app.observability.metrics import Metrics
from sfm_app.pipeline import consumer_of, relay_of
from sfm_core.config.modes import Role
from sfm_core.runtime import Runtime, open_services
from sfm_core.services.principal import EVERYTHING

BATCH = 50
LOOK = 0.1


async def member(settings: dict[str, str]) -> None:
    """Run relay and consumer until killed."""
    async with open_services(settings=settings, role=Role.CONSUMER, embed=embed) as runtime:
        metrics = Metrics(version="0")
        await asyncio.gather(relay_of(runtime, metrics).run(), consumer_of(runtime, metrics).run())


@contextmanager
def consuming(settings: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Have a process of its own relay and consume."""
    process = subprocess.Popen([sys.executable, "-m", __spec__.name, "--member", json.dumps(settings)])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def behind(runtime: Runtime) -> int:
    """Return how many changes are not in the index yet."""
    last = await runtime.ports.storage.last_sequence()
    return last - await runtime.services.projector.indexed(last)


async def caught_up(runtime: Runtime) -> float:
    """Wait until the index holds everything; return when that was."""
    while await behind(runtime):  # noqa: ASYNC110 - what changes is in another process
        await asyncio.sleep(0.01)
    return time.perf_counter()


async def store(runtime: Runtime, count: int) -> float:
    """Store memories as fast as that goes; return how many a second."""
    items = list(memories(count, 10))
    started = time.perf_counter()
    for start in range(0, count, 1000):
        await runtime.services.remember.remember_many(EVERYTHING, items[start : start + 1000])
    return count / (time.perf_counter() - started)


async def backlog(runtime: Runtime, process: subprocess.Popen[bytes], count: int) -> None:
    """Store memories while the process is frozen, and have it bring them into the index."""
    await runtime.services.remember.remember(EVERYTHING, {"content": "the first", "namespace": "bench"})
    await caught_up(runtime)
    process.send_signal(signal.SIGSTOP)
    stored = await store(runtime, count)
    process.send_signal(signal.SIGCONT)
    started = time.perf_counter()
    indexed = count / (await caught_up(runtime) - started)
    print(f"stored {stored:8.0f} memories/s   indexed {indexed:8.0f} events/s   ratio {stored / indexed:5.2f}")


async def steady(runtime: Runtime, rate: int, seconds: int) -> None:
    """Write at a steady rate while the consumer works."""
    items: list[dict[str, Any]] = list(memories(rate * seconds, 10, seed=2))
    lags: list[int] = []
    started = looked = time.perf_counter()
    for start in range(0, len(items), BATCH):
        await runtime.services.remember.remember_many(EVERYTHING, items[start : start + BATCH])
        if time.perf_counter() - looked >= LOOK:
            lags.append(await behind(runtime))
            looked = time.perf_counter()
        await asyncio.sleep(max(0.0, started + (start + BATCH) / rate - time.perf_counter()))
    took = time.perf_counter() - started
    rest = await caught_up(runtime) - started - took
    wrote = len(items) / took
    middle, most = statistics.median(lags), max(lags)
    print(
        f"wrote {wrote:8.0f} memories/s (asked for {rate})   behind: {middle:.0f} events in the middle, {most} at most"
    )
    print(f"that is {middle / wrote:.2f} s and {most / wrote:.2f} s; all was indexed {rest:.2f} s after the last write")


async def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backends.pipeline")
    parser.add_argument("--count", type=int, default=5000, help="memories of the backlog")
    parser.add_argument("--rate", type=int, default=1000, help="writes a second")
    parser.add_argument("--seconds", type=int, default=10, help="how long to write")
    parser.add_argument("--member", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.member:
        await member(json.loads(arguments.member))
        return
    os.environ.pop("SFM_EMBEDDING", None)
    with servers() as own:
        settings = {**own.environment(), "SFM_EMBEDDING": "none", "SFM_PGVECTOR__HNSW": "false"}
        async with open_services(settings=settings, role=Role.SERVICE, embed=embed) as runtime:
            with consuming(settings) as process:
                await backlog(runtime, process, arguments.count)
                await steady(runtime, arguments.rate, arguments.seconds)


if __name__ == "__main__":
    asyncio.run(main())
