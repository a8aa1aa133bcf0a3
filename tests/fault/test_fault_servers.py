"""PostgreSQL, Redis and Kafka killed, stopped and frozen under load: what goes on meanwhile, and that all agrees afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from sfm_app.dev.program import Program
from sfm_core.testing.servers import Server
from tests.fault.agreement import compare
from tests.fault.fleet import Fleet, states
from tests.fault.load import Load
from tests.fault.oracle import Oracle

pytestmark = pytest.mark.server

TRUTH = 5.0
"""Seconds within which `/readyz` tells the truth."""
_PATIENCE = 60.0
_FAULTS = ("killed", "stopped", "frozen")
_PORTS = {"postgres": {"storage", "vectors"}, "redis": {"cache"}, "kafka": {"events"}}
_BACK: dict[str, Callable[[Server], None]] = {
    "killed": lambda server: server.start(),
    "stopped": lambda server: server.start(),
    "frozen": lambda server: server.thaw(),
}
_AWAY: dict[str, Callable[[Server], None]] = {
    "killed": lambda server: server.kill(),
    "stopped": lambda server: server.stop(),
    "frozen": lambda server: server.freeze(),
}


def needs(program: Program, name: str) -> bool:
    """Tell whether a process is of no use without a server: storage is all that an API needs."""
    return name == "postgres" or (name == "kafka" and not program.title.startswith("api"))


def tells(program: Program, name: str, away: bool) -> bool:
    """Tell whether `/readyz` of a process says of a server what is true."""
    found = states(program)
    if found is None:
        return False
    ports = _PORTS[name] & set(found)
    status = "503" if away and needs(program, name) else "200"
    return found["status"] == status and all(found[port] == ("down" if away else "up") for port in ports)


async def told_by_all(fleet: Fleet, name: str, *, away: bool) -> float:
    """Wait until every process tells the truth; fail when one takes too long, and return how long the last one took."""
    begun = time.monotonic()

    async def one(program: Program) -> float:
        while not await asyncio.to_thread(tells, program, name, away):
            if time.monotonic() - begun > TRUTH:
                found = await asyncio.to_thread(states, program)
                took = time.monotonic() - begun
                raise AssertionError(
                    f"{program.title} says {found} {took:.1f} s after {name} {'left' if away else 'came'}"
                )
            await asyncio.sleep(0.05)
        return time.monotonic() - begun

    return max(await asyncio.gather(*map(one, fleet.programs)))


async def through(fleet: Fleet, load: Load, name: str, fault: str, away: float) -> dict[str, float]:
    """Take a server away under load for a while, and bring it back; return figures."""
    server: Server = getattr(fleet.servers, name)
    async with load.running():
        assert await load.progress(40, _PATIENCE)
        begun = time.monotonic()
        await asyncio.to_thread(_AWAY[fault], server)
        try:
            down = await told_by_all(fleet, name, away=True)
            if name != "postgres":
                assert await load.progress(20, _PATIENCE), f"no write is acknowledged without {name}"
            await asyncio.sleep(max(0.0, away - (time.monotonic() - begun)))
        finally:
            await asyncio.to_thread(_BACK[fault], server)
        up = await told_by_all(fleet, name, away=False)
        assert await load.progress(40, _PATIENCE), f"no write is acknowledged after {name} came back"
    return {"told down": round(down, 1), "told up": round(up, 1)}


@pytest.mark.parametrize("fault", _FAULTS)
async def test_without_redis_nothing_is_missing(
    fleet: Fleet, oracle: Oracle, load: Load, frozen: float, told: Callable[..., None], fault: str
) -> None:
    """Every request is answered, right; no copy of what was deleted meanwhile is left."""
    figures = await through(fleet, load, "redis", fault, frozen)
    told(await compare(fleet, oracle), **figures)
    assert not oracle.unanswered


@pytest.mark.parametrize("fault", _FAULTS)
async def test_without_kafka_the_backlog_waits(
    fleet: Fleet, oracle: Oracle, load: Load, frozen: float, told: Callable[..., None], fault: str
) -> None:
    """Writes are acknowledged and found by words; afterwards relay and consumers work off what came meanwhile."""
    figures = await through(fleet, load, "kafka", fault, frozen)
    told(await compare(fleet, oracle), **figures)
    assert not oracle.unanswered


@pytest.mark.parametrize("fault", _FAULTS)
async def test_without_postgres_nothing_is_acknowledged_that_is_not_kept(
    fleet: Fleet, oracle: Oracle, load: Load, frozen: float, told: Callable[..., None], fault: str
) -> None:
    """Requests end in 503; repeated with their keys every write is carried out once, and the pipeline recovers by itself."""
    figures = await through(fleet, load, "postgres", fault, frozen)
    told(await compare(fleet, oracle), **figures)
