"""Near words: which words of the store may stand for a word of the question, by a static table of word vectors."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import accumulate

from sfm_core.model.namespace import Scope
from sfm_core.ports.embedding import WordIndex, WordVectors
from sfm_core.ports.storage import Vocabulary, WordGroup
from sfm_core.text.question import QuestionWord

__all__ = ["NearWords", "exact_groups"]

FLOOR = 0.3
"""Cosines up to this say nothing; above it they count from 0 to 1."""
MOST = 20
ASKED = 24
"""Only so many words of a question get near words: a long text is found by its own."""
_CLOSEST = 0.99
"""Below 1, so that a word outranks one that only has the same vector (rare words of equal pieces have)."""
_REMEMBERED = 256
_SMALL = 2000
_PATIENCE = 20.0


def exact_groups(words: Sequence[QuestionWord]) -> tuple[WordGroup, ...]:
    """Return one group per stem, without near words."""
    return tuple(WordGroup(((stem, 1.0),)) for stem in dict.fromkeys(word.stem for word in words))


class NearWords:
    """Finds near words over the vocabularies of a storage.

    One index per scope is kept, the least recently used ones dropped above `max_bytes`. An index follows its vocabulary at
    once while that is small; reading a large one again is put off until 20 times the duration of the last reading has
    passed, so that a busy writer costs a reader at most a few per cent. A new word is found under its own stem regardless.
    """

    def __init__(
        self,
        words: WordVectors,
        vocabulary: Vocabulary,
        *,
        max_bytes: int = 32 * 2**20,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._words = words
        self._vocabulary = vocabulary
        self._max_bytes = max_bytes
        self._ticks = ticks
        self._scopes: OrderedDict[Scope, _Index] = OrderedDict()
        self._reading = asyncio.Lock()

    async def groups(self, scope: Scope, words: Sequence[QuestionWord]) -> tuple[WordGroup, ...]:
        """Return one group per stem of the question: the stem with weight 1, stems of near words below it."""
        asked = [word.word for word in words[:ASKED] if word.near]
        if not asked:
            return exact_groups(words)
        near = (await self._index(scope)).alternatives(asked)
        groups: dict[str, WordGroup] = {}
        for word in words:
            if word.stem not in groups:
                weights = {**near.get(word.word, {}), word.stem: 1.0}
                groups[word.stem] = WordGroup(tuple(weights.items()))
        return tuple(groups.values())

    async def _index(self, scope: Scope) -> _Index:
        token = await self._vocabulary.words_token(scope)
        index = self._scopes.get(scope)
        if index is None or index.outdated(token, self._ticks()):
            async with self._reading:
                index = self._scopes.get(scope)
                if index is None or index.outdated(token, self._ticks()):
                    index = await self._read(scope, token, index)
        self._scopes[scope] = index
        self._scopes.move_to_end(scope)
        self._shrink()
        return index

    async def _read(self, scope: Scope, token: object, old: _Index | None) -> _Index:
        started = self._ticks()
        pairs = await self._vocabulary.words(scope)
        count = old.count if old is not None else 0
        if old is not None and old.begins(pairs):
            index = await _built(old.index.extended, [word for word, _ in pairs[count:]])
        else:
            index = await _built(self._words.index, [word for word, _ in pairs])
        ended = self._ticks()
        patience = _PATIENCE * (ended - started) if len(pairs) > _SMALL else 0.0
        return _Index(token, pairs, index, ended + patience)

    def _shrink(self) -> None:
        held = sum(index.nbytes for index in self._scopes.values())
        while held > self._max_bytes and len(self._scopes) > 1:
            held -= self._scopes.popitem(last=False)[1].nbytes


class _Index:
    """The words of one scope at one moment."""

    def __init__(self, token: object, pairs: Sequence[tuple[str, str]], index: WordIndex, until: float) -> None:
        self.index = index
        self.count = len(pairs)
        # One text and where each stem ends: a tenth of what as many Python objects take.
        self._stems = "".join([stem for _, stem in pairs])
        self._ends = array("L", accumulate([len(stem) for _, stem in pairs], initial=0))
        self.nbytes = index.nbytes + len(self._stems) + self._ends.itemsize * len(self._ends)
        self._token = token
        self._hash = hash(tuple(pairs))
        self._until = until
        self._known: dict[str, dict[str, float]] = {}

    def outdated(self, token: object, tick: float) -> bool:
        return token != self._token and tick >= self._until

    def begins(self, pairs: Sequence[tuple[str, str]]) -> bool:
        """Tell whether `pairs` starts with the words of this index."""
        return len(pairs) >= self.count and hash(tuple(pairs[: self.count])) == self._hash

    def alternatives(self, words: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return for each word the stems that may stand for it, with the best weight of each."""
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        if missing := [word for word in words if word not in self._known]:
            for word, found in zip(missing, self.index.nearest(missing, limit=MOST, floor=FLOOR), strict=True):
                weights: dict[str, float] = {}
                for position, cosine in found:
                    weights.setdefault(self._stem(position), min(_CLOSEST, (cosine - FLOOR) / (1 - FLOOR)))
                self._known[word] = weights
        return {word: self._known[word] for word in words}

    def _stem(self, position: int) -> str:
        return self._stems[self._ends[position] : self._ends[position + 1]]


async def _built(build: Callable[[Sequence[str]], WordIndex], words: list[str]) -> WordIndex:
    """Build an index, in a thread when that takes longer than the event loop should wait."""
    return await asyncio.to_thread(build, words) if len(words) > _SMALL else build(words)
