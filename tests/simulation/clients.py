"""API processes that write, wait for the index, and read."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from uuid import UUID

from sfm_core.errors import SfmError
from sfm_core.ports.storage import Applied
from sfm_core.ports.writes import PutLink, Write
from sfm_core.testing.build import at, erase, link, memory, operation, put, remove, replacing, revive
from tests.simulation.oracle import Violation
from tests.simulation.wire import Wire
from tests.simulation.world import World

__all__ = ["Client"]


class Client:
    """An API process that writes, waits for the index, and reads."""

    def __init__(self, name: str, world: World) -> None:
        self._world = world
        self._chance = world.chance
        self._wire = Wire(world.network, name)
        self._storage = world.storage(self._wire)
        self._projector, self._copies = world.projector(self._wire)

    async def run(self, actions: int) -> None:
        """Do so many things, one after the other."""
        for _ in range(actions):
            await asyncio.sleep(self._chance.random() ** 3 * 2)
            with suppress(SfmError):
                await (self._write() if self._chance.random() < 0.8 else self._read())

    async def close(self) -> None:
        """End what goes on beside."""
        await self._copies.close()

    async def _write(self) -> None:
        writes = self._writes()
        results = await self._storage.apply(writes)
        assert isinstance(results, list)
        applied = [result for result in results if isinstance(result, Applied)]
        for result in applied:
            self._world.oracle.acknowledged(result)
            self._world.known.append(result.memory)
        gone = [r.memory.id for r in applied if r.outcome in ("deleted", "erased")]
        if gone:
            await self._copies.forget(gone)
        if applied and self._chance.random() < 0.2:
            await self._wait(applied[-1])

    async def _wait(self, result: Applied) -> None:
        """Wait as a request with `wait=indexed` does, and see for oneself."""
        memory, gone = result.memory, result.outcome in ("deleted", "erased")
        if not await self._projector.reached(result.sequence, 5.0, live=None if gone else [memory]):
            return
        index, given_up = self._world.index, result.sequence in self._world.broker.given_up
        version = index.versions_of.get(memory.id, 0)
        if gone or memory.content is None:
            wrong = memory.id in index.points and version <= memory.version
        else:
            wrong = version < memory.version
        if wrong and not given_up:
            raise Violation(f"change {result.sequence} was told to be indexed and is not")

    async def _read(self) -> None:
        known = self._world.known
        ids = list(dict.fromkeys(self._chance.choice(known).id for _ in range(3))) if known else []
        candidates = await self._storage.candidates(ids, now=at(0), around=False)
        asked = {id: candidates[id].version for id in ids if id in candidates}
        truth = {m.id: m for m in await self._world.store.get(list(asked), now=at(0)) if m is not None}
        if any(id not in truth or truth[id].version != version for id, version in asked.items()):
            return
        answers = await self._copies.read(list(asked), candidates, now=at(0))
        self._world.oracle.answered(asked, answers, truth)

    def _writes(self) -> list[Write]:
        chance, now = self._chance, at(asyncio.get_running_loop().time())
        draw = chance.random()
        if draw < 0.5 or not self._world.known:
            namespace = f"ns-{chance.randrange(6)}"
            return [self._new(namespace) for _ in range(chance.choice([1, 1, 1, 4]))]
        one = chance.choice(self._world.known)
        name = f"{chance.getrandbits(64):x}"
        if draw < 0.7:
            return [replacing(one, time=now, content=f"changed {name}")]
        if draw < 0.8:
            self._world.operations[one.id] = name
            return [operation(name), remove(one, operation=name, time=now)]
        if draw < 0.88:
            return [operation(name, "erase"), erase(one, operation=name, time=now)]
        if draw < 0.94:
            return [revive(one, self._world.operations.get(one.id, ""), time=now)]
        other = chance.choice(self._world.known)
        return [PutLink(link=link(one, other, namespace=one.namespace))]

    def _new(self, namespace: str) -> Write:
        chance = self._chance
        text = chance.choice(["tea", "bread", "poison"]) if chance.random() < 0.1 else "rain"
        content = None if chance.random() < 0.1 else f"{text} {chance.getrandbits(32)}"
        id = str(UUID(int=chance.getrandbits(128), version=4))
        time = at(asyncio.get_running_loop().time())
        return put(memory(content, id=id, namespace=namespace, payload={"n": chance.getrandbits(32)}, time=time))
