"""kill -9 of our own processes under load: nothing acknowledged is lost, nothing deleted comes back, all agree at the end."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sfm_app.dev.program import Program
from tests.fault.agreement import compare
from tests.fault.fleet import Fleet, kill_and_restart, states, supervise
from tests.fault.load import Load
from tests.fault.oracle import Oracle

pytestmark = pytest.mark.server

_READY = 60.0


async def kill_in_turn(programs: list[Program], kills: int, moment: Callable[[Program], object], load: Load) -> int:
    """Kill `kills` times one of `programs` at a moment that counts, start it again, and go on when it works and load moves."""
    draw, done = random.Random(7), 0
    for n in range(kills):
        program = programs[n % len(programs)]
        await asyncio.to_thread(moment, program)
        await asyncio.sleep(draw.uniform(0.0, 0.05))
        await asyncio.to_thread(kill_and_restart, program)
        done += 1
        assert await load.progress(20, _READY), "no write is acknowledged any more"
        await asyncio.to_thread(supervise, program, _READY)
    return done


async def test_killed_apis_lose_nothing(
    fleet: Fleet, oracle: Oracle, load: Load, kills: int, told: Callable[..., None]
) -> None:
    """A replica that is killed while it answers: what it acknowledged is there, and what it did not can be repeated."""
    async with load.running():
        assert await load.progress(50, _READY)
        done = await kill_in_turn(fleet.apis, kills, lambda program: None, load)
    assert oracle.unanswered
    told(await compare(fleet, oracle), kills=done)


async def test_killed_relays_lose_nothing(
    fleet: Fleet, oracle: Oracle, load: Load, kills: int, told: Callable[..., None]
) -> None:
    """A relay that is killed between log and bus: its pages may be repeated, none is left out."""

    def behind(program: Program) -> None:
        # What came while it was frozen is a page that it publishes the moment it goes on.
        program.freeze()
        time.sleep(0.4)
        program.thaw()

    async with load.running():
        assert await load.progress(50, _READY)
        done = await kill_in_turn([fleet.relay], kills, behind, load)
    told(await compare(fleet, oracle), kills=done)
    assert not oracle.unanswered


async def test_consumers_killed_in_a_batch_lose_nothing(
    fleet: Fleet, oracle: Oracle, load: Load, kills: int, told: Callable[..., None]
) -> None:
    """A consumer that is killed while it embeds or indexes: the batch comes again, to it or to the other."""

    def in_a_batch(program: Program) -> None:
        busy = Path(fleet.folder, f"busy-{program.pid}")
        for _ in range(20_000):
            if busy.exists():
                return
            time.sleep(0.002)
        raise AssertionError(f"{program.title} gets no batch: {program.log[-2000:]}")

    async with load.running():
        assert await load.progress(50, _READY)
        done = await kill_in_turn(fleet.consumers, kills, in_a_batch, load)
    told(await compare(fleet, oracle), kills=done)
    assert not oracle.unanswered


async def test_a_stack_without_faults_has_nothing_to_mend(
    fleet: Fleet, oracle: Oracle, load: Load, told: Callable[..., None]
) -> None:
    """Under load alone every request is answered and every process says that it is ready."""
    async with load.running():
        assert await load.progress(300, _READY)
    told(await compare(fleet, oracle))
    assert not oracle.unanswered
    for program in fleet.programs:
        found = states(program)
        assert found is not None
        assert set(found.values()) == {"200", "up"}, program.title
