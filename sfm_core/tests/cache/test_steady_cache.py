"""The circuit breaker around the cache: it never fails, asks a failing cache seldom, and counts."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise
from typing import Any

import pytest

from sfm_core.services.steady import SteadyCache
from sfm_core.testing.fakes import SettableClock

PATIENCE = 0.05


@pytest.fixture
def clock() -> SettableClock:
    """A clock that stands still."""
    return SettableClock()


@pytest.fixture
def steady(cache: Any, clock: SettableClock) -> SteadyCache:
    """The cache as services use it."""
    return SteadyCache(cache, patience=PATIENCE, clock=clock.seconds)


async def test_a_cache_that_is_well_is_passed_through(steady: SteadyCache) -> None:
    """Every call, with its answer."""
    assert await steady.set({"a": b"1"}, ttl=60)
    assert await steady.add({"a": b"2", "b": b"3"}, ttl=60)
    assert await steady.get(["b", "a", "c"]) == [b"3", b"1", None]
    assert await steady.increment("n", ttl=60, by=2) == 2
    assert not steady.counts


async def test_a_dead_cache_gives_neutral_answers(steady: SteadyCache, cache: Any, clock: SettableClock) -> None:
    """Nothing is raised; what is not known is None or False."""
    cache.down = True
    for call, neutral in (
        (lambda: steady.get(["a"]), None),
        (lambda: steady.set({"a": b"1"}, ttl=60), False),
        (lambda: steady.add({"a": b"1"}, ttl=60), False),
        (lambda: steady.increment("a", ttl=60), None),
    ):
        clock.advance(60)
        assert await call() is neutral
    assert steady.counts["failures"] == 4


async def test_a_failing_cache_is_asked_once_a_pause(steady: SteadyCache, cache: Any, clock: SettableClock) -> None:
    """The pause doubles up to five seconds, and is short again after it was well."""
    cache.down = True
    asked = []
    for _ in range(400):
        before = cache.calls
        await steady.get(["a"])
        if cache.calls > before:
            asked.append(clock.seconds())
        clock.advance(0.125)
    gaps = [after - before for before, after in pairwise(asked)]
    assert gaps[:6] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert steady.counts["skipped"] == 400 - len(asked)
    cache.down = False
    clock.advance(10)
    assert await steady.get(["a"]) == [None]
    cache.down = True
    await steady.get(["a"])
    cache.down = False
    clock.advance(0.6)
    assert await steady.get(["a"]) == [None]


async def test_a_hung_cache_costs_one_patience(steady: SteadyCache, cache: Any, clock: SettableClock) -> None:
    """Those that were under way wait once; while one tries again the others do not wait."""
    cache.hung = True
    assert await asyncio.gather(*(steady.get(["a"]) for _ in range(20))) == [None] * 20
    assert cache.calls == 20
    for _ in range(100):
        await steady.get(["a"])
    assert cache.calls == 20
    clock.advance(1)
    assert await asyncio.gather(*(steady.get(["a"]) for _ in range(20))) == [None] * 20
    assert cache.calls == 21


async def test_an_outage_is_logged_once(
    steady: SteadyCache, cache: Any, clock: SettableClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Its beginning and its end."""
    caplog.set_level(logging.INFO, "sfm.cache")
    cache.down = True
    for _ in range(20):
        await steady.get(["secret key"])
        clock.advance(3)
    cache.down = False
    clock.advance(10)
    await steady.get(["a"])
    await steady.get(["a"])
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "moody/cache: down" in caplog.text
    assert "secret" not in caplog.text


async def test_a_broken_cache_is_a_dead_one(steady: SteadyCache, cache: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it raises, and without its text."""
    cache.moods.likely["fail_after"] = 1.0
    assert await steady.get(["a"]) is None
    assert "ConnectionResetError" in caplog.text
    assert "the answer was lost" not in caplog.text


async def test_a_cancelled_caller_is_no_failure(steady: SteadyCache, cache: Any) -> None:
    """The next call reaches the cache."""
    cache.hung = True
    call = asyncio.create_task(steady.get(["a"]))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    cache.hung = False
    assert await steady.get(["a"]) == [None]
