"""`python -m benchmarks.backends.kafka`: the Kafka event bus beside the bare driver, on a real broker, as ratios.

The floor is what a program would write with aiokafka alone for the same promises:

* publish: each event encoded as JSON with its namespace as the key, by an idempotent producer with batches as large as ours,
  until all in-sync copies hold all of them.
* consume: each event decoded from JSON, and after each batch its offsets committed by hand. Ours keeps besides which
  deliveries are done, how often each was tried and to which share it belongs. The group is joined before the clock runs.

Both run in turn, so that a drift of the machine meets both. Nothing is done with the events: it is the least that consuming
costs.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from sfm_core.model.event import Event
from sfm_core.testing.events import change_events
from sfm_core.testing.servers.kafka import KafkaServer
from sfm_kafka.config import KafkaConfig
from sfm_kafka.events import KafkaEvents, open_events

NAMESPACES = [f"bench/agent-{n}" for n in range(100)]
OURS, BARE = "bench.ours", "bench.bare"
HEADERS = [("content-type", b"application/cloudevents+json")]
STEP = 500
CONSUMED = 100_000
DECODER = msgspec.json.Decoder(Event)


def bare_publish(producer: Any) -> Callable[[list[Event]], Awaitable[None]]:
    """Return what a program would write with the driver alone, with the same durability."""

    async def publish(events: list[Event]) -> None:
        sent = [
            await producer.send(BARE, msgspec.json.encode(event), event.data.namespace.encode(), headers=HEADERS)
            for event in events
        ]
        await asyncio.gather(*sent)

    return publish


async def bare_consume(bootstrap: str, group: str) -> float:
    """Read events, decode them, commit each batch; return how many seconds that took."""
    consumer = AIOKafkaConsumer(
        BARE, bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    async with consumer:
        start, left = time.perf_counter(), CONSUMED
        while left > 0:
            batches = await consumer.getmany(timeout_ms=500, max_records=STEP)
            left -= len([DECODER.decode(record.value) for batch in batches.values() for record in batch])
            await consumer.commit()
        return time.perf_counter() - start


async def our_consume(events: KafkaEvents, group: str) -> float:
    """Do the same on the port."""
    async with events.subscribe(group) as member:
        start, left = time.perf_counter(), CONSUMED
        while left > 0:
            found = await member.receive(limit=STEP, timeout=0.5)
            await member.commit(found)
            left -= len(found)
        return time.perf_counter() - start


async def timed(call: Awaitable[None]) -> float:
    """Return how many seconds a call takes."""
    start = time.perf_counter()
    await call
    return time.perf_counter() - start


async def paired(
    rounds: int, bare: Callable[[int], Awaitable[float]], ours: Callable[[int], Awaitable[float]]
) -> tuple[float, float]:
    """Run both in turn and return the median seconds of each."""
    taken = [(await bare(number), await ours(number)) for number in range(rounds + 1)]
    floor, mine = (statistics.median(column) for column in zip(*taken[1:], strict=True))
    return floor, mine


def show(what: str, count: int, floor: float, mine: float) -> None:
    """Print one line."""
    print(f"{what:24s} {count / floor:14.0f} {count / mine:15.0f} {mine / floor:10.2f}", flush=True)


@asynccontextmanager
async def both(bootstrap: str) -> AsyncIterator[tuple[KafkaEvents, Any]]:
    """Open the event bus, and a bare producer with a topic like it."""
    async with (
        open_events(KafkaConfig(bootstrap_servers=(bootstrap,), topic=BARE), create=True),
        open_events(KafkaConfig(bootstrap_servers=(bootstrap,), topic=OURS), create=True) as events,
        AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, max_batch_size=256 * 1024) as producer,
    ):
        yield events, producer


async def measure(rounds: int) -> None:
    """Print one table."""
    server = await asyncio.to_thread(KafkaServer().__enter__)
    try:
        async with both(server.bootstrap) as (events, producer):
            publish = bare_publish(producer)
            print("                          bare events/s   ours events/s  ratio of times")
            for size, repeat in ((1, rounds * 10), (100, rounds * 2), (1000, rounds)):
                batch = change_events(size, namespaces=NAMESPACES)
                floor, mine = await paired(
                    repeat, lambda _, b=batch: timed(publish(b)), lambda _, b=batch: timed(events.publish(b))
                )
                show(f"publish {size} at once", size, floor, mine)
            batch = change_events(1000, namespaces=NAMESPACES)
            for _ in range(CONSUMED // len(batch)):
                await asyncio.gather(publish(batch), events.publish(batch))
            floor, mine = await paired(
                rounds // 2,
                lambda n: bare_consume(server.bootstrap, f"bare-{n}"),
                lambda n: our_consume(events, f"ours-{n}"),
            )
            show(f"consume {CONSUMED:,}", CONSUMED, floor, mine)
    finally:
        await asyncio.to_thread(server.close)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    asyncio.run(measure(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
