"""Made-up memories: English words drawn by Zipf's law, so that full text and near words have real work to do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from importlib import resources
from itertools import accumulate
from typing import Any

import numpy as np

__all__ = ["DIMENSION", "embed", "memories", "namespace", "question"]

DIMENSION = 384
_WORDS_EACH = 40


def _vocabulary() -> list[str]:
    """Whole words of the near-words table, in its order, which is roughly by frequency."""
    text = (resources.files("sfm_nearwords") / "data" / "vocab.txt").read_text(encoding="utf-8")
    return [word for word in text.split("\n") if word.isascii() and word.isalpha() and len(word) > 2]


_WORDS = _vocabulary()
_WEIGHTS = list(accumulate(1 / (rank + 20) for rank in range(len(_WORDS))))


def namespace(number: int) -> str:
    """Return the name of the namespace with this number."""
    return f"bench/agent-{number}"


def memories(count: int, namespaces: int, *, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Yield `count` memories of 40 words, spread evenly over the namespaces, in threads of twenty turns."""
    draw = random.Random(seed)
    for i in range(count):
        turn = i // namespaces
        yield {
            "content": " ".join(draw.choices(_WORDS, cum_weights=_WEIGHTS, k=_WORDS_EACH)),
            "namespace": namespace(i % namespaces),
            "author": ("Ada", "Bob")[turn % 2],
            "thread": f"talk-{turn // 20}",
            "position": turn % 20,
        }


def question(draw: random.Random) -> str:
    """Return a question of five content words."""
    return f"When did Ada {' '.join(draw.choices(_WORDS, cum_weights=_WEIGHTS, k=5))}?"


def embed(texts: list[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return one random unit vector per text, the same for the same text in one process: stands in for a model."""
    rows = np.empty((len(texts), DIMENSION), np.float32)
    for i, text in enumerate(texts):
        rows[i] = np.random.default_rng(hash(text) & 0xFFFFFFFF).standard_normal(DIMENSION, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
