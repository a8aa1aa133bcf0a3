"""The consumer group under load: members come and go, and events that nobody can carry out come in between."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from sfm_core.model.event import Change, event_of
from sfm_core.services.clock import now
from tests.fault import letters
from tests.fault.agreement import TOPIC, compare, drained
from tests.fault.fleet import Fleet
from tests.fault.load import Load
from tests.fault.oracle import Oracle

pytestmark = pytest.mark.server

_PATIENCE = 60.0
_GARBAGE = (b"\x00\xff no event", b"{}", b"", b'{"specversion": "1.0"}', b"[" * 50_000, b'"\xed\xa0\x80"', None)


async def test_members_come_and_go(
    fleet: Fleet, oracle: Oracle, load: Load, long: bool, told: Callable[..., None]
) -> None:
    """A third consumer joins and leaves, by itself and by kill -9, while all of them have work in hand."""
    rounds = 20 if long else 2
    async with load.running():
        assert await load.progress(40, _PATIENCE)
        for number in range(rounds):
            third = fleet.consumer(3)
            try:
                await asyncio.to_thread(third.start)
                assert await load.progress(30, _PATIENCE)
                await asyncio.to_thread(third.kill if number % 2 else third.stop)
                assert await load.progress(30, _PATIENCE)
            finally:
                await asyncio.to_thread(third.close)
    told(await compare(fleet, oracle), rounds=rounds)
    assert not oracle.unanswered


@asynccontextmanager
async def producing(fleet: Fleet) -> AsyncIterator[AIOKafkaProducer]:
    """Open a stranger's producer."""
    producer = AIOKafkaProducer(bootstrap_servers=fleet.servers.kafka.bootstrap)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@pytest.fixture
def refused(fleet: Fleet) -> Iterator[str]:
    """A text that the embedder refuses as long as this fixture's file is there."""
    text = f"poison {uuid4().hex[:8]}"
    Path(fleet.folder, letters.REFUSED).write_text(text)
    yield text
    mend(fleet)


def mend(fleet: Fleet) -> None:
    """Have the embedder refuse nothing any more."""
    Path(fleet.folder, letters.REFUSED).unlink(missing_ok=True)


def sfm(fleet: Fleet, *arguments: str) -> dict[str, Any]:
    """Run a command in the environment of the fleet and return what it prints."""
    command = [str(Path(sys.executable).with_name("sfm")), "--json", *arguments]
    done = subprocess.run(command, env=fleet.environment, cwd=fleet.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def letters_of(fleet: Fleet) -> list[dict[str, Any]]:
    """Return the dead letters as the command line tells them."""
    items: list[dict[str, Any]] = sfm(fleet, "events", "dlq", "list", "--limit", "1000")["items"]
    return items


async def test_poison_stops_nobody_and_can_be_replayed(
    fleet: Fleet, oracle: Oracle, load: Load, refused: str, told: Callable[..., None]
) -> None:
    """Garbage, an unknown memory and a refused text become dead letters or nothing; mended and replayed, all agrees."""
    before = await asyncio.to_thread(letters_of, fleet)
    stranger = Change(
        sequence=2**40, type="memory.created", memory_id=str(uuid4()), version=1, namespace="fault/nobody", time=now()
    )
    async with load.running():
        assert await load.progress(40, _PATIENCE)
        poisoned = [await load.write_one(refused)]
        async with producing(fleet) as producer:
            for partition in range(4):
                for value in _GARBAGE:
                    await producer.send_and_wait(TOPIC, value, key=b"garbage", partition=partition)
            event = event_of(stranger, "urn:somebody")
            await producer.send_and_wait(TOPIC, wire_of(event), key=b"fault/nobody")
        poisoned.append(await load.write_one(refused))
        assert await load.progress(60, _PATIENCE)
    await drained(fleet, oracle)
    found = await asyncio.to_thread(letters_of, fleet)
    fresh = found[len(before) :]
    dead = [letter for letter in fresh if letter["event"] is not None]
    assert {letter["event"]["data"]["memory_id"] for letter in dead} == {record.id for record in poisoned}
    assert all("letters/embedding: refused" in letter["error"] for letter in dead)
    assert refused not in json.dumps(found)
    assert len(fresh) - len(dead) == 4 * len(_GARBAGE)
    mend(fleet)
    await asyncio.to_thread(sfm, fleet, "events", "dlq", "replay")
    told(await compare(fleet, oracle), garbage=4 * len(_GARBAGE), refused=len(poisoned))
    for _ in range(100):
        left = await asyncio.to_thread(letters_of, fleet)
        if len(left) == 4 * len(_GARBAGE):
            break
        await asyncio.sleep(0.3)
    assert [letter["event"] for letter in left] == [None] * 4 * len(_GARBAGE)


def wire_of(event: Any) -> bytes:
    """Return an event as it is on the wire."""
    return msgspec.json.encode(event)
