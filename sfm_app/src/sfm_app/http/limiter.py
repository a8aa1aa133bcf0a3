"""The rate limit: so many requests a minute per credential and endpoint, counted in the cache."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from sfm_app.observability.metrics import Metrics
from sfm_core.errors import BackendError
from sfm_core.ports.cache import Cache

__all__ = ["Limiter"]

_WINDOW = 60
_PATIENCE = 0.25
_PAUSE = 5.0


class Limiter:
    """Counts requests in fixed windows of a minute. A cache that does not answer lets every request through.

    Args:
        cache: where the counts live (shared by workers and replicas when the cache is); None for no limit.
        most: requests a minute; 0 for no limit.
        metrics: told how many were refused, and let through uncounted.
        clock: Unix time in seconds.
    """

    def __init__(
        self, cache: Cache | None, most: int, metrics: Metrics, clock: Callable[[], float] = time.time
    ) -> None:
        self._cache = cache if most > 0 else None
        self._most = most
        self._metrics = metrics
        self._clock = clock
        self._skip_until = 0.0

    async def seconds_to_wait(self, credential: str, endpoint: str) -> int:
        """Count one request; return 0 when it may pass, else the seconds until the next window."""
        if self._cache is None:
            return 0
        now = self._clock()
        if now < self._skip_until:
            self._metrics.count("sfm_rate_limit_skipped_total")
            return 0
        window, passed = divmod(int(now), _WINDOW)
        try:
            async with asyncio.timeout(_PATIENCE):
                used = await self._cache.increment(f"rate:{credential}:{endpoint}:{window}", ttl=_WINDOW)
        except (BackendError, TimeoutError):
            # Asking a dead cache for every request would make each of them slow.
            self._skip_until = now + _PAUSE
            self._metrics.count("sfm_rate_limit_skipped_total")
            return 0
        if used <= self._most:
            return 0
        self._metrics.count("sfm_rate_limited_total")
        return _WINDOW - passed
