"""A plain function from texts to vectors as an embedding backend: `open_memory(embed=function)`."""

from __future__ import annotations

import asyncio
import inspect
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

from sfm_core.errors import BackendUnavailable, ConfigError

__all__ = ["EmbedFunction", "FunctionEmbedding"]

EmbedFunction = Callable[[list[str]], Any]


class FunctionEmbedding:
    """Calls `function` in a worker thread, one call at a time, and checks and normalises what it returns."""

    def __init__(self, function: EmbedFunction) -> None:
        if not _is_plain(function):
            raise ConfigError(
                "embed: got no plain function, allowed: a function from a list of texts to a list of vectors"
            )
        self._function = function
        self._turn = asyncio.Lock()
        self._busy = threading.Lock()
        self._dimension = 0

    async def probe(self) -> None:
        """Learn the dimension by embedding one word.

        Raises:
            BackendUnavailable: the function failed or returned no vector.
        """
        [vector] = await self.embed(["dimension"])
        self._dimension = len(vector)

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return self._dimension

    @property
    def fingerprint(self) -> str:
        """The function's qualified name and its dimension: rename the function when its vectors change."""
        kind = self._function if hasattr(self._function, "__qualname__") else type(self._function)
        return f"function:{kind.__module__}.{kind.__qualname__}:{self._dimension}"

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one unit vector per text.

        Raises:
            BackendUnavailable: the function raised, or what it returned is not one finite vector of the same length per text.
        """
        if not texts:
            return []
        async with self._turn:
            try:
                rows = await asyncio.to_thread(self._call, list(texts))
            except Exception as error:
                raise BackendUnavailable(f"embed function: raised {type(error).__name__}") from error
        try:
            if len(rows) != len(texts):
                raise BackendUnavailable(f"embed function: returned {len(rows)} vectors for {len(texts)} texts")
            return [self._unit(row) for row in rows]
        except (TypeError, ValueError, OverflowError) as error:
            raise BackendUnavailable("embed function: returned something else than a list of vectors") from error

    def _call(self, texts: list[str]) -> Any:
        # A cancelled caller gives its turn away while its call still runs.
        with self._busy:
            return self._function(texts)

    def _unit(self, row: Any) -> list[float]:
        values: list[float] = row.tolist() if hasattr(row, "tolist") else [float(x) for x in row]
        norm = math.hypot(*values)
        if not math.isfinite(norm) or norm == 0.0:
            raise BackendUnavailable("embed function: returned a vector that is zero or holds NaN or an infinity")
        if self._dimension and len(values) != self._dimension:
            raise BackendUnavailable(f"embed function: returned {len(values)} numbers, {self._dimension} before")
        return [x / norm for x in values]


def _is_plain(function: object) -> bool:
    return callable(function) and not inspect.iscoroutinefunction(function)
