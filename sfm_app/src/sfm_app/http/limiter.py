"""The rate limit: so many requests a minute per credential and endpoint, counted in the cache."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from sfm_app.observability.metrics import Metrics
from sfm_core.services.steady import SteadyCache

__all__ = ["Limiter"]

_WINDOW = 60


class Limiter:
    """Counts requests in fixed windows of a minute.

    While the cache is not at hand each worker counts the requests that reach itself, from the beginning: no request waits
    for the cache, and so many workers together let at most so many times as many through.

    Args:
        cache: where the counts live (shared by workers and replicas when the cache is); None for no limit.
        most: requests a minute; 0 for no limit.
        metrics: told how many were refused, and counted without the cache.
        clock: Unix time in seconds.
    """

    def __init__(
        self, cache: SteadyCache | None, most: int, metrics: Metrics, clock: Callable[[], float] = time.time
    ) -> None:
        self._cache = cache if most > 0 else None
        self._most = most
        self._metrics = metrics
        self._clock = clock
        self._window = 0
        self._own: Counter[tuple[str, str]] = Counter()

    async def seconds_to_wait(self, credential: str, endpoint: str) -> int:
        """Count one request; return 0 when it may pass, else the seconds until the next window."""
        if self._cache is None:
            return 0
        window, passed = divmod(int(self._clock()), _WINDOW)
        used = await self._cache.increment(f"rate:{credential}:{endpoint}:{window}", ttl=_WINDOW)
        if used is None:
            used = self._counted_here(credential, endpoint, window)
        if used <= self._most:
            return 0
        self._metrics.count("sfm_rate_limited_total")
        return _WINDOW - passed

    def _counted_here(self, credential: str, endpoint: str, window: int) -> int:
        self._metrics.count("sfm_rate_limit_local_total")
        if window != self._window:
            self._window = window
            self._own.clear()
        self._own[credential, endpoint] += 1
        return self._own[credential, endpoint]
