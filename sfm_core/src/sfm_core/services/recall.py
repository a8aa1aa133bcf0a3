"""Recall: what matters for a question, over the arms that a plan has. `sfm_core.services.ranking` says how it is scored."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import cast

from sfm_core.errors import LimitExceeded, Problem, SfmError
from sfm_core.model.query import Answer, RecallQuery
from sfm_core.plugins.hooks import OperationHooks
from sfm_core.ports.embedding import Embedding, WordVectors
from sfm_core.ports.storage import Storage, StorageCapability, Vocabulary
from sfm_core.ports.vectors import Vectors
from sfm_core.services.arms import Texts
from sfm_core.services.asked import Asked, read_asked
from sfm_core.services.clock import Clock
from sfm_core.services.copies import Copies
from sfm_core.services.index_words import RanksWords
from sfm_core.services.limits import Limits
from sfm_core.services.near import NearWords
from sfm_core.services.principal import Principal, Verb
from sfm_core.services.text_recall import TextRecall
from sfm_core.services.vector_arm import VectorArm
from sfm_core.services.vector_recall import VectorRecall

__all__ = ["Reached", "Recall"]

Reached = Callable[[int, float], Awaitable[bool]]
"""Waits until the projections hold a sequence, at most so many seconds; tells whether they do."""

_AT_ONCE = 8
_POLL_SECONDS = 0.02


class Recall:
    """Answers questions and vector queries.

    Args:
        storage, storage_able: the records; with FULL_TEXT the lexical and the time arm, with VOCABULARY near words.
        vectors, vectors_able: the vector index, None when the plan has none.
        embedding: embeds questions for the vector arm.
        dimension: of the index; by default that of `embedding`.
        near_words: word vectors for near words.
        words: what is asked for words instead of the storage; None for the storage.
        limits, clock: bounds of what may be asked; the instant that expiry and "yesterday" are judged by.
        language_of: the language of a namespace.
        reached: waits for the projections, None when there are none.
        copies: cached copies of memories, None when there are none.
        hooks: the operation hooks of the loaded plugins.
    """

    def __init__(
        self,
        storage: Storage,
        storage_able: frozenset[StrEnum],
        *,
        vectors: Vectors | None = None,
        vectors_able: frozenset[StrEnum] = frozenset(),
        embedding: Embedding | None = None,
        dimension: int | None = None,
        near_words: WordVectors | None = None,
        words: RanksWords | None = None,
        limits: Limits,
        clock: Clock,
        language_of: Callable[[str], str],
        reached: Reached | None = None,
        copies: Copies | None = None,
        hooks: OperationHooks | None = None,
    ) -> None:
        self._storage = storage
        self._limits = limits
        self._clock = clock
        self._reached = reached
        self._hooks = hooks or OperationHooks()
        arm = VectorArm(vectors, vectors_able, storage, storage_able) if vectors is not None else None
        near: NearWords | None = None
        if near_words is not None and StorageCapability.VOCABULARY in storage_able:
            near = NearWords(near_words, cast(Vocabulary, storage))
        self._by_text = TextRecall(
            storage=storage,
            texts=cast(Texts, storage) if StorageCapability.FULL_TEXT in storage_able else None,
            near=near,
            words=words,
            vector_arm=arm,
            embedding=embedding,
            candidates=limits.candidates,
            language_of=language_of,
            copies=copies,
        )
        if dimension is None and embedding is not None:
            dimension = embedding.dimension
        self._by_vector = VectorRecall(storage, arm, dimension, self._indexed)

    async def recall(self, principal: Principal, query: RecallQuery) -> Answer:
        """Return the memories that matter most for `query`, best first.

        A text query always gets `k` memories when as many live ones of the scope pass its filters: those that nothing
        speaks for come last, newest first. Every memory of the answer is live, in the scope and passes the filters at the
        moment it was read. An arm that misses the deadline, or whose backend is down, is named in `Answer.partial`, as is
        `index_lag` when `min_sequence` was not reached in time or vectors of fewer than `k` memories are up to date.

        Raises:
            InvalidInput: a field of the query is refused (`LimitExceeded`: it is too large).
            Forbidden: the principal may not read the whole scope.
            CapabilityNotSupported: a vector query without vector search, a text query without full text.
            BackendUnavailable: the storage is down.
        """
        asked = self._asked(principal, query)
        if self._hooks.has_recalling:
            asked = self._asked(principal, self._hooks.recalling(query, principal))
        answer = await self._answer(asked)
        return self._hooks.recalled(answer, principal) if self._hooks.has_recalled else answer

    async def recall_many(self, principal: Principal, queries: Sequence[RecallQuery]) -> list[Answer | SfmError]:
        """Answer each of `queries` as `recall` does; one that is refused or fails leaves its error in its place.

        Raises:
            LimitExceeded: more queries than `Limits.recall_batch`.
        """
        if len(queries) > self._limits.recall_batch:
            allowed = f"at most {self._limits.recall_batch}"
            raise LimitExceeded([Problem("queries", f"{len(queries)} items", allowed)])

        async def one(query: RecallQuery) -> Answer | SfmError:
            try:
                return await self.recall(principal, query)
            except SfmError as error:
                return error

        answers: list[Answer | SfmError] = []
        for start in range(0, len(queries), _AT_ONCE):
            answers += await asyncio.gather(*map(one, queries[start : start + _AT_ONCE]))
        return answers

    def _asked(self, principal: Principal, query: RecallQuery) -> Asked:
        asked = read_asked(query, self._limits, self._clock())
        principal.require(Verb.READ, asked.scope)
        return asked

    async def _answer(self, asked: Asked) -> Answer:
        lag = () if await self._caught_up(asked) else ("index_lag",)
        if asked.query.vector is not None:
            return await self._by_vector.recall(asked, asked.query.vector, lag)
        if asked.as_of is not None:
            return await self._by_text.recall_past(asked, lag)
        return await self._by_text.recall(asked, lag)

    async def _caught_up(self, asked: Asked) -> bool:
        sequence = asked.query.min_sequence
        if sequence is None:
            return True
        left = asked.left()
        # At most half of the time to a deadline: the arms need the rest.
        end = time.monotonic() + min(self._limits.wait_seconds, math.inf if left is None else left / 2)
        while await self._storage.last_sequence() < sequence:
            if time.monotonic() >= end:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return self._reached is None or await self._reached(sequence, max(0.0, end - time.monotonic()))

    async def _indexed(self) -> bool:
        return self._reached is None or await self._reached(await self._storage.last_sequence(), 0.0)
