"""`python -m benchmarks.backends.redis`: the Redis cache beside the bare driver, on a real server, as ratios.

The floor is what a program would write with `redis.asyncio` alone: one request for what is read, one pipeline for what is
stored with its time to live, one transaction for a count that begins to run out with its first step. Ours lends the driver's
connections itself, which is why it is below 1; "with breaker" is what the services use, and stops asking a dead server.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis

from sfm_core.services.steady import SteadyCache
from sfm_core.testing.servers.redis import RedisServer
from sfm_redis.cache import open_cache
from sfm_redis.config import RedisConfig

Call = Callable[[], Awaitable[object]]
TTL = 300.0
VALUE = b"x" * 1000
KEYS = [f"memory:{n}" for n in range(10)]


def bare_calls(client: Any) -> dict[str, Call]:
    """Return what a program would write with the driver alone."""

    async def store() -> None:
        async with client.pipeline(transaction=False) as pipeline:
            for key in KEYS:
                pipeline.set(f"bare:{key}", VALUE, px=300_000)
            await pipeline.execute()

    async def count() -> None:
        async with client.pipeline(transaction=True) as pipeline:
            pipeline.set("bare:n", 0, px=300_000, nx=True)
            pipeline.incrby("bare:n", 1)
            await pipeline.execute()

    return {
        "read one": lambda: client.get(f"bare:{KEYS[0]}"),
        "read ten": lambda: client.mget([f"bare:{key}" for key in KEYS]),
        "store ten": store,
        "count": count,
    }


def our_calls(cache: Any) -> dict[str, Call]:
    """Return the same on the cache port, or on the circuit breaker around it."""
    return {
        "read one": lambda: cache.get(KEYS[:1]),
        "read ten": lambda: cache.get(KEYS),
        "store ten": lambda: cache.set(dict.fromkeys(KEYS, VALUE), ttl=TTL),
        "count": lambda: cache.increment("n", ttl=TTL),
    }


async def medians(calls: list[Call], rounds: int, at_once: int) -> list[float]:
    """Run the calls in turn and return the median microseconds of each."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, taken in zip(calls, times, strict=True):
            start = time.perf_counter()
            await asyncio.gather(*(call() for _ in range(at_once)))
            taken.append(1e6 * (time.perf_counter() - start) / at_once)
    return [statistics.median(taken[rounds // 10 :]) for taken in times]


async def measure(version: str, rounds: int) -> None:
    """Print one table."""
    server = await asyncio.to_thread(RedisServer(version).__enter__)
    client = Redis(port=server.port)
    try:
        async with open_cache(RedisConfig(port=server.port, timeout=5)) as cache:
            bare, ours, steady = bare_calls(client), our_calls(cache), our_calls(SteadyCache(cache, patience=5))
            print(f"Redis {version}                 bare us    ours us  ratio   with breaker  ratio")
            for at_once in (1, 16):
                for what in bare:
                    floor, mine, safe = await medians([bare[what], ours[what], steady[what]], rounds, at_once)
                    name = f"{what}, {at_once} at once"
                    print(f"{name:24s} {floor:8.1f} {mine:10.1f} {mine / floor:6.2f} {safe:14.1f} {safe / floor:6.2f}")
    finally:
        await client.aclose()
        await asyncio.to_thread(server.close)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", default="8", help="of the server: 8 or 7")
    parser.add_argument("--rounds", type=int, default=1000)
    options = parser.parse_args()
    asyncio.run(measure(options.version, options.rounds))


if __name__ == "__main__":
    main()
