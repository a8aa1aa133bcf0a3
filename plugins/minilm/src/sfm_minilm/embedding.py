"""The texts side of the embedding port: the encoder on a few threads of its own, away from the event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from sfm_minilm.config import MinilmConfig
from sfm_minilm.encoder import Encoder
from sfm_minilm.load import load

__all__ = ["MinilmEmbedding", "open_embedding"]

_SLICE = 4
"""Texts a thread takes at a time: a question that comes amid a large batch waits for no more than these."""


class MinilmEmbedding:
    """`sfm_core.ports.embedding.Embedding`: one text is one forward pass, so its company never changes a vector.

    Batches gain nothing on a processor at this size of model (measured: 2.2 ms a text alone, 2.3 among eight), and padding
    costs; texts are therefore spread over threads instead.
    """

    def __init__(self, encoder: Encoder, fingerprint: str, pool: ThreadPoolExecutor, threads: int) -> None:
        self._encoder = encoder
        self._fingerprint = fingerprint
        self._pool = pool
        self._threads = threads

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return self._encoder.dimension

    @property
    def fingerprint(self) -> str:
        """Names the model, its rounding and its content."""
        return self._fingerprint

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one unit vector per text, in order.

        Raises:
            BackendError: the model failed.
        """
        found: list[list[float]] = [[] for _ in texts]
        starts = iter(range(0, len(texts), _SLICE))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._threads, -(-len(texts) // _SLICE))):
                    group.create_task(self._work(texts, starts, found))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return found

    async def _work(self, texts: Sequence[str], starts: Iterator[int], found: list[list[float]]) -> None:
        """Embed slices until none is left; at most one is in the pool, so that others' texts come in between."""
        loop = asyncio.get_running_loop()
        for start in starts:
            part = texts[start : start + _SLICE]
            found[start : start + len(part)] = await loop.run_in_executor(self._pool, self._encode, part)

    def _encode(self, texts: Sequence[str]) -> list[list[float]]:
        return [self._encoder.encode(text) for text in texts]


@asynccontextmanager
async def open_embedding(config: MinilmConfig) -> AsyncIterator[MinilmEmbedding]:
    """Load the model and yield its embedding; threads and model are gone afterwards.

    Raises:
        ConfigError, CorruptData, PluginError: see `sfm_minilm.load.load`.
    """
    encoder, fingerprint = await asyncio.to_thread(load, config)
    threads = config.threads or max(1, (os.cpu_count() or 1) // 2)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="sfm-minilm")
    try:
        yield MinilmEmbedding(encoder, fingerprint, pool, threads)
    finally:
        await asyncio.to_thread(pool.shutdown, cancel_futures=True)
