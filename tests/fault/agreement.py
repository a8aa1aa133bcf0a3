"""The end of a run: every acknowledged write compared with storage, index, cache and events, after the pipeline drained."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import msgspec
from aiokafka import AIOKafkaConsumer

from sfm_core.model.namespace import Scope
from sfm_core.runtime import Runtime, open_services
from sfm_core.services.principal import EVERYTHING
from tests.fault import letters
from tests.fault.fleet import Fleet
from tests.fault.oracle import Oracle, Record

DRAINED = 90.0
"""Seconds that the pipeline gets to work off its backlog: a bound against a hang."""
TOPIC = "memory.events"
_SETTLED = 30.0
_CONTENT = re.compile(rb"[a-z]{16} of fault/[A-Za-z0-9/-]+(?: poison [0-9a-f]+)?")
_DATA = {"memory_id", "version", "namespace", "sequence"}
_T = TypeVar("_T")


async def drained(fleet: Fleet, oracle: Oracle) -> float:
    """Wait until the index has reached the last acknowledged write, and return how long that took."""
    begun = time.monotonic()
    query = {"vector": letters.vector_of("anything"), "namespace": oracle.namespaces[0], "k": 1}
    async with httpx.AsyncClient(base_url=fleet.urls[0], timeout=20) as client:
        while time.monotonic() - begun < DRAINED:
            try:
                answer = await client.post("/v1/recall", json={**query, "min_sequence": oracle.last_sequence})
                if answer.status_code == 200 and "index_lag" not in answer.json()["partial"]:
                    return time.monotonic() - begun
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
    logs = "\n".join(f"{program.title}: {program.log[-3000:]}" for program in (fleet.relay, *fleet.consumers))
    raise AssertionError(f"the index has not reached {oracle.last_sequence} after {DRAINED:g} s\n{logs}")


async def compare(fleet: Fleet, oracle: Oracle) -> dict[str, float]:
    """Fail with everything that contradicts the oracle; return figures of the run."""
    took = await drained(fleet, oracle)
    async with _opened(fleet) as runtime:
        oracle.violations += await _storage(runtime, oracle)
        # Consumers that were interrupted between index and cache have it behind them by now, or catch up in seconds.
        oracle.violations += await _settled(lambda: _index(runtime, oracle))
        oracle.violations += await _settled(lambda: _reconciled(runtime))
        oracle.violations += await _settled(lambda: _cache(fleet, oracle))
    found, repeats = await _events(fleet, oracle)
    oracle.violations += [*found, *fleet.ended()]
    assert not oracle.violations, "\n".join(oracle.violations[:20])
    assert oracle.acknowledged > 0
    assert oracle.reads > 0
    return {
        "acknowledged": oracle.acknowledged,
        "memories": len(oracle.records),
        "reads": oracle.reads,
        "repeats": oracle.repeats,
        "unanswered": oracle.unanswered.total(),
        "events again": repeats,
        "drained after": round(took, 1),
    }


@asynccontextmanager
async def _opened(fleet: Fleet) -> AsyncIterator[Runtime]:
    names = ("MEMORY_MODE", "POSTGRES_URL", "KAFKA_BOOTSTRAP_SERVERS", "SFM_VECTORS", "SFM_EMBEDDING")
    settings = {name: fleet.environment[name] for name in (*names, "SFM_LETTERS__FOLDER")}
    async with open_services(settings=settings, plugins=[letters]) as runtime:
        yield runtime


async def _settled(look: Callable[[], Awaitable[list[str]]]) -> list[str]:
    """Return what is wrong and stays wrong."""
    ends = time.monotonic() + _SETTLED
    while found := await look():
        if time.monotonic() > ends:
            return found
        await asyncio.sleep(0.5)
    return []


async def _storage(runtime: Runtime, oracle: Oracle) -> list[str]:
    records = list(oracle.written())
    erased = await runtime.ports.storage.erased([record.id for record in records])
    found: list[str] = []
    for record in records:
        kept = await runtime.ports.storage.history(record.id, limit=100)
        history = [(one.memory.version, one.deleted, one.sequence, one.memory.content) for one in reversed(kept)]
        wanted = [
            (w.version, w.content is None, w.sequence, w.content if w.content is not None else last)
            for w, last in zip(record.writes, [None, *(w.content for w in record.writes)], strict=False)
        ]
        if record.erased:
            wanted = []
        if (record.id in erased) != record.erased:
            found.append(f"storage: {record.id} erased: {record.id in erased}, writes {record.writes}")
        if [entry[:3] for entry in history] != [entry[:3] for entry in wanted]:
            found.append(f"storage: {record.id} has {history}, acknowledged {record.writes}")
        elif any(got != want for (*_, got), (_, gone, _, want) in zip(history, wanted, strict=True) if not gone):
            found.append(f"storage: {record.id} has other contents: {history}, acknowledged {record.writes}")
    return found


async def _index(runtime: Runtime, oracle: Oracle) -> list[str]:
    vectors = runtime.ports.vectors
    assert vectors is not None
    records = list(oracle.written())
    have: dict[str, int] = {}
    for part in _parts(records, 500):
        have |= await vectors.versions([record.id for record in part])
    wanted = {record.id: record.version for record in records if record.live}
    found = [
        f"index: {id} has version {have.get(id)}, the record {wanted.get(id)}"
        for id in {*have, *wanted}
        if have.get(id) != wanted.get(id)
    ]
    for namespace in oracle.namespaces:
        count = await vectors.count(Scope(namespace))
        live = sum(record.live and record.namespace == namespace for record in records)
        if count != live:
            found.append(f"index: {namespace} has {count} points for {live} memories")
    return found


async def _reconciled(runtime: Runtime) -> list[str]:
    report = await runtime.services.maintenance.reconcile(EVERYTHING, repair=False)
    return [f"reconcile: {report}"] if (report.missing, report.stale, report.orphaned) != (0, 0, 0) else []


async def _cache(fleet: Fleet, oracle: Oracle) -> list[str]:
    from redis.asyncio import Redis

    writers = {content: record for record in oracle.written() for content in record.contents}
    found: list[str] = []
    async with Redis(host="127.0.0.1", port=fleet.servers.redis.port) as redis:
        async for keys in _keys(redis):
            for value in await redis.mget(keys):
                for content in {match.decode() for match in _CONTENT.findall(value or b"")}:
                    record = writers.get(content)
                    if record is None:
                        continue
                    if not record.live:
                        found.append(f"cache: a copy of {record.id} {content!r}, which is gone")
                    elif content not in {write.content for write in record.writes}:
                        found.append(f"cache: {content!r} of {record.id}, which never was")
    return found


async def _keys(redis: Any) -> AsyncIterator[list[bytes]]:
    cursor = 0
    while True:
        cursor, keys = await redis.scan(cursor, match="sfm:*", count=1000)
        if keys:
            yield keys
        if not cursor:
            return


async def _events(fleet: Fleet, oracle: Oracle) -> tuple[list[str], int]:
    """Read the topic from its beginning and compare it with the oracle; return what is wrong, and how many were repeats."""
    told: dict[str, list[tuple[int, str, str, int]]] = {namespace: [] for namespace in oracle.namespaces}
    found: list[str] = []
    async for key, document in read_topic(fleet.servers.kafka.bootstrap):
        data = document["data"]
        if data["namespace"] not in told:
            continue
        if set(data) != _DATA or key != data["namespace"].encode():
            found.append(f"events: key {key!r} and data {data}")
        told[data["namespace"]].append(
            (data["sequence"], data["memory_id"], document["type"].removeprefix("memory."), data["version"])
        )
    repeats = 0
    for namespace, events in told.items():
        wanted = {
            (write.sequence, record.id, write.type, write.version)
            for record in oracle.written()
            if record.namespace == namespace
            for write in record.writes
        }
        if set(events) != wanted:
            missing, more = wanted - set(events), set(events) - wanted
            found.append(f"events: of {namespace} missing {sorted(missing)[:5]}, never acknowledged {sorted(more)[:5]}")
        repeats += len(events) - len(set(events))
        found += [f"events: {namespace}: {text}" for text in disorder([event[0] for event in events])]
    return found, repeats


def disorder(sequences: list[int]) -> list[str]:
    """Return where an order is other than ascending apart from whole repeats: a step back, and from there all again."""
    known = {sequence: place for place, sequence in enumerate(sorted(set(sequences)))}
    places = [known[sequence] for sequence in sequences]
    return [
        f"{sequences[n]} after {sequences[n - 1]}, which leaves events out"
        for n in range(1, len(places))
        if places[n] > places[n - 1] + 1
    ]


async def read_topic(bootstrap: str) -> AsyncIterator[tuple[bytes | None, Mapping[str, Any]]]:
    """Yield key and document of every event of the topic, partition by partition; garbage and replays are passed over."""
    reader = AIOKafkaConsumer(
        TOPIC, bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await reader.start()
    try:
        partitions = sorted(reader.assignment())
        ends = await reader.end_offsets(partitions)
        while [at for at, end in ends.items() if await reader.position(at) < end]:
            for records in (await reader.getmany(timeout_ms=500)).values():
                for record in records:
                    if any(name == "sfm-only-group" for name, _ in record.headers):
                        continue
                    try:
                        document = msgspec.json.decode(record.value or b"")
                    except (msgspec.MsgspecError, ValueError, RecursionError):
                        continue
                    if isinstance(document, dict) and "data" in document:
                        yield record.key, document
    finally:
        await reader.stop()


def _parts(items: Iterable[Record], size: int) -> Iterable[list[Record]]:
    every = list(items)
    return (every[n : n + size] for n in range(0, len(every), size))
