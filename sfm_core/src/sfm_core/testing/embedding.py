"""The conformance suites of the embedding port: texts and words."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import numpy as np
import pytest

from sfm_core.plugins.types import Port
from sfm_core.ports.embedding import Embedding, EmbeddingCapability, WordVectors
from sfm_core.testing.opener import Opener
from sfm_core.testing.storage_puts import ODD_TEXTS
from sfm_core.testing.suite import Suite

__all__ = ["TextEmbeddingSuite", "WordVectorsSuite"]

TEXTS = (
    "Ada moved to Turin in the spring.",
    "Where does Ada live?",
    "tea",
    "The quick brown fox jumps over the lazy dog, and then it does it again. " * 20,
    "Das ist ein deutscher Satz.",
    "1 + 1 = 2",
)
WORDS = ("tea", "coffee", "rain", "umbrella", "guitar", "piano", "dog", "cat", "car", "train", "happy", "glad")


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the cosine of two unit vectors."""
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


class TextEmbeddingSuite(Suite):
    """What an embedding with TEXTS must do."""

    port = Port.EMBEDDING
    capability = EmbeddingCapability.TEXTS

    async def test_every_text_gets_a_unit_vector(self, backend: Embedding) -> None:
        """Finite, of the dimension, in order; none for none; odd texts, an empty and a very long one too."""
        odd = [text[:20_000] for text in ODD_TEXTS.values()]
        vectors = await backend.embed([*TEXTS, *odd, "", " "])
        assert len(vectors) == len(TEXTS) + len(odd) + 2
        for vector in vectors:
            assert len(vector) == backend.dimension
            assert all(math.isfinite(value) for value in vector)
            assert cosine(vector, vector) == pytest.approx(1.0, abs=1e-3)
        assert len(await backend.embed([])) == 0

    async def test_a_batch_does_not_change_a_vector(self, backend: Embedding) -> None:
        """Alone, among others, in another order, at the same time: the same vector."""
        together = await backend.embed(TEXTS)
        turned = (await backend.embed(TEXTS[::-1]))[::-1]
        alone = await asyncio.gather(*(backend.embed([text]) for text in TEXTS))
        for number in range(len(TEXTS)):
            for other in (turned[number], alone[number][0]):
                assert cosine(together[number], other) == pytest.approx(1.0, abs=1e-2)

    async def test_other_texts_have_other_vectors(self, backend: Embedding) -> None:
        """No two of these texts are taken for the same."""
        vectors = await backend.embed(TEXTS)
        pairs = [cosine(a, b) for n, a in enumerate(vectors) for b in vectors[:n]]
        assert max(pairs) < 0.98

    async def test_two_openings_have_one_fingerprint(self, opener: Opener) -> None:
        """Fingerprint, dimension and vectors of the same backend are the same when it is opened again."""
        first: Embedding = await opener.open()
        before = (first.fingerprint, first.dimension, await first.embed([TEXTS[0]]))
        again: Embedding = await opener.reopen()
        assert (again.fingerprint, again.dimension) == before[:2]
        assert again.fingerprint
        assert cosine((await again.embed([TEXTS[0]]))[0], before[2][0]) == pytest.approx(1.0, abs=1e-2)


class WordVectorsSuite(Suite):
    """What an embedding with WORDS must do."""

    port = Port.EMBEDDING
    capability = EmbeddingCapability.WORDS

    async def test_every_word_gets_a_row(self, backend: WordVectors) -> None:
        """A unit vector, or zeros for a word that cannot be placed; in order, the same again, none for none."""
        words = [*WORDS, "", "\x00", "日本", "😀", "x" * 500, "n't", "zzzzqqq"]
        rows = backend.vectors(words)
        assert (rows.shape, rows.dtype) == ((len(words), backend.dimension), np.float32)
        norms = np.linalg.norm(rows, axis=1)
        assert all(norm == pytest.approx(1.0, abs=0.02) or norm == 0 for norm in norms)
        assert np.all(norms[: len(WORDS)] > 0)
        assert np.array_equal(backend.vectors(words[::-1])[::-1], rows)
        assert backend.vectors([]).shape == (0, backend.dimension)

    async def test_nearest_words_are_the_true_ones(self, backend: WordVectors) -> None:
        """As a plain scan of the rows finds them: best first, above the floor, at most the limit, itself included."""
        index = backend.index(WORDS)
        rows = backend.vectors(WORDS)
        asked = [*WORDS, "violin", "bicycle"]
        for word, near in zip(asked, index.nearest(asked, limit=4, floor=0.1), strict=True):
            cosines = rows @ backend.vectors([word])[0]
            best = sorted((float(c) for c in cosines if c > 0.1), reverse=True)[:4]
            assert [c for _, c in near] == pytest.approx(best, abs=0.05)
            assert [float(cosines[place]) for place, _ in near] == pytest.approx(best, abs=0.05)
            if word in WORDS:
                assert near[0][0] == WORDS.index(word)
        assert index.nbytes > 0

    async def test_an_extended_index_equals_a_fresh_one(self, backend: WordVectors) -> None:
        """Whatever the parts; the former index stays as it was."""
        first = backend.index(WORDS[:5])
        before = first.nearest(WORDS, limit=9, floor=0.0)
        grown = first.extended(WORDS[5:9]).extended([]).extended(WORDS[9:])
        asked = [*WORDS, "violin"]
        fresh = backend.index(WORDS).nearest(asked, limit=9, floor=0.0)
        for ours, theirs in zip(grown.nearest(asked, limit=9, floor=0.0), fresh, strict=True):
            assert [place for place, _ in ours] == [place for place, _ in theirs]
            assert [c for _, c in ours] == pytest.approx([c for _, c in theirs], abs=1e-4)
        assert first.nearest(WORDS, limit=9, floor=0.0) == before
