"""What the stores of a place really hold, read past our own code."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer
from redis.asyncio import Redis

from sfm_core.testing.servers import PostgresServer
from sfm_qdrant.client import connect
from tests.enterprise.deployment import Place


def database_text(place: Place, *options: str) -> str:
    """Return everything in the place's database, as `pg_dump` writes it."""
    command = [str(place.postgres.programs / "pg_dump"), "--inserts", *options, place.database]
    dumped: str = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dumped


async def indexed(place: Place, id: str) -> list[str]:
    """Return what the vector index of the place holds of a memory, marks without a vector left out, as text."""
    if place.qdrant is None:
        # A mark that keeps late events from bringing it back may stay: id and version.
        lines = database_text(place, "--schema=sfm_vectors").splitlines()
        return [line for line in lines if id in line and "[" in line]
    client = connect(place.qdrant)
    try:
        points, _ = await client.scroll(place.name, limit=10_000, with_payload=True, with_vectors=True)
        return [str(point) for point in points if id in str(point) and point.vector]
    finally:
        await client.close()


def files_with(folder: Path, word: str) -> list[str]:
    """Return the files below a folder that hold the bytes of a word."""
    done = subprocess.run(["grep", "-rlaF", word, folder], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


def vacuum(place: Place, *, full: bool = False) -> None:
    """Vacuum the place's database and write everything to its files."""
    name = place.database.rsplit("/", 1)[-1]
    place.postgres.psql("VACUUM FULL" if full else "VACUUM", database=name)
    place.postgres.psql("CHECKPOINT", database=name)


def data_folder(place: Place) -> Path | None:
    """Return where the tables of the server lie, None when it was not started here."""
    server = place.postgres
    return server.folder / "data" / "base" if isinstance(server, PostgresServer) else None


async def cached(place: Place) -> dict[bytes, bytes]:
    """Return every key of the place in Redis with the bytes of its value."""
    client: Any = Redis.from_url(place.redis.url)
    async with client:
        keys = [key async for key in client.scan_iter(match=f"{place.name}*", count=1000)]
        return {key: await client.get(key) or b"" for key in keys}


async def published(place: Place) -> list[tuple[int, int, bytes | None, bytes | None]]:
    """Return (partition, offset, key, value) of everything in the place's topic."""
    consumer = AIOKafkaConsumer(
        place.name,
        bootstrap_servers=place.kafka.bootstrap,
        group_id=None,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        while not consumer.assignment():  # noqa: ASYNC110 - the driver has no event for it
            await asyncio.sleep(0.05)
        partitions = sorted(consumer.assignment())
        ends = await consumer.end_offsets(partitions)
        found: list[tuple[int, int, bytes | None, bytes | None]] = []
        while any([await consumer.position(part) < ends[part] for part in partitions]):
            for part, records in (await consumer.getmany(timeout_ms=500)).items():
                found += [(part.partition, record.offset, record.key, record.value) for record in records]
        return found
    finally:
        await consumer.stop()
