"""The in-memory backends against the conformance kit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sfm_core.plugins.types import Port
from sfm_core.testing.conformance import conformance, missing
from sfm_core.testing.fakes import SettableClock
from sfm_core.testing.opener import Opener
from sfm_inmemory.cache import InmemoryCache
from sfm_inmemory.storage import InmemoryStorage

PLUGIN = "sfm_inmemory.plugin"


class ClockedCache:
    """The cache's time is set, not waited for."""

    @pytest.fixture
    def clock(self) -> SettableClock:
        return SettableClock()

    @pytest.fixture
    async def backend(self, clock: SettableClock, opener: Opener) -> Any:
        return InmemoryCache(entries=opener.config.cache_entries, clock=clock.seconds)

    @pytest.fixture
    def wait(self, clock: SettableClock) -> Callable[[float], Awaitable[None]]:
        async def advance(seconds: float) -> None:
            clock.advance(seconds)

        return advance


class ClockedStorage:
    """The time that leases are judged by is set, not waited for."""

    clock = ClockedCache.clock
    wait = ClockedCache.wait

    @pytest.fixture
    async def backend(self, clock: SettableClock) -> Any:
        return InmemoryStorage(clock=clock.seconds)


class PromptEvents:
    """Whatever the bus has to say it says at once."""

    quiet = 0.02


FIXTURES = {Port.STORAGE: ClockedStorage, Port.CACHE: ClockedCache, Port.EVENTS: PromptEvents}

globals().update(conformance(PLUGIN, fixtures=FIXTURES))


def test_no_suite_is_left_out() -> None:
    """Every backend of the plugin passes the suites of its port and capabilities, and the refusals of the rest."""
    assert missing(PLUGIN, globals().values()) == []
