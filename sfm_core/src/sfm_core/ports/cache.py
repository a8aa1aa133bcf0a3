"""The cache port: values with a time to live, and counters. Losing all of it costs speed, never an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

__all__ = ["Cache", "CacheCapability"]


class CacheCapability(StrEnum):
    """Optional abilities of a cache."""

    SHARED = "shared"
    """Processes see each other's values and counters (rate limits hold across workers)."""


class Cache(Protocol):
    """Bytes by text key. Keys are 1 to 512 characters; values up to 4 MiB; lifetimes above 0 seconds.

    Keys are equal only when every code point is: test_no_key_reads_the_value_of_another.
    """

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of `keys` in order, None for unknown and expired ones: test_an_expired_value_is_gone."""
        ...

    async def set(self, values: Mapping[str, bytes], *, ttl: float) -> None:
        """Store `values` for `ttl` seconds, replacing what was there: test_a_later_value_replaces_an_earlier_one."""
        ...

    async def add(self, values: Mapping[str, bytes], *, ttl: float) -> None:
        """As `set`, but a key that holds a live value or counter is left as it is, its lifetime too.

        Atomic for each key: of racing calls one stores its value, and all read that: test_racing_adds_keep_the_first.

        Proven by test_an_added_value_does_not_replace.
        """
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove `keys`; unknown ones are fine.

        Proven by test_deleted_values_are_gone.
        """
        ...

    async def increment(self, key: str, *, ttl: float, by: int = 1) -> int:
        """Add `by` to the counter `key` and return its new value; it starts at 0 and lives `ttl` seconds from its start.

        Atomic: test_racing_increments_all_count. Later calls do not lengthen its life.

        Proven by test_a_counter_lives_from_its_start.
        """
        ...

    async def clear(self) -> None:
        """Remove everything under this cache's prefix.

        Proven by test_a_cleared_cache_is_empty.
        """
        ...

    async def check(self) -> None:
        """Prove that the cache answers.

        Raises:
            BackendUnavailable: it does not.
        """
        ...
