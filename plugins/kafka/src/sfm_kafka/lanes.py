"""What a member of a group was handed from each partition, and how far it may commit."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

__all__ = ["Lane"]


class Lane:
    """One partition in the hands of one member. Offsets may have gaps: what a broker removed, or never delivers.

    Args:
        partition: its number.
        tried: how often, as far as this process knows, offsets were handed out before that were not committed then.
    """

    def __init__(self, partition: int, tried: Mapping[int, int]) -> None:
        self.name = str(partition)
        self._tried = tried
        self._held: deque[int] = deque()
        self._done: set[int] = set()
        self._last = -1

    def hand(self, offsets: Sequence[int]) -> list[int]:
        """Note that offsets, at least one, were handed out in rising order; return how often each was, this time included."""
        self._held.extend(offsets)
        self._last = offsets[-1]
        tried = self._tried
        return [tried.get(offset, 0) + 1 for offset in offsets] if tried else [1] * len(offsets)

    def finish(self, offsets: list[int]) -> int | None:
        """Note that offsets are done, in any order.

        Returns:
            where the group now stands, the offset of the first event that is not done; None when that did not change.
        """
        held, done = self._held, self._done
        if not held:
            return None
        # All that is held, in its order, is what nearly every batch is.
        if len(offsets) == len(held) and offsets[-1] == self._last and list(held) == offsets:
            held.clear()
            done.clear()
            return self._last + 1
        first = held[0]
        done.update(offset for offset in offsets if offset >= first)
        while held and held[0] in done:
            done.discard(held.popleft())
        if not held:
            return self._last + 1
        return held[0] if held[0] != first else None

    @property
    def busy(self) -> bool:
        """Whether something was handed out that is not done."""
        return bool(self._held)

    @property
    def tried(self) -> dict[int, int]:
        """How often what is not committed was handed out, for the next to have the lane."""
        later = {offset: count for offset, count in self._tried.items() if offset > self._last}
        return {offset: self._tried.get(offset, 0) + 1 for offset in self._held} | later
