"""The word search against BM25 computed by hand."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sfm_core.model.filter import matches, parse_filter
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope
from sfm_core.ports.storage import TextQuery, WordGroup
from sfm_core.testing.build import NOW, analyse, at, erase, memory, new_id, put, remove, replacing, revive, store
from sfm_sqlite.shelf import Shelf
from sfm_sqlite.storage import SqliteStorage

WORDS = [f"w{n}" for n in range(12)]
QUIET = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

texts = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)
groups = st.lists(
    st.tuples(st.sampled_from([*WORDS, "never"]), st.sampled_from([1.0, 0.5, 0.25])), min_size=1, max_size=4
).map(lambda alternatives: WordGroup(tuple(alternatives)))
questions = st.lists(groups, min_size=1, max_size=4).map(lambda groups: TextQuery(tuple(groups)))


def by_hand(memories: Sequence[Memory], query: TextQuery) -> dict[str, float]:
    """Return the score of every memory, by the port's formula, term by term."""
    stems = {one.id: analyse(one.content).stems for one in memories}
    mean = sum(map(len, stems.values())) / len(stems) if any(stems.values()) else 1.0
    scores: dict[str, float] = {}
    for id, held in stems.items():
        counts, total = Counter(held), 0.0
        for group in query.groups:
            best = 0.0
            for term, weight in group.alternatives:
                holding = sum(term in other for other in stems.values())
                idf = math.log(1 + (len(stems) - holding + 0.5) / (holding + 0.5))
                tf = counts[term]
                best = max(best, weight * idf * tf * 1.9 / (tf + 0.9 * (0.75 + 0.25 * len(held) / mean)))
            total += best
        scores[id] = total
    return {id: score for id, score in scores.items() if score > 0}


async def check(storage: SqliteStorage, scope: Scope, live: Sequence[Memory], query: TextQuery) -> None:
    expected = by_hand(live, query)
    for limit in (1, 3, 99):
        found = await storage.search_text(scope, query, filter=None, limit=limit, now=NOW)
        assert len(found) == min(limit, len(expected))
        # Sums in another order differ in the last digits, so ties are compared by their scores.
        best = sorted(expected.values(), reverse=True)[:limit]
        for hit, score in zip(found, best, strict=True):
            assert math.isclose(hit.score, score, rel_tol=1e-9)
            assert math.isclose(hit.score, expected[hit.id], rel_tol=1e-9)
        assert [(-hit.score, hit.id) for hit in found] == sorted((-hit.score, hit.id) for hit in found)


@QUIET
@given(contents=st.lists(texts, min_size=1, max_size=12), query=questions, seed=st.integers(0, 99))
async def test_scores_are_those_of_the_formula_after_any_writes(
    storage: SqliteStorage, contents: list[str], query: TextQuery, seed: int
) -> None:
    """Updates, tombstones, undo, erasure and expiry included, in one namespace and over several."""
    root, draw = new_id(), random.Random(seed)
    scope = Scope(root, subtree=True)
    names = [root, f"{root}/a", f"{root}/b"]
    live: dict[str, Memory] = {}
    for content in contents:
        expires = at(-5) if draw.random() < 0.1 else None
        one = memory(content or "-", namespace=draw.choice(names), expires_at=expires)
        [one] = await store(storage, put(one, dedupe=False))
        if expires is None:
            live[one.id] = one
        if live and draw.random() < 0.5:
            await disturb(storage, live, draw)
        if draw.random() < 0.5:
            await check(storage, scope, list(live.values()), query) if live else None
    if live:
        await check(storage, scope, list(live.values()), query)
        here = [one for one in live.values() if one.namespace == root]
        if here:
            await check(storage, Scope(root), here, query)


async def disturb(storage: SqliteStorage, live: dict[str, Memory], draw: random.Random) -> None:
    one = draw.choice(list(live.values()))
    what = draw.choice(["replace", "remove", "erase", "undo"])
    if what == "replace":
        [live[one.id]] = await store(storage, replacing(one, content=" ".join(draw.choices(WORDS, k=4))))
        return
    if what == "erase":
        await store(storage, erase(one))
    else:
        operation = new_id()
        await store(storage, remove(one, operation=operation))
        if what == "undo":
            [live[one.id]] = await store(storage, revive(one, operation))
            return
    del live[one.id]


