"""Background tasks: the sweep, and what keeps tasks going and ends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from sfm_app.background import Sweeper, running
from sfm_app.observability.metrics import Metrics
from sfm_core.config.modes import Role
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


async def test_a_task_that_can_finish_is_let_finish() -> None:
    """For so long as patience lasts; then it is cancelled."""
    asked, ends = asyncio.Event(), []

    async def task() -> None:
        await asked.wait()
        await asyncio.sleep(0.01)
        ends.append("finished")

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("cancelled")

    metrics = Metrics("0")
    stops: dict[str, Callable[[], None]] = {"task": asked.set}
    async with running({"task": task, "never": never}, metrics, stop=stops, patience=10):
        await asyncio.sleep(0)
    assert ends == ["finished", "cancelled"]
    async with running({"never": never}, metrics, stop={"never": lambda: None}, patience=0.001):
        await asyncio.sleep(0)
    assert ends[2:] == ["cancelled"]
