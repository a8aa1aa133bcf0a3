"""An embedder without a model, as a plugin that processes load from a folder on their path; files tell it what to do.

The vector of a text is drawn from its hash: only the same text is near, everything else is noise. So the vector arm offers
any memory of a namespace for any question, and a wrong one shows at once. There are enough numbers that the noise stays
below one matching word.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from sfm_core.errors import BackendError
from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import BackendSpec, OpenContext, PluginInfo, Port
from sfm_core.ports.embedding import Embedding, EmbeddingCapability

REFUSED = "refused"
"""This file of the folder holds a text: what contains it is refused."""
NAME = "letters"
DIMENSION = 384


def vector_of(text: str) -> list[float]:
    """Return the unit vector of a text."""
    numbers = [byte - 127.5 for byte in hashlib.shake_128(text.encode()).digest(DIMENSION)]
    length = math.hypot(*numbers)
    return [number / length for number in numbers]


class LettersConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the files are, and how many seconds a batch takes; while it takes them `busy-<process>` is there."""

    folder: Path
    pause: float = 0.0


class Letters:
    """The embedder."""

    dimension = DIMENSION
    fingerprint = "letters/1"

    def __init__(self, config: LettersConfig) -> None:
        self._config = config
        self._refused = config.folder / REFUSED
        self._busy = config.folder / f"busy-{os.getpid()}"

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return the vectors of texts."""
        if self._refused.exists():
            refused = self._refused.read_text()
            if any(refused in text for text in texts):
                raise BackendError("letters/embedding: refused")
        if self._config.pause:
            self._busy.touch()
            await asyncio.sleep(self._config.pause)
            self._busy.unlink(missing_ok=True)
        return [vector_of(text) for text in texts]


@asynccontextmanager
async def _open(config: LettersConfig, context: OpenContext) -> AsyncIterator[Embedding]:
    yield Letters(config)


@hookimpl
def sfm_plugin_info() -> PluginInfo:
    """Say who this plugin is."""
    return PluginInfo(name=NAME, version="1", api="1.0")


@hookimpl
def sfm_embedding() -> Sequence[BackendSpec]:
    """Offer the embedder."""
    able = frozenset({EmbeddingCapability.TEXTS})
    return [BackendSpec(port=Port.EMBEDDING, name=NAME, config=LettersConfig, open=_open, capabilities=able)]
