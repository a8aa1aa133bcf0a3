"""Recall through the whole system: what holds for every question."""

from __future__ import annotations

import itertools

from sfm_core.memory import AgentMemory


async def test_a_word_outranks_those_that_look_like_it(memory: AgentMemory) -> None:
    """Made-up words of the same letters are near words of each other, but the one that was asked for comes first."""
    words = ["q" + "".join(letters) + "x" for letters in itertools.permutations("abcaab", 6)][::9]
    distinct = sorted(set(words))
    await memory.remember_many([{"content": f"the {word}"} for word in distinct])
    for word in distinct:
        assert (await memory.recall(f"the {word}", k=1)).hits[0].memory.content == f"the {word}"
