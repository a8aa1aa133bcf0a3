"""The one projector: brings vector index, vocabulary and cache up to the records. Inline mode and consumer both run it.

Idempotent by (memory id, version): replays and reordering change nothing, since it always hydrates the newest version from
storage and every projection ignores versions that it has passed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import cast

from sfm_core.errors import BackendError
from sfm_core.model.event import Change
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import ALL
from sfm_core.ports.embedding import Embedding
from sfm_core.ports.storage import Storage, Stored, Vocabulary
from sfm_core.ports.vectors import Point, Vectors

__all__ = ["Projection", "Projector"]

_log = logging.getLogger("sfm.projector")
_PAGE = 1000
_LINKS = ("memory.linked", "memory.unlinked")

Words = Callable[[Memory], Sequence[tuple[str, str]]]


class Projection:
    """Carries newest versions of memories into the projections.

    Args:
        vectors, embedding: the vector index and what embeds for it; both or neither.
        vocabulary: where the words of contents are noted for near words; None when nobody reads them.
        words: the words of a memory's content.
        invalidate: forgets cached copies of memory ids; None without a cache.
    """

    def __init__(
        self,
        *,
        vectors: Vectors | None,
        embedding: Embedding | None,
        vocabulary: Vocabulary | None,
        words: Words,
        invalidate: Callable[[Sequence[str]], Awaitable[None]] | None = None,
    ) -> None:
        self.vectors = vectors
        self._embedding = embedding
        self._vocabulary = vocabulary
        self._words = words
        self._invalidate = invalidate

    @property
    def needed(self) -> bool:
        """Whether there is anything to project to."""
        return self.vectors is not None or self._vocabulary is not None or self._invalidate is not None

    async def apply(
        self,
        live: Sequence[Memory],
        gone: Sequence[tuple[str, int]],
        *,
        words: Iterable[Sequence[tuple[str, str]]] | None = None,
    ) -> None:
        """Project the newest versions `live`, and the deletions `gone` as (id, version).

        Args:
            live: memories that are to be found.
            gone: ids that are not, with the version of the tombstone or erasure.
            words: the words of each of `live`, when the caller has them at hand.
        """
        if self._vocabulary is not None and live:
            fresh: dict[str, dict[tuple[str, str], None]] = {}
            for memory, pairs in zip(live, words if words is not None else map(self._words, live), strict=True):
                fresh.setdefault(memory.namespace, {}).update(dict.fromkeys(pairs))
            for namespace, found in fresh.items():
                await self._vocabulary.add_words(namespace, found)
        if self.vectors is not None:
            await self._index(live, gone)
        if self._invalidate is not None:
            await self._invalidate([*(m.id for m in live), *(id for id, _ in gone)])

    async def _index(self, live: Sequence[Memory], gone: Sequence[tuple[str, int]]) -> None:
        vectors = cast(Vectors, self.vectors)
        embedding = cast(Embedding, self._embedding)
        stored = await vectors.versions([m.id for m in live]) if len(live) > 1 else {}
        texts = [m for m in live if m.content is not None and stored.get(m.id, 0) < m.version]
        if texts:
            rows = await embedding.embed([cast(str, m.content) for m in texts])
            await vectors.upsert(
                [Point(m.id, m.version, m.namespace, row, m) for m, row in zip(texts, rows, strict=True)]
            )
        without = [(m.id, m.version) for m in live if m.content is None]
        if gone or without:
            await vectors.delete([*gone, *without])
        if gone:
            await vectors.flush()


class Projector:
    """Drives a `Projection` along the change log of a storage, and remembers how far it has come.

    Writers hand over what they just wrote (`written`); `catch_up` reads the log for everything else: other processes'
    writes, a backlog after a failure, the log since the last stop.
    """

    def __init__(self, storage: Storage, projection: Projection, *, name: str) -> None:
        self._storage = storage
        self._projection = projection
        self._name = name
        self._position = 0
        self._ahead: set[int] = set()
        self._lock = asyncio.Lock()
        self._retry_at = 0.0
        self.failing: str | None = None

    @property
    def name(self) -> str:
        """The name of the cursor."""
        return self._name

    @property
    def position(self) -> int:
        """Everything up to this sequence is projected."""
        return self._position

    def indexed(self, last: int) -> int:
        """Return the sequence up to which the projections hold everything, given the log's newest one `last`."""
        return last if not self._projection.needed else self._position

    async def start(self) -> None:
        """Read the cursor and work off the backlog; an empty index starts over from the beginning of the log."""
        self._position = await self._storage.cursor(self._name)
        vectors = self._projection.vectors
        if vectors is not None and self._position and not await vectors.count(ALL):
            await self._storage.save_cursor(self._name, 0)
            self._position = 0
        await self.catch_up()

    async def written(
        self,
        live: Sequence[Memory],
        gone: Sequence[tuple[str, int]],
        sequences: Iterable[int],
        *,
        words: Iterable[Sequence[tuple[str, str]]] | None = None,
    ) -> bool:
        """Project what this process just wrote; return whether the projections hold it now.

        A projection that is down does not fail the write: the backlog is worked off later.
        """
        if not self._projection.needed:
            return True
        if self.failing is not None and time.monotonic() < self._retry_at:
            return False
        try:
            await self._projection.apply(live, gone, words=words)
        except BackendError as error:
            self._note_failure(error)
            return False
        self._ahead.update(sequences)
        if self.failing is not None or len(self._ahead) >= _PAGE:
            await self.catch_up()
        return True

    async def reached(self, sequence: int, timeout: float) -> bool:
        """Wait until everything up to `sequence` is projected, at most `timeout` seconds; return whether it is."""
        if not self._projection.needed or sequence <= self._position:
            return True
        deadline = time.monotonic() + timeout
        while True:
            await self.catch_up()
            if sequence <= self._position:
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            await asyncio.sleep(min(0.05, left))

    async def catch_up(self) -> bool:
        """Work off the change log from the cursor to its end; return whether that succeeded."""
        if not self._projection.needed:
            return True
        async with self._lock:
            try:
                while changes := await self._storage.changes(ALL, after=self._position, limit=_PAGE):
                    await self.project([c for c in changes if c.sequence not in self._ahead])
                    self._position = changes[-1].sequence
                    self._ahead = {s for s in self._ahead if s > self._position}
                    if self._projection.vectors is not None:
                        await self._projection.vectors.flush()
                    await self._storage.save_cursor(self._name, self._position)
            except BackendError as error:
                self._note_failure(error)
                return False
            self.failing = None
            return True

    async def project(self, changes: Sequence[Change]) -> None:
        """Bring the projections up to the newest versions of the memories that `changes` speak of."""
        newest: dict[str, int] = {}
        for change in changes:
            if change.type not in _LINKS:
                newest[change.memory_id] = max(newest.get(change.memory_id, 0), change.version)
        if not newest:
            return
        ids = list(newest)
        stored = await self._storage.locate(ids)
        live, gone = _split(zip(ids, stored, strict=True), newest)
        await self._projection.apply(live, gone)

    async def close(self) -> None:
        """Bring cursor and index together before the backends close."""
        await self.catch_up()

    def _note_failure(self, error: BackendError) -> None:
        if self.failing is None:
            _log.warning("projection is behind: %s", error)
        self.failing = str(error)
        self._retry_at = time.monotonic() + 1.0


def _split(
    pairs: Iterable[tuple[str, Stored | None]], newest: dict[str, int]
) -> tuple[list[Memory], list[tuple[str, int]]]:
    live: list[Memory] = []
    gone: list[tuple[str, int]] = []
    for id, stored in pairs:
        if stored is None:
            gone.append((id, newest[id]))
        elif stored.deleted:
            gone.append((id, stored.memory.version))
        else:
            live.append(stored.memory)
    return live, gone
