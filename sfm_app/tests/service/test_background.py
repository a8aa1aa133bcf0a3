"""Background tasks: the relay of the change log, the sweep, and what keeps them going."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from sfm_app.background import Relay, Sweeper, running
from sfm_app.observability.metrics import Metrics
from sfm_core.config.modes import Role
from sfm_core.errors import BackendUnavailable
from sfm_core.model.event import Event
from sfm_core.runtime import Runtime, open_services
from sfm_core.services.principal import EVERYTHING


@pytest.fixture
async def runtime() -> AsyncIterator[Runtime]:
    """Open services in mode test."""
    async with open_services(settings={"mode": "test"}, role=Role.SERVICE) as opened:
        yield opened


async def until(holds: Callable[[], bool]) -> None:
    """Return when `holds` does."""
    for _ in range(5000):
        if holds():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never held")


class Bus:
    """An event bus that keeps what it was given, or refuses it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.refusals = 0

    async def publish(self, events: Sequence[Event]) -> None:
        """Keep them."""
        if self.refusals:
            self.refusals -= 1
            raise BackendUnavailable("bus/events: gone")
        self.events += events


async def remember(runtime: Runtime, *contents: str) -> None:
    """Store memories one after the other."""
    for content in contents:
        await runtime.services.remember.remember(EVERYTHING, {"content": content})


def relay_of(runtime: Runtime, bus: Bus, *, durable: bool) -> Relay:
    """Return a relay from the runtime's log to `bus`."""
    return Relay(runtime.ports.storage, bus, Metrics("0"), source="urn:test", durable=durable)  # type: ignore[arg-type]


async def test_a_durable_bus_gets_the_whole_log_in_order_and_once(runtime: Runtime) -> None:
    """The stored cursor tells the next relay where to go on."""
    bus = Bus()
    await remember(runtime, "one", "two")
    relay = relay_of(runtime, bus, durable=True)
    assert [await relay.step(), await relay.step()] == [2, 0]
    await remember(runtime, "three")
    assert await relay_of(runtime, bus, durable=True).step() == 1
    assert [event.data.sequence for event in bus.events] == [1, 2, 3]
    assert {event.source for event in bus.events} == {"urn:test"}


async def test_a_bus_that_forgets_gets_what_comes_after_the_start(runtime: Runtime) -> None:
    """Nobody can be waiting there for anything older."""
    bus = Bus()
    await remember(runtime, "one")
    relay = relay_of(runtime, bus, durable=False)
    assert await relay.step() == 0
    await remember(runtime, "two")
    assert await relay.step() == 1
    assert [event.data.sequence for event in bus.events] == [2]


async def test_what_the_bus_refused_is_handed_over_again(runtime: Runtime) -> None:
    """The cursor never passes an event that the bus does not hold."""
    bus = Bus()
    await remember(runtime, "one")
    relay = relay_of(runtime, bus, durable=True)
    bus.refusals = 1
    with pytest.raises(BackendUnavailable):
        await relay.step()
    assert await relay.step() == 1
    assert len(bus.events) == 1


async def test_the_sweep_makes_expired_memories_tombstones(runtime: Runtime) -> None:
    """And counts them."""
    past = datetime.now(UTC) - timedelta(seconds=1)
    await runtime.services.remember.remember(EVERYTHING, {"content": "old", "expires_at": past.isoformat()})
    metrics = Metrics("0")
    sweeper = Sweeper(runtime.services.forget, metrics, seconds=0.001)
    async with running({"sweep": sweeper.run}, metrics):
        await until(lambda: "sfm_swept_memories_total 1" in metrics.exposition())
    [stats] = await runtime.services.overview.namespaces(EVERYTHING)
    assert (stats.memories, stats.deleted) == (0, 1)


async def test_a_task_that_fails_is_said_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service goes on, and the text of the error is not logged."""
    monkeypatch.setattr("sfm_app.background._FIRST_PAUSE", 0.001)
    runs = 0

    async def task() -> None:
        nonlocal runs
        runs += 1
        raise RuntimeError("secret")

    metrics = Metrics("0")
    with structlog.testing.capture_logs() as logs:
        async with running({"breaks": task}, metrics):
            await until(lambda: runs >= 3)
    assert 'sfm_background_failures_total{task="breaks"}' in metrics.exposition()
    assert logs[0]["error"] == "RuntimeError"
    assert "secret" not in str(logs)


async def test_tasks_end_with_the_service() -> None:
    """None is left behind."""
    async with running({"waits": asyncio.Event().wait}, Metrics("0")):  # type: ignore[dict-item]
        before = asyncio.all_tasks()
    assert len(asyncio.all_tasks()) == len(before) - 1
