"""The embedding port: vectors for texts, or for single words."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

__all__ = ["Embedding", "EmbeddingCapability", "WordIndex", "WordVectors"]


class EmbeddingCapability(StrEnum):
    """What an embedding backend is for; it has at least one of the two."""

    TEXTS = "texts"
    """Embeds whole texts (`Embedding`): the vector arm."""
    WORDS = "words"
    """Embeds single words (`WordVectors`): near words in the lexical arm."""


class Embedding(Protocol):
    """Capability TEXTS."""

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        ...

    @property
    def fingerprint(self) -> str:
        """Names model, version and quantisation: equal for embedders whose vectors may be compared, different otherwise.

        Proven by test_two_openings_have_one_fingerprint.
        """
        ...

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one unit vector (finite, of `dimension`) per text, in order; [] for none.

        The same text gives the same vector alone or in a batch within 1e-2 of cosine: test_a_batch_does_not_change_a_vector.
        Never blocks the event loop for longer than a few milliseconds (work runs in a thread).

        Proven by test_every_text_gets_a_unit_vector.
        """
        ...


class WordIndex(Protocol):
    """An immutable set of words that can be asked for the nearest ones to any word; safe to use from many threads."""

    @property
    def nbytes(self) -> int:
        """How much memory the index holds, in bytes; caches are bounded by it."""
        ...

    def nearest(self, words: Sequence[str], *, limit: int, floor: float) -> list[list[tuple[int, float]]]:
        """Return, for each lower-case word, its at most `limit` nearest indexed words with a cosine above `floor`.

        Each is (position among the indexed words, cosine), best first, ties by position. A word that cannot be placed has
        none; a word that is indexed finds itself. No I/O; one call for several words costs little more than for one.
        test_nearest_words_are_the_true_ones.
        """
        ...

    def extended(self, words: Sequence[str]) -> WordIndex:
        """Return an index of these words followed by `words`; costs what the new words cost, plus a copy.

        test_an_extended_index_equals_a_fresh_one.
        """
        ...


class WordVectors(Protocol):
    """Capability WORDS. Vectors are unit vectors (zero for a word that cannot be placed)."""

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        ...

    def vectors(self, words: Sequence[str]) -> Any:
        """Return a float32 array (len(words), dimension), one row per lower-case word. Fast (microseconds a word), no I/O.

        Proven by test_every_word_gets_a_row.
        """
        ...

    def index(self, words: Sequence[str]) -> WordIndex:
        """Return an index of distinct lower-case `words` (maybe none), in their order. No I/O."""
        ...
