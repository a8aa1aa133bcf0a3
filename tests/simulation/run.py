"""Living through a seed: havoc while clients work, then rest, then judgement."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from msgspec import Struct

from sfm_core.errors import BackendUnavailable
from sfm_core.testing.virtual import VirtualLoop
from tests.simulation.clients import Client
from tests.simulation.oracle import Violation
from tests.simulation.world import NAME, TTL, Breakage, World

__all__ = ["Outcome", "simulate"]

_REST = 240.0
_STEP = 2.0
_BACKENDS = ("storage", "bus", "index", "cache", "embedder")


class Outcome(Struct, frozen=True):
    """What became of a seed: the promise that was broken (None), the trace, and how much happened."""

    violation: str | None
    trace: list[str]
    writes: int
    events: int
    dead_letters: int
    fenced: int
    kills: int
    served: int


async def _havoc(world: World) -> None:
    """Kill, freeze, stop, start and cut off, until cancelled."""
    chance = world.chance
    while True:
        await asyncio.sleep(chance.random() * 6 / max(world.network.harm, 0.1))
        draw, process = chance.random(), chance.choice(world.processes)
        if draw < 0.3:
            world.kills += 1
            await process.kill()
        elif draw < 0.4:
            await process.stop()
        elif draw < 0.55:
            process.freeze(chance.random() * 12)
        elif draw < 0.7:
            until = asyncio.get_running_loop().time() + chance.random() * 12
            world.network.down[chance.choice(_BACKENDS)] = until
        elif draw < 0.75:
            world.broker.litter()
        else:
            for other in world.processes:
                other.start()


async def _lived(world: World) -> int:
    for process in world.processes:
        process.start()
    havoc = asyncio.get_running_loop().create_task(_havoc(world)) if world.network.harm else None
    clients = [Client(f"api{n}", world) for n in (1, 2)]
    actions = world.chance.choice([10, 30])
    working = [asyncio.get_running_loop().create_task(client.run(actions)) for client in clients]
    for task in working:
        await task
    if havoc is not None:
        havoc.cancel()
        await asyncio.wait({havoc})
        if not havoc.cancelled():
            await havoc
    for client in clients:
        await client.close()
    return 2 * actions


async def _rest(world: World) -> None:
    """Mend everything, start everybody, work off what was given up, and wait until nothing moves."""
    world.network.calm()
    world.embedder.refuses = False
    waited = 0.0
    while waited < _REST:
        for process in world.processes:
            process.wire.frozen_until = 0.0
            if (fault := process.fault()) is not None:
                raise fault
            process.start()
        await _replay(world)
        await asyncio.sleep(_STEP)
        waited += _STEP
        if waited >= 2 * TTL and await _is_at_rest(world):
            return


async def _replay(world: World) -> None:
    letters = [letter for letter in world.broker.dead if letter.delivery.event is not None]
    for letter in letters:
        world.broker.dead.remove(letter)
        if letter.delivery.event is not None:
            await world.broker.append([letter.delivery.event])


async def _is_at_rest(world: World) -> bool:
    reached = await world.store.cursor(NAME) == await world.store.last_sequence()
    busy = any(world.broker.lag().values()) or any(letter.delivery.event for letter in world.broker.dead)
    return reached and not busy


async def _run(seed: int, broken: Breakage) -> Outcome:
    world = World(seed, broken)
    violation, writes = None, 0
    try:
        writes = await _lived(world)
        await _rest(world)
        await world.oracle.at_rest()
    except Violation as error:
        violation = str(error)
        world.network.note(violation)
    for process in world.processes:
        with suppress(Violation, BackendUnavailable):
            await process.kill()
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    events = sum(map(len, world.broker.lanes))
    oracle = world.oracle
    return Outcome(
        violation,
        world.network.trace,
        writes,
        events,
        len(world.broker.dead),
        oracle.refused,
        world.kills,
        oracle.served,
    )


def simulate(seed: int, broken: Breakage | None = None) -> Outcome:
    """Live through what `seed` decides and return what became of it.

    Args:
        seed: decides everything.
        broken: parts to be used instead of the real ones.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_run(seed, broken or Breakage()))
