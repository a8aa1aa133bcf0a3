"""A relay that wakes up late, and several faults at once."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from functools import partial

import httpx
import pytest

from sfm_app.dev.program import Program
from sfm_core.testing.servers import Server
from tests.fault.agreement import compare
from tests.fault.fleet import Fleet, supervise
from tests.fault.load import Load
from tests.fault.oracle import Oracle

pytestmark = pytest.mark.server

_PATIENCE = 120.0


def leads(relay: Program) -> bool:
    """Tell whether a relay is the one that works."""
    try:
        return "\nsfm_relay_leader 1" in httpx.get(f"{relay.url}/metrics", timeout=3).text
    except httpx.TransportError:
        return False


async def leader(relays: list[Program], patience: float) -> Program:
    """Wait until one of some relays leads."""
    ends = time.monotonic() + patience
    while time.monotonic() < ends:
        for relay in relays:
            if await asyncio.to_thread(leads, relay):
                return relay
        await asyncio.sleep(0.05)
    raise AssertionError(f"none of {[relay.title for relay in relays]} leads")


async def test_a_frozen_relay_is_overtaken_and_refused_when_it_wakes_up(
    fleet: Fleet, oracle: Oracle, load: Load, long: bool, told: Callable[..., None]
) -> None:
    """Another relay takes over, and what the first had in hand moves no cursor: events may repeat, none is left out."""
    rounds = 10 if long else 2
    second = fleet.program("relay-2", "relay")
    took = 0.0
    try:
        await asyncio.to_thread(second.start)
        relays = [fleet.relay, second]
        async with load.running():
            for _ in range(rounds):
                assert await load.progress(30, _PATIENCE)
                first = await leader(relays, 20)
                await asyncio.to_thread(first.freeze)
                begun = time.monotonic()
                try:
                    await leader([relay for relay in relays if relay is not first], 20)
                    took = max(took, time.monotonic() - begun)
                    assert await load.progress(30, _PATIENCE)
                finally:
                    await asyncio.to_thread(first.thaw)
    finally:
        await asyncio.to_thread(second.close)
    told(await compare(fleet, oracle), rounds=rounds, taken_over_after=round(took, 1))
    assert not oracle.unanswered


async def frozen_for(server: Server, seconds: float) -> None:
    """Freeze a process for a while."""
    await asyncio.to_thread(server.freeze)
    try:
        await asyncio.sleep(seconds)
    finally:
        await asyncio.to_thread(server.thaw)


async def killed(server: Server, seconds: float) -> None:
    """Kill a process, and start it again after a while."""
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(supervise, server, _PATIENCE)


async def test_faults_at_once_lose_nothing(
    fleet: Fleet, oracle: Oracle, load: Load, long: bool, told: Callable[..., None]
) -> None:
    """Two of all processes and servers at a time are killed or frozen, however that falls together."""
    rounds, draw = (40 if long else 3), random.Random(23)
    servers = fleet.servers.all
    async with load.running():
        for _ in range(rounds):
            assert await load.progress(20, _PATIENCE)
            chosen = draw.sample([*fleet.programs, *servers], 2)
            faults = [partial(draw.choice((killed, frozen_for)), one, draw.uniform(0.2, 6.0)) for one in chosen]
            await asyncio.gather(*(fault() for fault in faults))
    told(await compare(fleet, oracle), rounds=rounds)
