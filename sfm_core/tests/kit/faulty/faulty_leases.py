"""Storages whose leases are wrong."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from msgspec.structs import replace
from register import Register

from sfm_core.ports.storage import Lease
from sfm_core.testing.refusals import NoLeasesSuite
from sfm_core.testing.storage_leases import LeasesSuite
from sfm_inmemory.storage import InmemoryStorage

register = Register(globals())
FAULTS = register.faults


def fault(*tests: str) -> Any:
    return register.fault(LeasesSuite, *tests, brief=0.05)


@fault("test_a_lease_has_one_holder")
class FoldsNames(InmemoryStorage):
    async def acquire_lease(self, name: str, holder: str, **options: Any) -> Any:
        return await super().acquire_lease(name.strip().lower(), holder, **options)


@fault("test_a_lease_has_one_holder", "test_racing_holders_get_one_lease")
class GivesLeasesToAll(InmemoryStorage):
    async def acquire_lease(self, name: str, holder: str, *, seconds: float) -> Any:
        self._leases.pop(name, None)
        return await super().acquire_lease(name, holder, seconds=seconds)


@fault("test_a_holder_renews_its_lease")
class NeverProlongs(InmemoryStorage):
    async def acquire_lease(self, name: str, holder: str, *, seconds: float) -> Any:
        running = self._running(name)
        if running is not None and running.holder == holder:
            return running
        return await super().acquire_lease(name, holder, seconds=seconds)


@fault("test_a_holder_renews_its_lease")
class RenewsWithANewToken(InmemoryStorage):
    async def acquire_lease(self, name: str, holder: str, *, seconds: float) -> Any:
        running = self._running(name)
        if running is not None and running.holder == holder:
            self._leases[name] = replace(running, token=running.token + 1), 0.0
        return await super().acquire_lease(name, holder, seconds=seconds)


@fault("test_a_lease_that_ran_out_is_free")
class NeverRunsOut(InmemoryStorage):
    def _running(self, name: str) -> Any:
        lease, until = self._leases.get(name, (None, 0.0))
        return lease if until else None


@fault("test_tokens_rise_with_every_change_of_hands")
class KeepsTheTokenOfAHolder(InmemoryStorage):
    async def acquire_lease(self, name: str, holder: str, *, seconds: float) -> Any:
        last = self._leases.get(name)
        if last is not None and last[0].holder == holder:
            self._leases[name] = last[0], self._clock() + seconds
        return await super().acquire_lease(name, holder, seconds=seconds)


@fault("test_tokens_rise_with_every_change_of_hands")
class ForgetsReleasedLeases(InmemoryStorage):
    async def release_lease(self, lease: Any) -> None:
        if self._running(lease.name) == lease:
            del self._leases[lease.name]


@fault("test_only_the_current_lease_is_released")
class ReleasesByName(InmemoryStorage):
    async def release_lease(self, lease: Any) -> None:
        if (running := self._running(lease.name)) is not None:
            await super().release_lease(running)


@fault("test_racing_holders_get_one_lease")
class LooksBeforeItTakes(InmemoryStorage):
    async def acquire_lease(self, name: str, holder: str, *, seconds: float) -> Any:
        free = self._running(name) is None
        await asyncio.sleep(0)
        if free:
            self._leases.pop(name, None)
        return await super().acquire_lease(name, holder, seconds=seconds)


fault("test_holders_of_two_openings_get_one_lease", "test_a_lease_lasts_as_its_storage_does")(InmemoryStorage)


@fault("test_the_store_judges_whether_a_lease_runs")
class BelievesTheCallersClock(InmemoryStorage):
    def __init__(self) -> None:
        super().__init__(clock=lambda: time.time())


@fault("test_a_current_lease_saves_cursors")
class MovesFencedCursorsBack(InmemoryStorage):
    async def save_cursor(self, name: str, sequence: int, *, fence: Any = None) -> None:
        await super().save_cursor(name, sequence, fence=fence)
        if fence is not None:
            self._cursors[name] = sequence


@register.fault(NoLeasesSuite, "test_a_fenced_cursor_is_refused")
@fault("test_a_lost_lease_cannot_save_a_cursor")
class IgnoresFences(InmemoryStorage):
    async def save_cursor(self, name: str, sequence: int, *, fence: Any = None) -> None:
        await super().save_cursor(name, sequence)


@fault("test_a_lost_lease_cannot_save_a_cursor")
class AsksForTheHolderOnly(InmemoryStorage):
    async def save_cursor(self, name: str, sequence: int, *, fence: Any = None) -> None:
        running = self._running(fence.name) if fence is not None else None
        same = running is not None and running.holder == fence.holder
        await super().save_cursor(name, sequence, fence=running if same else fence)


@fault("test_a_lost_lease_cannot_save_a_cursor")
class LetsTheExpiredSave(InmemoryStorage):
    async def save_cursor(self, name: str, sequence: int, *, fence: Any = None) -> None:
        last, _ = self._leases.get(fence.name, (Lease("", "", 0), 0.0)) if fence is not None else (None, 0.0)
        await super().save_cursor(name, sequence, fence=None if last == fence else fence)
