"""The cache as services use it: it never fails, it only misses; one that is dead or hangs is left alone for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from sfm_core.errors import SfmError
from sfm_core.ports.cache import Cache

__all__ = ["SteadyCache"]

_log = logging.getLogger("sfm.cache")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0

_T = TypeVar("_T")


class SteadyCache:
    """A circuit breaker around a cache.

    After a failure no call reaches the cache for a pause, which doubles up to five seconds while failures go on; then one call
    at a time tries again. So a dead or hung cache costs one call of each pause at most `patience`, and the others nothing.

    Whether the cache itself answers is told by its own `check`.

    Args:
        cache: the backend.
        patience: seconds that one call may take.
        clock: seconds that only rise.

    Attributes:
        counts: how many calls failed ("failures"), were not made ("skipped"), and what users of the cache count themselves.
    """

    def __init__(self, cache: Cache, *, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._cache = cache
        self._patience = patience
        self._clock = clock
        self._pause = 0.0
        self._until = 0.0
        self.counts: Counter[str] = Counter()

    async def get(self, keys: Sequence[str]) -> list[bytes | None] | None:
        """Return the values of `keys`, None when the cache is not at hand."""
        return await self._tried(lambda: self._cache.get(keys))

    async def set(self, values: Mapping[str, bytes], *, ttl: float) -> bool:
        """Store `values`; return whether they are stored (False: it is not known)."""
        return await self._done(lambda: self._cache.set(values, ttl=ttl))

    async def add(self, values: Mapping[str, bytes], *, ttl: float) -> bool:
        """Store those of `values` whose key holds nothing; return whether the cache did so (False: it is not known)."""
        return await self._done(lambda: self._cache.add(values, ttl=ttl))

    async def increment(self, key: str, *, ttl: float, by: int = 1) -> int | None:
        """Add `by` to the counter `key` and return its new value, None when the cache is not at hand."""
        return await self._tried(lambda: self._cache.increment(key, ttl=ttl, by=by))

    async def _done(self, call: Callable[[], Awaitable[None]]) -> bool:
        async def answered() -> bool:
            await call()
            return True

        return await self._tried(answered) is not None

    async def _tried(self, call: Callable[[], Awaitable[_T]]) -> _T | None:
        tries_again = self._pause > 0
        if tries_again:
            now = self._clock()
            if now < self._until:
                self.counts["skipped"] += 1
                return None
            # The others go on without the cache until this call knows more.
            self._until = now + max(self._pause, self._patience)
        try:
            async with asyncio.timeout(self._patience):
                answer = await call()
        except Exception as error:  # noqa: BLE001  counted and logged: whatever a cache does, the answer is there without it
            self._failed(error, tries_again)
            return None
        if self._pause:
            self._pause = 0.0
            _log.info("the cache answers again")
        return answer

    def _failed(self, error: Exception, tried_again: bool) -> None:
        self.counts["failures"] += 1
        if tried_again:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        elif not self._pause:
            self._pause = _FIRST_PAUSE
            told = f"no answer within {self._patience:g} s" if isinstance(error, TimeoutError) else _text(error)
            _log.warning("the cache is left alone for a while: %s", told)
        else:
            return  # one of several calls that were under way when the first of them failed
        self._until = self._clock() + self._pause


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, SfmError) else f"it raised {type(error).__name__}"
