"""Keys and their authentication over a storage that counts what it is asked, in processes that share it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sfm_core.errors import BackendUnavailable
from sfm_core.ports.storage import ApiKey
from sfm_core.services.authentication import Authentication
from sfm_core.services.keys import Keys, NewKey
from sfm_core.services.limits import Limits
from sfm_core.services.principal import EVERYTHING, Principal
from sfm_core.testing.fakes import SettableClock
from sfm_inmemory.storage import InmemoryStorage


class Counting(InmemoryStorage):
    """A storage that counts the keys that it is asked for, and can be down."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.down = False

    async def api_key(self, id: str) -> ApiKey | None:
        self.asked += 1
        if self.down:
            raise BackendUnavailable("counting/storage: down")
        return await super().api_key(id)


class Process:
    """What one process of the service has."""

    def __init__(self, storage: Counting, clock: SettableClock) -> None:
        self.authentication = Authentication(storage, clock, seconds=clock.seconds)
        self.keys = Keys(storage, self.authentication, clock, Limits())

    async def make(self, principal: Principal = EVERYTHING, **fields: Any) -> NewKey:
        """Make a key that may read below "a", unless the fields say something else."""
        return await self.keys.create(principal, **{"namespaces": ["a/**"], "verbs": ["read"], **fields})


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def storage() -> Counting:
    return Counting()


@pytest.fixture
def process(storage: Counting, clock: SettableClock) -> Process:
    return Process(storage, clock)


@pytest.fixture(scope="session")
def new_process() -> Callable[[], Process]:
    """Make a process over a storage of its own."""
    return lambda: Process(Counting(), SettableClock())


@pytest.fixture
def other(storage: Counting, clock: SettableClock) -> Process:
    return Process(storage, clock)
