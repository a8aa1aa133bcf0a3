"""A process that writes to a store until it has done its work or is killed: `python -m sfm_core.testing.child`.

It prints one line for each acknowledged call, after the acknowledgement, so that whoever reads the lines knows what must be
there, however the process ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import Struct

from sfm_core.model.memory import Memory
from sfm_core.ports.storage import Storage
from sfm_core.ports.vectors import Vectors
from sfm_core.testing.build import memory, put, remove, replacing, store, tie
from sfm_core.testing.opener import Address
from sfm_core.testing.vectors import point

__all__ = ["Acknowledged", "acknowledged", "kill_after", "main", "started"]

ENDLESS = 1_000_000
TASKS = 4


class Acknowledged(Struct, frozen=True):
    """One acknowledged call: the memories as stored, in their newest version, and the ids that were removed."""

    memories: tuple[Memory, ...] = ()
    removed: tuple[str, ...] = ()


def say(line: Acknowledged) -> None:
    """Print a line at once, whole."""
    os.write(1, msgspec.json.encode(line) + b"\n")


async def write(backend: Storage, label: str, count: int) -> None:
    """Write batches with updates, links and removals among them."""
    for number in range(count):
        name = f"{label}-{number}"
        batch = [memory(f"{name}-{part} zebra", payload={"batch": name, "size": 3}) for part in range(3)]
        one, two, three = await store(backend, *(put(one) for one in batch))
        say(Acknowledged(memories=(one, two, three)))
        if number % 3 == 0:
            [newer] = await store(backend, replacing(one, content=f"{name} changed zebra"), tie(one, two))
            say(Acknowledged(memories=(newer,)))
        if number % 3 == 1:
            await store(backend, remove(three))
            say(Acknowledged(removed=(three.id,)))


async def index(backend: Vectors, label: str, count: int) -> None:
    """Store points in batches and flush each."""
    for number in range(count):
        batch = [memory(f"{label}-{number}-{part}") for part in range(3)]
        await backend.upsert([point(one, [1.0, number / 1000, place]) for place, one in enumerate(batch)])
        if number % 3 == 1:
            await backend.delete([(batch[2].id, 2)])
        await backend.flush()
        gone = batch[2:] if number % 3 == 1 else []
        kept = batch[:2] if gone else batch
        say(Acknowledged(memories=tuple(kept), removed=tuple(one.id for one in gone)))


async def work(address: Address, label: str, count: int) -> None:
    """Open the store and write to it from several tasks."""
    opener = address.opener()
    backend: Any = await opener.open()
    job = write if address.port == "storage" else index
    await asyncio.gather(*(job(backend, f"{label}.{task}", count) for task in range(TASKS)))
    await opener.close()


def main(arguments: Sequence[str]) -> None:
    """Run with the JSON of an `Address`, a label that makes the contents unique, and how many batches each task writes."""
    address, label, count = arguments
    asyncio.run(work(msgspec.json.decode(address, type=Address), label, int(count)))


@contextmanager
def started(address: Address, label: str, count: int = ENDLESS) -> Iterator[subprocess.Popen[bytes]]:
    """Run the child while the block lasts; it finds the same modules as this process."""
    paths = os.pathsep.join(path for path in sys.path if path)
    command = address.command(f"{__package__}.child", label, str(count))
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}) as process:
        try:
            yield process
        finally:
            process.kill()


def acknowledged(output: bytes) -> list[Acknowledged]:
    """Read the whole lines of a child's output."""
    whole = output[: output.rfind(b"\n") + 1]
    return [msgspec.json.decode(line, type=Acknowledged) for line in whole.splitlines()]


def kill_after(address: Address, label: str, lines: int) -> list[Acknowledged]:
    """Run an endless child, kill it with SIGKILL after that many lines, and return everything it acknowledged."""
    with started(address, label) as process:
        assert process.stdout is not None
        output = b"".join(process.stdout.readline() for _ in range(lines))
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
    found = acknowledged(output + rest)
    assert len(found) >= lines, f"the child ended early with {process.returncode}"
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
