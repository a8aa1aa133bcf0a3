"""The backends of a world, and the relays and consumers that die, freeze and come back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from msgspec import Struct

from sfm_core.errors import BackendError
from sfm_core.model.memory import Memory
from sfm_core.services.consumer import Consumer
from sfm_core.services.copies import Copies
from sfm_core.services.leadership import Leadership
from sfm_core.services.progress import Progress
from sfm_core.services.projection import Projection
from sfm_core.services.projector import Projector
from sfm_core.services.relay import RELAY, Relay
from sfm_core.services.steady import SteadyCache
from sfm_inmemory.cache import InmemoryCache
from tests.simulation.bus import Broker, Bus, expire_later
from tests.simulation.oracle import Index, Oracle, Store
from tests.simulation.wire import Faulty, Network, Wire

__all__ = ["NAME", "TTL", "Breakage", "Process", "World"]

_GROUP = "sfm-projector"
_SOURCE = "urn:simulated"
NAME = "projector:simulated"
TTL = 4.0


class Breakage(Struct, frozen=True):
    """Parts of the pipeline that are wrong on purpose."""

    relay: type[Relay] = Relay
    consumer: type[Consumer] = Consumer
    progress: type[Progress] = Progress
    projection: type[Projection] = Projection


class _Embedder:
    dimension = 2
    fingerprint = "simulated"

    def __init__(self) -> None:
        self.refuses = True

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Embed, or refuse a text that is poison as long as it is not mended."""
        if self.refuses and any("poison" in text for text in texts):
            raise BackendError("simulated/embedder: refused a text")
        return [[1.0, float(len(text))] for text in texts]


class Process:
    """A relay or a consumer: made anew each time it starts."""

    def __init__(self, name: str, world: World, make: Callable[[Wire], Relay | Consumer]) -> None:
        self.name = name
        self._world = world
        self._make = make
        self._lives = 0
        self.wire = Wire(world.network, name)
        self._task: asyncio.Task[None] | None = None
        self.works: Relay | Consumer | None = None

    def start(self) -> None:
        """Start it with a new wire, unless it runs."""
        if self._task is not None and not self._task.done():
            return
        self._lives += 1
        self.wire = Wire(self._world.network, f"{self.name}.{self._lives}")
        self.works = self._make(self.wire)
        self._task = asyncio.get_running_loop().create_task(self.works.run())
        self._world.network.note(f"{self.wire.process} starts")

    async def kill(self) -> None:
        """Kill it: nothing that it would do on its way out reaches anyone."""
        if self._task is None or self._task.done():
            return
        self._world.network.note(f"{self.wire.process} is killed")
        self.wire.cut()
        await self._end(self._task)
        wire = self.wire
        self._world.later(expire_later(self._world.broker, wire, lambda: True))

    async def stop(self) -> None:
        """Ask it to finish."""
        if isinstance(self.works, Consumer) and self._task is not None and not self._task.done():
            self._world.network.note(f"{self.wire.process} is asked to stop")
            self.works.stop()
            await asyncio.wait({self._task}, timeout=20.0)
        await self.kill()

    def freeze(self, seconds: float) -> None:
        """Let it do nothing for so long; it does not notice."""
        wire, now = self.wire, asyncio.get_running_loop().time()
        self._world.network.note(f"{wire.process} is frozen for {seconds:.1f}")
        wire.frozen_until = now + seconds
        self._world.later(expire_later(self._world.broker, wire, lambda: wire.frozen_until > now + 6.0))

    async def _end(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    def fault(self) -> BaseException | None:
        """Return what ended it unasked."""
        task = self._task
        return task.exception() if task is not None and task.done() and not task.cancelled() else None


class World:
    """Everything that one seed decides."""

    def __init__(self, seed: int, broken: Breakage) -> None:
        self.chance = random.Random(seed)
        self.network = Network(self.chance, self.chance.choice([0.0, 0.5, 1.0, 1.0, 3.0]))
        clock = asyncio.get_running_loop().time
        self.store, self.index = Store(clock), Index()
        self.cache, self.embedder = InmemoryCache(clock=clock), _Embedder()
        self.oracle = Oracle(self.store, self.index, self.cache, NAME)
        self.store.oracle = self.oracle
        self.broker = Broker(self.network, self.chance.choice([1, 2, 3, 5]), self.oracle.committed)
        self.oracle.broker = self.broker
        self._broken = broken
        self._background: set[asyncio.Task[None]] = set()
        self.known: list[Memory] = []
        self.operations: dict[str, str] = {}
        self.kills = 0
        self.events = 0
        self.relays = [Process(f"relay{n}", self, self._relay) for n in (1, 2)]
        self.consumers = [Process(f"consumer{n}", self, self._consumer) for n in (1, 2)]

    @property
    def processes(self) -> list[Process]:
        """All of them."""
        return [*self.relays, *self.consumers]

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def storage(self, wire: Wire) -> Store:
        """Return the storage as a process sees it."""
        return Faulty(wire, "storage", self.store)  # type: ignore[return-value]

    def _relay(self, wire: Wire) -> Relay:
        storage = self.storage(wire)
        leadership = Leadership(storage, RELAY, seconds=2.0, holder=wire.process)
        page = self.chance.choice([3, 10, 1000])
        return self._broken.relay(storage, Bus(wire, self.broker), source=_SOURCE, leadership=leadership, page=page)

    def projector(self, wire: Wire) -> tuple[Projector, Copies]:
        """Return the projector of a process, with the copies it forgets."""
        clock = asyncio.get_running_loop().time
        copies = Copies(
            self.storage(wire),
            SteadyCache(Faulty(wire, "cache", self.cache), patience=0.5, clock=clock),
            ttl=TTL,
            clock=clock,
        )
        projection = self._broken.projection(
            vectors=Faulty(wire, "index", self.index, odd=0.01),
            embedding=_EmbedderOver(wire, self.embedder),
            forget=copies.forget,
        )
        return Projector(self.storage(wire), projection, name=NAME, drives=False), copies

    def _consumer(self, wire: Wire) -> Consumer:
        projector, _ = self.projector(wire)
        bus = Bus(wire, self.broker)
        progress = self._broken.progress(self.storage(wire), bus, name=NAME, group=_GROUP)
        batch = self.chance.choice([1, 5, 500])
        return self._broken.consumer(bus, projector, progress, group=_GROUP, source=_SOURCE, batch=batch, attempts=3)


class _EmbedderOver:
    dimension = _Embedder.dimension
    fingerprint = _Embedder.fingerprint

    def __init__(self, wire: Wire, embedder: _Embedder) -> None:
        self._wire = wire
        self._embedder = embedder

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Embed over the wire."""
        return await self._wire.call("embedder", "embed", lambda: self._embedder.embed(texts))
