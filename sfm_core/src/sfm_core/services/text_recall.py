"""Recall by a question, over the arms of a plan, of the present or of a past moment."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import cast

from msgspec import Struct

from sfm_core.errors import CapabilityNotSupported
from sfm_core.model.filter import FieldTest, all_of
from sfm_core.model.memory import Memory
from sfm_core.model.query import Answer
from sfm_core.ports.embedding import Embedding
from sfm_core.ports.storage import Candidate, Order, Storage
from sfm_core.ports.writes import Analysis
from sfm_core.services.arms import (
    LEXICAL,
    LINKS,
    TIME,
    VECTORS,
    Arm,
    Found,
    Scores,
    Texts,
    lexical_arm,
    link_arm,
    run,
    time_arm,
    word_groups,
)
from sfm_core.services.asked import Asked
from sfm_core.services.copies import Copies
from sfm_core.services.index_words import RanksWords
from sfm_core.services.near import NearWords
from sfm_core.services.past import read_past
from sfm_core.services.ranking import Evidence, Ranking, Signals
from sfm_core.services.reply import Ranked, Replies
from sfm_core.services.vector_arm import VectorArm
from sfm_core.text.analysis import Analyser, analyser_of
from sfm_core.text.question import Question, keys_of, read_question

__all__ = ["TextRecall"]

_MAY_FAIL = frozenset({VECTORS})
_AROUND = 60
"""The neighbours of so many of the nearest memories are candidates as well."""


class TextRecall(Struct, frozen=True, kw_only=True):
    """Answers questions.

    Attributes:
        storage: the records; `texts` is the same storage when it ranks by words.
        words: what is asked for words instead of the storage, which may be down; None for the storage.
        near: near words, None when the plan has none.
        vector_arm, embedding: the vector arm, when the plan has both.
        candidates: how many memories each arm hands over.
        language_of: the language of a namespace.
        copies: cached copies of memories, None when there are none.
    """

    storage: Storage
    texts: Texts | None
    near: NearWords | None
    vector_arm: VectorArm | None
    embedding: Embedding | None
    candidates: int
    language_of: Callable[[str], str]
    copies: Copies | None = None
    words: RanksWords | None = None

    async def recall(self, asked: Asked, partial: tuple[str, ...]) -> Answer:
        """Return the `k` best memories for a question about the present."""
        if self.texts is None:
            raise CapabilityNotSupported(
                "recall/lexical: a text query needs a storage with the capability full_text; this plan's has none"
            )
        analyser = analyser_of(self.language_of(asked.scope.namespace))
        question = await self._understand(asked, self.texts, analyser)
        versions: dict[str, int] = {}
        arms = self._arms(asked, self.texts, question, versions)
        found = await run(arms, asked.left(), may_fail=_MAY_FAIL if self.words is None else _MAY_FAIL | {LEXICAL})
        if asked.query.expand_links:
            found = await self._linked(asked, found)
        scores = found.scores
        words, cosines, links = (scores.get(arm, {}) for arm in (LEXICAL, VECTORS, LINKS))
        more = len(words) >= self._limit(asked)
        near = scores.get(TIME, {}) | Evidence.of(words, cosines, links, more_words=more).near()
        candidates = await _candidates(self.texts, asked, near)
        if question.authors and len(candidates) < asked.query.k:
            candidates = await self._of_authors(asked, self.texts, question.authors) | candidates
        cosines = {id: cosine for id, cosine in cosines.items() if _fresh(candidates.get(id), versions[id])}
        evidence = Evidence.of(words, cosines, links, more_words=more)
        stems: set[str] = set()
        if asked.query.explain:
            groups = await word_groups(self.near, asked, question)
            stems = {stem for group in groups for stem, _ in group.alternatives}
        found = Found(scores, (*partial, *found.missing), found.ms)
        return await self._answer(asked, question, analyser, candidates, evidence, found, stems)

    async def recall_past(self, asked: Asked, partial: tuple[str, ...]) -> Answer:
        """Return the `k` best memories as they were at `asked.as_of`, by words, threads, authors and dates."""
        analyser = analyser_of(self.language_of(asked.scope.namespace))
        started = time.perf_counter()

        def analyse(memory: Memory) -> Analysis:
            return analyser.analyse(memory.content, memory.author)

        past, complete = await read_past(self.storage, asked, analyse, seconds=asked.left())
        text = cast(str, asked.query.query)
        keys = keys_of(text)
        question = read_question(text, analyser, asked.as_of or asked.now, keys, past.authors(list(keys)))
        stems = {word.stem for word in question.words}
        words = past.score(sorted(stems))
        candidates = past.candidates if question.dates else past.around(words)
        ms = {LEXICAL: (time.perf_counter() - started) * 1e3}
        found = Found({LEXICAL: words}, partial if complete else (*partial, LEXICAL), ms)
        return await self._answer(asked, question, analyser, candidates, Evidence.of(words), found, stems)

    async def _answer(
        self,
        asked: Asked,
        question: Question,
        analyser: Analyser,
        candidates: Mapping[str, Candidate],
        evidence: Evidence,
        found: Found,
        stems: set[str],
    ) -> Answer:
        signals = Signals(question.authors, question.intent, question.dates, asked.query.prefer)
        ranking = Ranking(candidates, evidence, signals)
        ranked = Ranked(ranking, found, stems, question.authors)
        return await Replies(self.storage, self.copies).build(asked, ranked, analyser)

    async def _understand(self, asked: Asked, texts: Texts, analyser: Analyser) -> Question:
        text = cast(str, asked.query.query)
        keys = keys_of(text)
        known: Mapping[str, Sequence[str]] = {}
        with contextlib.suppress(TimeoutError):  # the deadline has passed then, and every arm will be named as missing
            async with asyncio.timeout(asked.left()):
                known = await texts.authors(asked.scope, list(keys))
        return read_question(text, analyser, asked.now, keys, known)

    async def _of_authors(self, asked: Asked, texts: Texts, authors: Collection[str]) -> dict[str, Candidate]:
        """Return the newest memories of the named authors: the arms left room for what only its author speaks for."""
        named = FieldTest("author", (), "in", tuple(sorted(authors)))
        page = await self.storage.list(
            asked.scope,
            filter=all_of(asked.filter, named),
            order=Order.CREATED_AT_DESC,
            limit=asked.query.k,
            after=None,
            now=asked.now,
        )
        return await texts.candidates([memory.id for memory in page.memories], now=asked.now, around=False)

    def _arms(self, asked: Asked, texts: Texts, question: Question, versions: dict[str, int]) -> dict[str, Arm]:
        limit = self._limit(asked)
        words: RanksWords = texts if self.words is None else self.words
        arms: dict[str, Arm] = {LEXICAL: lambda: lexical_arm(words, self.near, asked, question, limit)}
        if question.dates:
            arms[TIME] = lambda: time_arm(texts, asked, question, limit)
        arm, embedding = self.vector_arm, self.embedding
        if arm is not None and embedding is not None:
            arms[VECTORS] = lambda: _meaning(arm, embedding, asked, question, limit, versions)
        return arms

    def _limit(self, asked: Asked) -> int:
        return max(self.candidates, asked.query.k)

    async def _linked(self, asked: Asked, found: Found) -> Found:
        near = Evidence.of(found.scores.get(LEXICAL, {}), found.scores.get(VECTORS, {})).near()
        more = await run({LINKS: lambda: link_arm(self.storage, asked, near)}, asked.left(), may_fail=_MAY_FAIL)
        return Found(found.scores | more.scores, (*found.missing, *more.missing), found.ms | more.ms)


async def _candidates(texts: Texts, asked: Asked, near: Mapping[str, float]) -> dict[str, Candidate]:
    """Return what was found, and the neighbours of the nearest: what the others would hand on is next to nothing."""
    ids = sorted(near, key=lambda id: (-near[id], id))
    most = max(_AROUND, asked.query.k)
    found = await texts.candidates(ids[:most], now=asked.now, filter=asked.filter)
    if rest := [id for id in ids[most:] if id not in found]:
        found = found | await texts.candidates(rest, now=asked.now, around=False)
    return found


async def _meaning(
    arm: VectorArm, embedding: Embedding, asked: Asked, question: Question, limit: int, versions: dict[str, int]
) -> Scores:
    """Find memories by the cosine of their content with the question; note the version that each vector is of."""
    (vector,) = await embedding.embed([question.text])
    hits = await arm.search(asked, vector, limit)
    versions.update((hit.id, hit.version) for hit in hits)
    return {hit.id: hit.cosine for hit in hits}


def _fresh(candidate: Candidate | None, version: int) -> bool:
    return candidate is not None and candidate.version == version
