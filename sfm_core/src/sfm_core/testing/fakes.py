"""Stand-ins that are honest about what they are: an embedder by hashing, and a clock that a test sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import blake2b

from sfm_core.testing.build import NOW

__all__ = ["HashingEmbedding", "SettableClock"]


class SettableClock:
    """A clock that stands still until it is moved. Called, it returns an aware UTC instant; `seconds` is monotonic."""

    def __init__(self, start: datetime = NOW) -> None:
        self._start = start
        self._passed = 0.0

    def __call__(self) -> datetime:
        """Return the present instant."""
        return self._start + timedelta(seconds=self._passed)

    def seconds(self) -> float:
        """Return the seconds since the start."""
        return self._passed

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._passed += seconds


class HashingEmbedding:
    """Texts with words in common are near each other; nothing more. The same text gives the same vector everywhere."""

    def __init__(self, dimension: int = 64) -> None:
        self._dimension = dimension

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return self._dimension

    @property
    def fingerprint(self) -> str:
        """Names the rule and the dimension."""
        return f"hashing/{self._dimension}"

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one unit vector per text."""
        return [self.vector(text) for text in texts]

    def vector(self, text: str) -> list[float]:
        """Return the unit vector of one text."""
        sums = [0.0] * self._dimension
        for word in text.lower().split() or [""]:
            hashed = int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
            sums[hashed % self._dimension] += 1.0
        norm = math.sqrt(sum(value * value for value in sums))
        return [value / norm for value in sums]