async def test_many_writes_after_a_search_are_found_like_many_before(storage: SqliteStorage) -> None:
    """More than are scanned unsorted, and words that a memory repeats more often than a byte counts."""
    draw = random.Random(7)
    contents = [" ".join(draw.choices(WORDS, k=draw.randint(1, 20))) for _ in range(1500)]
    contents += ["w1 " * 300 + "w2", "w1 " * 254, "w1 " * 255]
    live = []
    query = TextQuery((WordGroup((("w1", 1.0), ("w3", 0.5))), WordGroup((("w2", 1.0),))))
    for start in range(0, len(contents), 501):
        live += await store(storage, *(put(text, dedupe=False) for text in contents[start : start + 501]))
        await check(storage, Scope("acme/agent"), live, query)


async def test_a_rare_filter_still_yields_all_that_pass(storage: SqliteStorage) -> None:
    """The filter is applied to ever more of the ranking until there are enough."""
    memories = [memory(f"w1 n{n}", position=n, importance=n % 10 / 10) for n in range(600)]
    await store(storage, *(put(one, dedupe=False) for one in memories))
    for json in (
        {"field": "position", "op": "gte", "value": 593},
        {"field": "importance", "op": "eq", "value": 0.3},
        {"field": "position", "op": "lt", "value": 0},
    ):
        filter = parse_filter(json)
        query = TextQuery((WordGroup((("w1", 1.0),)),))
        found = await storage.search_text(Scope("acme/agent"), query, filter=filter, limit=20, now=NOW)
        assert [hit.id for hit in found] == sorted(one.id for one in memories if matches(filter, one))[:20]


async def test_any_stem_is_found_as_it_was_given(storage: SqliteStorage) -> None:
    """Terms are opaque: signs, emoji, NUL and blanks included."""
    stems = ["naïve", "nai\u0308ve", "漢字", "\U0001f600", "o'clock", "a b", "A", "a", "a\0b", "%", "x" * 5000]
    ids = {}
    for stem in stems:
        write = put(f"about {stem!r}", dedupe=False)
        write = replace(write, analysis=replace(write.analysis, stems=(stem,), words=((stem, stem),)))
        [one] = await store(storage, write)
        ids[stem] = one.id
    for stem in stems:
        query = TextQuery((WordGroup(((stem, 1.0),)),))
        found = await storage.search_text(Scope("acme/agent"), query, filter=None, limit=9, now=NOW)
        assert [hit.id for hit in found] == [ids[stem]]


def test_a_shelf_drops_what_it_never_held_without_a_word() -> None:
    """Deletions of other processes' memories may come before anything was loaded."""
    shelf = Shelf()
    shelf.drop(5)
    shelf.put(7, bytes(16), None, b"")
    shelf.drop(7)
    assert not shelf.view(0).live.any()


async def test_more_namespaces_than_memory_allows_are_found_all_the_same(opening: Callable[..., Any]) -> None:
    """Those that were let go are read again, alone and together."""
    async with opening(word_memory_megabytes=0) as storage:
        live = await store(storage, *(put(f"w1 w{n}", namespace=f"n/{n % 3}", dedupe=False) for n in range(9)))
        query = TextQuery((WordGroup((("w1", 1.0), ("w4", 1.0))),))
        for name in ("n/0", "n/1", "n/2", "n/0"):
            await check(storage, Scope(name), [one for one in live if one.namespace == name], query)
        await check(storage, Scope("n", subtree=True), live, query)


async def test_a_memory_is_found_until_the_instant_it_expires(storage: SqliteStorage) -> None:
    """Not at that instant itself."""
    await store(storage, put("w1", expires_at=at(10)))
    query = TextQuery((WordGroup((("w1", 1.0),)),))
    for seconds, count in ((0, 1), (9.999999, 1), (10, 0), (11, 0)):
        now = NOW + timedelta(seconds=seconds)
        assert len(await storage.search_text(Scope("acme/agent"), query, filter=None, limit=9, now=now)) == count
