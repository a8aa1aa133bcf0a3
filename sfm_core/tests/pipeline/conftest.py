"""Relay and consumers over in-memory backends whose faults are under the test's control, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from inspect import iscoroutinefunction
from typing import Any

import pytest

from sfm_core.errors import BackendError
from sfm_core.model.event import ChangeData, Event
from sfm_core.model.memory import Memory
from sfm_core.ports.vectors import Space
from sfm_core.services.consumer import Consumer
from sfm_core.services.leadership import Leadership
from sfm_core.services.progress import Progress
from sfm_core.services.projection import Projection
from sfm_core.services.projector import Projector
from sfm_core.services.relay import RELAY, Relay
from sfm_core.testing.build import NOW, operation, put, remove, store
from sfm_core.testing.virtual import VirtualLoop
from sfm_inmemory.events import InmemoryEvents
from sfm_inmemory.storage import InmemoryStorage
from sfm_inmemory.vectors import InmemoryVectors

GROUP = "sfm-projector"
SOURCE = "urn:test"


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Let nothing here wait for real time."""
    return {"virtual": VirtualLoop}


class Fragile:
    """A backend of which any method can be told to fail: the next times it is called, or until further notice."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.failing: dict[str, list[Exception] | Exception] = {}
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not iscoroutinefunction(found):
            return found

        async def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append(name)
            failing = self.failing.get(name)
            if isinstance(failing, Exception):
                raise type(failing)(str(failing))
            if failing:
                raise failing.pop(0)
            return await found(*arguments, **named)

        return call


class Embedder:
    """Embeds a text as two numbers; refuses a text that holds the word poison."""

    dimension = 2
    fingerprint = "pipeline"

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.refuses = True

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text."""
        if self.error is not None:
            raise self.error
        if self.refuses and any("poison" in text for text in texts):
            raise BackendError("embedder/embedding: refused a text")
        return [[1.0, float(len(text))] for text in texts]


class World:
    """Storage, bus and index, and the processes around them."""

    def __init__(self) -> None:
        self.storage = Fragile(InmemoryStorage(clock=lambda: asyncio.get_running_loop().time()))
        self.bus = Fragile(InmemoryEvents())
        self.vectors = Fragile(InmemoryVectors(Space(2, "pipeline")))
        self.embedder = Embedder()
        self.memories: list[Memory] = []

    async def put(self, content: str | None = "tea", namespace: str = "a") -> Memory:
        """Store a memory of its own."""
        [memory] = await store(self.storage, put(content, namespace=namespace, payload={"n": len(self.memories)}))
        self.memories.append(memory)
        return memory

    async def remove(self, memory: Memory) -> None:
        """Make a memory a tombstone."""
        await store(self.storage, operation("op"), remove(memory, operation="op"))

    def relay(self, holder: str | None = None, *, durable: bool = True, page: int = 1000) -> Relay:
        """Return a relay from the log to the bus; with `holder` it works under the lease."""
        leadership = None if holder is None else Leadership(self.storage, RELAY, seconds=2.0, holder=holder)
        return Relay(self.storage, self.bus, source=SOURCE, durable=durable, leadership=leadership, page=page)

    def projection(self) -> Projection:
        """Return what goes into the index."""
        return Projection(vectors=self.vectors, embedding=self.embedder)

    def projector(self) -> Projector:
        """Return a projector into the index that leaves the driving to others."""
        return Projector(self.storage, self.projection(), name="projector:pipeline", drives=False)

    def consumer(self, *, batch: int = 500, attempts: int = 3) -> Consumer:
        """Return a member of the group."""
        projector = self.projector()
        progress = Progress(self.storage, self.bus, name=projector.name, group=GROUP)
        return Consumer(self.bus, projector, progress, group=GROUP, source=SOURCE, batch=batch, attempts=attempts)

    async def relayed(self) -> None:
        """Hand everything to the bus."""
        relay = self.relay()
        while await relay.step():
            pass

    async def dead(self) -> list[Any]:
        """Return the dead letters."""
        return await self.bus.dead_letters(GROUP, limit=100)  # type: ignore[no-any-return]

    async def indexed(self) -> list[bool]:
        """Tell for each memory that was put whether the index has it."""
        have = await self.vectors.versions([memory.id for memory in self.memories])
        return [memory.id in have for memory in self.memories]


@pytest.fixture
def world() -> World:
    """An empty world."""
    return World()


@pytest.fixture
def running() -> Callable[[Any], Any]:
    """Runs a relay or a consumer while a block lasts; it is killed at the end unless it has ended by itself."""

    @asynccontextmanager
    async def run(process: Any) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.get_running_loop().create_task(process.run())
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    return run


@pytest.fixture
def event() -> Callable[..., Event]:
    """Makes events of which the storage knows nothing."""

    def make(number: int, memory_id: str = "not an id") -> Event:
        data = ChangeData(memory_id=memory_id, version=1, namespace="a", sequence=number)
        return Event(id=str(number), source=SOURCE, type="memory.created", subject=memory_id, time=NOW, data=data)

    return make
