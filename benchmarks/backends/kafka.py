"""`python -m benchmarks.backends.kafka`: the Kafka event bus beside the bare driver, on a real broker, as ratios."""

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


def bare_publish(producer: Any) -> Callable[[list[Event]], Awaitable[None]]:
    """Return what a program would write with the driver alone, with the same durability."""

    async def publish(events: list[Event]) -> None:
        sent = [
            await producer.send(BARE, msgspec.json.encode(event), event.data.namespace.encode(), headers=HEADERS)
            for event in events
        ]
        await asyncio.gather(*sent)

    return publish


async def bare_consume(bootstrap: str, group: str, count: int) -> None:
    """Read events, decode them, commit each batch."""
    consumer = AIOKafkaConsumer(
        BARE, bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    async with consumer:
        while count > 0:
            batches = await consumer.getmany(timeout_ms=500, max_records=STEP)
            for record in (record for batch in batches.values() for record in batch):
                msgspec.json.decode(record.value, type=Event)
                count -= 1
            await consumer.commit()


async def our_consume(events: KafkaEvents, group: str, count: int) -> None:
    """Do the same on the port."""
    async with events.subscribe(group) as member:
        while count > 0:
            found = await member.receive(limit=STEP, timeout=0.5)
            await member.commit(found)
            count -= len(found)


async def paired(rounds: int, bare: Callable[[int], Awaitable[None]], ours: Callable[[int], Awaitable[None]]) -> Any:
    """Run both in turn and return the median seconds of each."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for call, taken in zip((bare, ours), times, strict=True):
            start = time.perf_counter()
            await call(number)
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken[1:]) for taken in times]


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
            total = 0
            for size, repeat in ((1, rounds * 10), (100, rounds * 2), (1000, rounds)):
                batch = change_events(size, namespaces=NAMESPACES)
                floor, mine = await paired(repeat, lambda _, b=batch: publish(b), lambda _, b=batch: events.publish(b))
                print(f"{f'publish {size} at once':24s} {size / floor:14.0f} {size / mine:15.0f} {mine / floor:10.2f}")
                total += size * (repeat + 1)
            floor, mine = await paired(
                3,
                lambda n: bare_consume(server.bootstrap, f"bare-{n}", total),
                lambda n: our_consume(events, f"ours-{n}", total),
            )
            print(f"{f'consume {total:,}':24s} {total / floor:14.0f} {total / mine:15.0f} {mine / floor:10.2f}")
    finally:
        await asyncio.to_thread(server.close)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    asyncio.run(measure(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
