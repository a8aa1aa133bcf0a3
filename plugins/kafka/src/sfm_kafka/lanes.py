"""What a member of a group was handed from each partition, and how far it may commit."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable

__all__ = ["Attempts", "Lane"]


class Lane:
    """One partition in the hands of one member. Offsets may have gaps: what a broker removed, or never delivers."""

    def __init__(self, partition: int) -> None:
        self.name = str(partition)
        self._held: deque[int] = deque()
        self._done: set[int] = set()
        self._last = -1

    def hand(self, offset: int) -> None:
        """Note that an offset was handed out, in rising order."""
        self._held.append(offset)
        self._last = offset

    def finish(self, offset: int) -> int | None:
        """Note that an offset is done.

        Returns:
            where the group now stands, the offset of the first event that is not done; None when that did not change.
        """
        held, done = self._held, self._done
        if not held or offset < held[0]:
            return None
        if offset != held[0]:
            done.add(offset)
            return None
        held.popleft()
        while held and held[0] in done:
            done.discard(held.popleft())
        return held[0] if held else self._last + 1

    @property
    def busy(self) -> bool:
        """Whether something was handed out that is not done."""
        return bool(self._held)


class Attempts:
    """Counts, in one process, how often what is not committed yet was handed out."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, int], dict[int, int]] = defaultdict(dict)

    def next(self, group: str, partition: int, offset: int) -> int:
        """Count an offset and return how often it was handed out, this time included."""
        counts = self._counts[group, partition]
        counts[offset] = counts.get(offset, 0) + 1
        return counts[offset]

    def forget(self, group: str, partition: int, below: int) -> None:
        """Drop the counts of what is committed."""
        counts = self._counts[group, partition]
        for offset in _lower(counts, below):
            del counts[offset]


def _lower(offsets: Iterable[int], below: int) -> list[int]:
    return [offset for offset in offsets if offset < below]
