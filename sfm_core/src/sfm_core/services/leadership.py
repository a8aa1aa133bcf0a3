"""Leadership: one of many processes does a work, and another takes over soon after it died."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

from sfm_core.errors import SfmError
from sfm_core.ports.abilities import Lease, Leases
from sfm_core.services.backoff import told

__all__ = ["Leadership"]

_log = logging.getLogger("sfm.leadership")
_GOODBYE = 1.0


class Leadership:
    """Takes the lease `name` as soon as it is free, and renews it as long as it can.

    The store's clock says who holds a lease. This process stops believing in its own as soon as `seconds` have passed on
    its monotonic clock since it last ASKED for it, so it never believes longer than the store does. Work that
    outlives the lease is refused by the fence of `Storage.save_cursor`.

    Args:
        leases: the storage.
        name: which work.
        seconds: how long a lease lasts. A dead leader is followed within 5/4 of it.
        holder: unique to this process; random by default.
    """

    def __init__(self, leases: Leases, name: str, *, seconds: float = 2.0, holder: str | None = None) -> None:
        self._leases = leases
        self._name = name
        self._seconds = seconds
        self._holder = holder or uuid4().hex
        self._lease: Lease | None = None
        self._until = -math.inf
        self._news = asyncio.Event()
        self._failing = False

    @property
    def lease(self) -> Lease | None:
        """The lease, while this process may rely on it."""
        held = self._lease
        return held if held is not None and asyncio.get_running_loop().time() < self._until else None

    async def wait(self, seconds: float) -> None:
        """Wait until leadership may have changed, at most so long."""
        self._news.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    def lost(self, lease: Lease) -> None:
        """Note that the store refused `lease`."""
        if self._lease == lease:
            self._until = -math.inf
            self._lease = None

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Keep taking and renewing the lease while the block runs; it is given back at the end."""
        keeper = asyncio.get_running_loop().create_task(self._keep(), name=f"sfm-lease-{self._name}")
        try:
            yield
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
            await self._give_back()

    async def _keep(self) -> None:
        while True:
            await self._ask()
            await asyncio.sleep(self._seconds / (3 if self._lease is not None else 4))

    async def _ask(self) -> None:
        loop = asyncio.get_running_loop()
        asked = loop.time()
        try:
            async with asyncio.timeout(self._seconds):
                lease = await self._leases.acquire_lease(self._name, self._holder, seconds=self._seconds)
        except Exception as error:  # noqa: BLE001  whatever it is, the lease must be asked for again
            if not self._failing:
                _log.warning("lease %s cannot be asked for: %s", self._name, told(error))
            self._failing = True
            return
        self._failing = False
        before, self._lease = self._lease, lease
        self._until = asked + self._seconds if lease is not None else -math.inf
        if lease != before:
            _log.info("lease %s %s", self._name, "taken" if lease is not None else "is another's now")
            self._news.set()

    async def _give_back(self) -> None:
        lease, self._lease = self._lease, None
        if lease is None or asyncio.get_running_loop().time() >= self._until:
            return
        self._until = -math.inf
        # Not given back it runs out by itself.
        with suppress(SfmError, TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                await self._leases.release_lease(lease)
