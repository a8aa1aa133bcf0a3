"""Capability LEASES of a storage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import ClassVar, Protocol

import pytest

from sfm_core.errors import LeaseLost
from sfm_core.plugins.types import Port
from sfm_core.ports.storage import Lease, Leases, Storage, StorageCapability
from sfm_core.testing.opener import Opener
from sfm_core.testing.suite import Suite

__all__ = ["LeasesSuite"]

LONG = 3600.0


class _Leasing(Storage, Leases, Protocol):
    """A storage with leases."""


class LeasesSuite(Suite):
    """What a storage with LEASES must do.

    `brief` is how many seconds a lease runs that a test lets run out: long enough for a few calls. Override `wait` where
    time can be set instead of waited for.
    """

    port = Port.STORAGE
    capability = StorageCapability.LEASES
    brief: ClassVar[float] = 1.0

    @pytest.fixture
    def wait(self) -> Callable[[float], Awaitable[None]]:
        """Let that many seconds pass for the backend."""
        return asyncio.sleep

    async def test_a_lease_has_one_holder(self, backend: _Leasing) -> None:
        """Another is told None while it runs; leases of other names, however alike, are apart."""
        lease = await taken(backend, "relay", "a")
        assert (lease.name, lease.holder) == ("relay", "a")
        assert await backend.acquire_lease("relay", "b", seconds=LONG) is None
        for name in ("relay2", "Relay", "rela", "relay ", "%", "r_lay"):
            assert (await taken(backend, name, "b")).name == name
        assert await backend.acquire_lease("relay", "A", seconds=LONG) is None

    async def test_a_holder_renews_its_lease(self, backend: _Leasing, wait: Callable[[float], Awaitable[None]]) -> None:
        """It keeps its token and runs on beyond its first end."""
        lease = await taken(backend, "relay", "a", self.brief)
        assert await backend.acquire_lease("relay", "a", seconds=LONG) == lease
        await wait(self.brief * 1.1)
        assert await backend.acquire_lease("relay", "b", seconds=LONG) is None
        assert await backend.acquire_lease("relay", "a", seconds=LONG) == lease

    async def test_a_lease_that_ran_out_is_free(
        self, backend: _Leasing, wait: Callable[[float], Awaitable[None]]
    ) -> None:
        """Not before its end; whoever comes first afterwards has it, the last holder is told None."""
        await taken(backend, "relay", "a", self.brief)
        assert await backend.acquire_lease("relay", "b", seconds=LONG) is None
        await wait(self.brief * 1.1)
        await taken(backend, "relay", "b")
        assert await backend.acquire_lease("relay", "a", seconds=LONG) is None

    async def test_tokens_rise_with_every_change_of_hands(
        self, backend: _Leasing, wait: Callable[[float], Awaitable[None]]
    ) -> None:
        """By release and by running out, also when the same holder takes a free lease again."""
        tokens = []
        for holder in ("a", "b", "b", "a"):
            lease = await taken(backend, "relay", holder)
            tokens.append(lease.token)
            await backend.release_lease(lease)
        for holder in ("a", "a"):
            tokens.append((await taken(backend, "relay", holder, self.brief)).token)
            await wait(self.brief * 1.1)
        assert tokens == sorted(set(tokens))

    async def test_only_the_current_lease_is_released(self, backend: _Leasing) -> None:
        """A released one is free at once; releasing it again, or one of another token or holder, changes nothing."""
        old = await taken(backend, "relay", "a")
        await backend.release_lease(old)
        new = await taken(backend, "relay", "b")
        for wrong in (old, Lease("relay", "a", new.token), Lease("relay", "b", old.token), Lease("other", "b", 1)):
            await backend.release_lease(wrong)
        assert await backend.acquire_lease("relay", "c", seconds=LONG) is None
        await backend.release_lease(new)
        await taken(backend, "relay", "c")

    async def test_racing_holders_get_one_lease(self, backend: _Leasing) -> None:
        """Sixteen at once: one has it, fifteen are told None; again after a release."""
        tokens = []
        for _ in range(3):
            calls = (backend.acquire_lease("relay", f"h{n}", seconds=LONG) for n in range(16))
            [lease] = [lease for lease in await asyncio.gather(*calls) if lease is not None]
            tokens.append(lease.token)
            await backend.release_lease(lease)
        assert tokens == sorted(set(tokens))

    async def test_holders_of_two_openings_get_one_lease(self, opener: Opener) -> None:
        """Where two may be open on one store, a lease, its release and its fence hold across both."""
        first: _Leasing = await opener.open()
        shared = StorageCapability.SHARED in self.spec.capabilities
        second: _Leasing = await opener.open() if shared else first
        both = (first, second)
        calls = (both[n % 2].acquire_lease("relay", f"h{n}", seconds=LONG) for n in range(8))
        [lease] = [lease for lease in await asyncio.gather(*calls) if lease is not None]
        assert [await one.acquire_lease("relay", "late", seconds=LONG) for one in both] == [None, None]
        await second.save_cursor("relay", 3, fence=lease)
        assert await first.cursor("relay") == 3
        await first.release_lease(lease)
        assert (await taken(second, "relay", "late")).token > lease.token
        with pytest.raises(LeaseLost):
            await first.save_cursor("relay", 4, fence=lease)

    async def test_the_store_judges_whether_a_lease_runs(
        self, backend: _Leasing, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A caller whose own clock is a day ahead, or a day behind, neither takes a lease nor frees one."""
        lease = await taken(backend, "relay", "a", LONG)
        now = time.time
        for day in (86_400.0, -86_400.0):
            monkeypatch.setattr(time, "time", lambda: now() + day)  # noqa: B023 - used inside this turn only
            assert await backend.acquire_lease("relay", "b", seconds=LONG) is None
            await backend.save_cursor("relay", 1, fence=lease)
        monkeypatch.undo()
        assert await backend.acquire_lease("relay", "a", seconds=LONG) == lease

    async def test_a_lease_lasts_as_its_storage_does(self, opener: Opener) -> None:
        """Over a close where the storage is durable: it still runs, and its token is not given again."""
        backend: _Leasing = await opener.open()
        lease = await taken(backend, "relay", "a")
        backend = await opener.reopen()
        later = await backend.acquire_lease("relay", "b", seconds=LONG)
        if StorageCapability.DURABLE in self.spec.capabilities:
            assert later is None
            assert await backend.acquire_lease("relay", "a", seconds=LONG) == lease
        else:
            assert later is not None

    async def test_a_current_lease_saves_cursors(self, backend: _Leasing) -> None:
        """Of any name; as without a fence a cursor never goes back, and zero starts it again."""
        lease = await taken(backend, "relay", "a")
        for given, kept in ((5, 5), (3, 5), (9, 9), (0, 0), (2, 2)):
            await backend.save_cursor("log", given, fence=lease)
            assert await backend.cursor("log") == kept
        await backend.save_cursor("log", 4)
        await backend.save_cursor("log", 3, fence=lease)
        assert await backend.cursor("log") == 4
        await backend.save_cursor("log", 7)
        await backend.save_cursor("log", 0, fence=lease)
        assert await backend.cursor("log") == 0

    async def test_a_lost_lease_cannot_save_a_cursor(
        self, backend: _Leasing, wait: Callable[[float], Awaitable[None]]
    ) -> None:
        """Released, run out, taken over, or never given: the cursor stays, and the present holder is not disturbed."""
        released = await taken(backend, "relay", "a")
        await backend.save_cursor("relay", 5, fence=released)
        await backend.release_lease(released)
        await refused(backend, released)
        expired = await taken(backend, "relay", "a", self.brief)
        await wait(self.brief * 1.1)
        await refused(backend, expired)
        current = await taken(backend, "relay", "b")
        for lost in (
            released,
            expired,
            Lease("relay", "a", current.token),
            Lease("relay", "b", current.token + 1),
            Lease("other", "b", current.token),
        ):
            await refused(backend, lost)
        await backend.save_cursor("relay", 6, fence=current)
        assert await backend.cursor("relay") == 6


async def taken(backend: Leases, name: str, holder: str, seconds: float = LONG) -> Lease:
    """Acquire a lease that must be free, or the holder's own."""
    lease = await backend.acquire_lease(name, holder, seconds=seconds)
    assert lease is not None
    return lease


async def refused(backend: Storage, fence: Lease) -> None:
    """Prove that the fence lets nothing through, the reset of a cursor neither."""
    before = await backend.cursor("relay")
    for sequence in (before + 1, before, 0):
        with pytest.raises(LeaseLost):
            await backend.save_cursor("relay", sequence, fence=fence)
    assert await backend.cursor("relay") == before
