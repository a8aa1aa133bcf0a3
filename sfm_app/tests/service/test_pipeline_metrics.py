"""What the pipeline tells Prometheus."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from sfm_app.container import container_of
from sfm_app.observability.board import Board
from sfm_app.observability.metrics import Metrics
from sfm_core.config.modes import Role
from sfm_core.runtime import Runtime, open_services
from sfm_core.services.principal import EVERYTHING


@pytest.fixture
async def runtime() -> AsyncIterator[Runtime]:
    """Open services in mode test."""
    async with open_services(settings={"mode": "test"}, role=Role.SERVICE) as opened:
        yield opened


def levels(metrics: Metrics) -> dict[str, str]:
    """Return every sample by name and labels."""
    return dict(re.findall(r"^([a-z_]+(?:\{.*\})?) (\S+)$", metrics.exposition(), re.M))


async def test_relay_and_consumer_are_counted(runtime: Runtime) -> None:
    """Positions, lag of each lane, leadership, and what was done."""
    metrics = Metrics("1")
    container = container_of(runtime, metrics)
    relay, consumer = container.relay(), container.consumer()
    await relay.step()
    running = asyncio.ensure_future(consumer.run())
    await asyncio.sleep(0.05)
    for n in range(3):
        await runtime.services.remember.remember(EVERYTHING, {"content": f"note {n}"})
    assert await relay.step() == 3
    for _ in range(1000):
        if consumer.events == 3:
            break
        await asyncio.sleep(0.01)
    consumer.stop()
    await running
    found = levels(metrics)
    assert found["sfm_relayed_events_total"] == "3"
    assert found["sfm_relay_position"] == "3"
    assert (found["sfm_relay_leader"], found["sfm_relay_lag"]) == ("1", "0")
    assert found["sfm_consumer_events_total"] == "3"
    assert found["sfm_consumer_dead_letters_total"] == "0"
    assert found["sfm_consumer_paused"] == "0"
    assert {value for name, value in found.items() if name.startswith("sfm_consumer_lag{")} == {"0"}


def test_of_the_levels_of_several_workers_the_highest_counts() -> None:
    """One of them leads."""
    board = Board(2)
    metrics = Metrics("1", board)
    metrics.show(lambda: {("sfm_relay_leader", ()): 0, ("sfm_consumer_lag", (("lane", "1"),)): 7})
    metrics.publish()
    other = Metrics("1", board)
    other.show(lambda: {("sfm_relay_leader", ()): 1})
    other._board._mine = 1  # type: ignore[union-attr]
    found = levels(other)
    assert found["sfm_relay_leader"] == "1"
    assert found['sfm_consumer_lag{lane="1"}'] == "7"


def test_a_level_that_nobody_tells_is_not_there() -> None:
    """A service without relay and consumer has none of theirs."""
    assert "sfm_relay_leader" not in Metrics("1").exposition()
