"""The arms of a recall: what each of them finds, and how they run side by side under one deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Protocol

from msgspec import Struct

from sfm_core.errors import BackendUnavailable
from sfm_core.model.filter import matches
from sfm_core.ports.storage import FullText, Storage, TextQuery, WordGroup
from sfm_core.services.asked import Asked
from sfm_core.services.index_words import RanksWords
from sfm_core.services.near import NearWords, exact_groups
from sfm_core.text.dates import windows
from sfm_core.text.question import Question

__all__ = [
    "LEXICAL",
    "LINKS",
    "TIME",
    "VECTORS",
    "Arm",
    "Found",
    "Scores",
    "Texts",
    "lexical_arm",
    "link_arm",
    "run",
    "time_arm",
    "word_groups",
]

LEXICAL, VECTORS, TIME, LINKS = "lexical", "vectors", "time", "links"

LINK_SHARE = 0.5
"""Of what a memory scores, one that is a hop away gets this share, divided by the link's weight where that is above 1."""
_LINK_SOURCES = 10

Scores = dict[str, float]
Arm = Callable[[], Awaitable[Scores]]


class Found(Struct, frozen=True):
    """What the arms found by name, which arms are missing, and how many milliseconds each took."""

    scores: dict[str, Scores]
    missing: tuple[str, ...]
    ms: dict[str, float]


class Texts(Storage, FullText, Protocol):
    """A storage that ranks by words."""


async def run(arms: Mapping[str, Arm], seconds: float | None, *, may_fail: frozenset[str]) -> Found:
    """Run `arms` side by side for at most `seconds`; those that miss it are cancelled and named as missing.

    An arm out of `may_fail` whose backend is unavailable is missing as well; any other error is raised, and the other arms
    are cancelled first.
    """
    ms: dict[str, float] = {}

    async def timed(name: str, arm: Arm) -> Scores:
        started = time.perf_counter()
        try:
            return await arm()
        finally:
            ms[name] = (time.perf_counter() - started) * 1e3

    if len(arms) == 1 and seconds is None and not may_fail.intersection(arms):
        return Found({name: await timed(name, arm) for name, arm in arms.items()}, (), ms)
    tasks = {name: asyncio.ensure_future(timed(name, arm)) for name, arm in arms.items()}
    try:
        if tasks:
            await asyncio.wait(tasks.values(), timeout=seconds)
        done = {name: task for name, task in tasks.items() if task.done()}
    finally:
        await _stop(tasks.values())
    down = [
        name for name, task in done.items() if name in may_fail and isinstance(task.exception(), BackendUnavailable)
    ]
    scores = {name: task.result() for name, task in done.items() if name not in down}
    return Found(scores, tuple(name for name in arms if name not in scores), ms)


async def _stop(tasks: Collection[asyncio.Future[Scores]]) -> None:
    """Cancel what still runs and wait until it has ended: no arm outlives its recall."""
    pending = [task for task in tasks if not task.done()]
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.gather(*pending, return_exceptions=True)


async def word_groups(near: NearWords | None, asked: Asked, question: Question) -> tuple[WordGroup, ...]:
    """Return the index terms to look for: one group per word, near words of the store at a discount."""
    if near is None or not question.words:
        return exact_groups(question.words)
    return await near.groups(asked.scope, question.words)


async def lexical_arm(text: RanksWords, near: NearWords | None, asked: Asked, question: Question, limit: int) -> Scores:
    """Find memories by any word of the question, or by a near word."""
    if not question.words:
        return {}
    groups = await word_groups(near, asked, question)
    hits = await text.search_text(asked.scope, TextQuery(groups), filter=asked.filter, limit=limit, now=asked.now)
    return {hit.id: hit.score for hit in hits}


async def time_arm(text: Texts, asked: Asked, question: Question, limit: int) -> Scores:
    """Find memories of the periods that the question names, newest first; then those shortly around them."""
    found: Scores = {}
    for first, last in windows(question.dates, asked.now):
        ids = await text.in_period(asked.scope, first, last, filter=asked.filter, limit=limit, now=asked.now)
        found.update(dict.fromkeys(ids, 0.0))
        if len(found) >= limit:
            break
    return dict.fromkeys(list(found)[:limit], 0.0)


async def link_arm(storage: Storage, asked: Asked, near: Mapping[str, float]) -> Scores:
    """Find memories up to `expand_links` hops from the nearest ones; each hop halves what is handed on."""
    front = dict(sorted(near.items(), key=lambda item: (-item[1], item[0]))[:_LINK_SOURCES])
    seen = set(front)
    found: Scores = {}
    for _ in range(asked.query.expand_links):
        links = await storage.links(list(front), relation=None, direction="both", now=asked.now)
        reached: Scores = {}
        for link in links:
            for here, there in ((link.source, link.target), (link.target, link.source)):
                if here in front and there not in seen:
                    share = front[here] * LINK_SHARE / max(1.0, link.weight)
                    reached[there] = max(share, reached.get(there, 0.0))
        seen |= reached.keys()
        found |= reached
        front = reached
        if not front:
            break
    return await _allowed(storage, asked, found)


async def _allowed(storage: Storage, asked: Asked, found: Scores) -> Scores:
    if asked.filter is None or not found:
        return found
    memories = await storage.get(list(found), now=asked.now)
    return {memory.id: found[memory.id] for memory in memories if memory and matches(asked.filter, memory)}
