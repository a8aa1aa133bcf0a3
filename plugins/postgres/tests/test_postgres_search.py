"""Word search against the formula, and which indexes answer."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from msgspec.structs import replace

from sfm_core.model.filter import matches, parse_filter
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import ALL, Scope
from sfm_core.ports.storage import Order, TextQuery, WordGroup
from sfm_core.ports.writes import Analysis
from sfm_core.testing.build import NOW, at, ids_of, put, question, store
from sfm_postgres import keys
from sfm_postgres import search as module
from sfm_postgres.config import PostgresConfig
from sfm_postgres.database import Database, open_database
from sfm_postgres.packing import bigint, integer
from sfm_postgres.storage import PostgresStorage

TERMS = [f"t{number}" for number in range(12)]
TAGGED = parse_filter({"field": "tags", "op": "contains", "value": "x"})


def words_of(memory: Memory) -> list[str]:
    return (memory.content or "").split()


def expected(memories: Sequence[Memory], query: TextQuery) -> dict[str, float]:
    """Return the scores by the port's formula."""
    size = len(memories)
    mean = sum(len(words_of(one)) for one in memories) / size
    scores = {}
    for one in memories:
        words, score = words_of(one), 0.0
        for group in query.groups:
            best = 0.0
            for term, weight in group.alternatives:
                df = sum(term in words_of(other) for other in memories)
                tf = words.count(term)
                idf = math.log(1 + (size - df + 0.5) / (df + 0.5))
                norm = 0.9 * (1 - 0.25 + 0.25 * len(words) / mean)
                best = max(best, weight * idf * tf * 1.9 / (tf + norm))
            score += best
        if score > 0:
            scores[one.id] = score
    return scores


def query_of(draw: random.Random) -> TextQuery:
    groups = []
    for _ in range(draw.randint(1, 5)):
        alternatives = [
            (draw.choice([*TERMS, "absent"]), draw.choice([1.0, 0.5, 0.25])) for _ in range(draw.randint(1, 3))
        ]
        groups.append(WordGroup(tuple(alternatives)))
    return TextQuery(tuple(groups))


@pytest.mark.parametrize(("small", "first"), [(0, 1), (0, 20), (0, 2000), (10_000, 2000)])
async def test_scores_are_those_of_the_formula(
    storage: PostgresStorage, monkeypatch: pytest.MonkeyPatch, small: int, first: int
) -> None:
    """In steps, however few memories are scored at first, as in one statement: the best, their scores and their order are
    exact, filtered or not."""
    monkeypatch.setattr(module, "SMALL", small)
    monkeypatch.setattr(module, "_FIRST", first)
    draw = random.Random(small + first)
    weights = [1 / (rank + 1) for rank in range(len(TERMS))]
    writes = []
    for number in range(150):
        words = draw.choices(TERMS, weights, k=draw.randint(1, 12))
        fields: dict[str, Any] = {"namespace": draw.choice(["a", "a/b"]), "tags": draw.choice([(), ("x",)])}
        if number % 10 == 0:
            fields["expires_at"] = at(1)
        write = put(" ".join(words), dedupe=False, **fields)
        writes.append(replace(write, analysis=Analysis(stems=tuple(words), length=len(words))))
    memories = [one for one in await store(storage, *writes) if one.expires_at is None]
    for _ in range(25):
        query, limit = query_of(draw), draw.choice([1, 3, 10, 500])
        scope = draw.choice([ALL, Scope("a"), Scope("a", subtree=True)])
        filter = draw.choice([None, TAGGED])
        scores = expected([one for one in memories if scope.covers(one.namespace)], query)
        passing = [one.id for one in memories if one.id in scores and matches(filter, one)]
        hits = await storage.search_text(scope, query, filter=filter, limit=limit, now=at(2))
        assert [hit.score for hit in hits] == pytest.approx(
            sorted((scores[id] for id in passing), reverse=True)[:limit]
        )
        assert all(hit.score == pytest.approx(scores[hit.id]) for hit in hits)
        assert {hit.id for hit in hits} <= set(passing)
        assert [(-hit.score, hit.id) for hit in hits] == sorted((-hit.score, hit.id) for hit in hits)


async def test_a_small_scope_is_searched_by_one_statement_until_it_has_grown(
    storage: PostgresStorage, config: PostgresConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first search learns the size, and every other one keeps it."""
    monkeypatch.setattr(module, "SMALL", 3)
    database = Recording(config, "postgres/storage")
    database.asked = []
    recorded = PostgresStorage(database)

    async def statements() -> int:
        database.asked = []
        await recorded.search_text(Scope("acme/agent"), question("common"), filter=None, limit=9, now=NOW)
        return len(database.asked)

    try:
        await store(storage, put("common one"), put("common two"))
        assert [await statements() for _ in range(3)] == [2, 1, 1]
        await store(storage, put("common three"), put("common four"))
        assert [await statements() for _ in range(3)] == [1, 2, 2]
    finally:
        await database.close()


async def test_new_words_are_found_at_once_in_a_large_scope(
    storage: PostgresStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where figures are kept, a term that nothing held a moment ago is no gap."""
    monkeypatch.setattr(module, "LARGE", 3)
    await store(storage, *(put(f"common n{n}") for n in range(9)))
    scope = Scope("acme/agent")
    assert await storage.search_text(scope, question("late", "common"), filter=None, limit=1, now=NOW) != []
    [late] = await store(storage, put("late common"))
    assert ids_of(await storage.search_text(scope, question("late", "common"), filter=None, limit=1, now=NOW)) == [
        late.id
    ]


def test_stored_keys_stay_what_they_are() -> None:
    """Terms and words are stored by keys: another way to make them would find nothing of what is there."""
    assert keys.term_key("tea") == 5425287010073559344
    assert keys.term("tea") == bigint(5425287010073559344)
    assert keys.word_of(("teas", "tea")) == (415124258, bigint(3578170317370968866), integer(-1732359390))


class Recording(Database):
    """Remembers what was asked."""

    asked: list[tuple[str, Sequence[Any]]]

    async def rows(
        self, sql: str, values: Sequence[Any] = (), *, seconds: float | None = None
    ) -> list[tuple[Any, ...]]:
        """Remember and ask."""
        if not sql.startswith("EXPLAIN"):
            self.asked.append((sql, values))
        return await super().rows(sql, values, seconds=seconds)


async def plans(database: Recording) -> str:
    """Return the plans of everything that was asked."""
    asked, database.asked = database.asked, []
    lines = [await database.rows(f"EXPLAIN {sql}", values) for sql, values in asked]
    return "\n".join(line for plan in lines for (line,) in plan)


async def test_indexes_answer_scopes_words_and_filters(storage: PostgresStorage, config: PostgresConfig) -> None:
    """One namespace, a subtree, any word, a payload value, a tag, the log of a namespace: no whole table is read."""
    writes = [
        put(f"word{n % 97} other{n % 89} n{n}", namespace=f"a/{n % 40}", payload={"n": n}, tags=(f"t{n}",), time=at(n))
        for n in range(4000)
    ]
    for start in range(0, 4000, 1000):
        await store(storage, *writes[start : start + 1000])
    async with open_database(config, "postgres/storage") as plain:
        for table in ("memories", "changes"):
            await plain.rows(f"VACUUM ANALYZE {{s}}.{table}")
    database = Recording(config, "postgres/storage")
    database.asked = []
    recorded = PostgresStorage(database)
    now: datetime = at(9999)
    one, subtree = Scope("a/7"), Scope("a/7", subtree=True)
    try:
        for scope in (one, subtree):
            await recorded.list(scope, filter=None, order=Order.CREATED_AT_DESC, limit=10, after=None, now=now)
            found = await plans(database)
            assert "Index" in found
            assert "Seq Scan" not in found
            for statements in (2, 1):  # in steps, and when it is known to be small at once
                await recorded.search_text(scope, question("word5", "other7"), filter=None, limit=10, now=now)
                assert len(database.asked) == statements
                found = await plans(database)
                assert "memories_search" in found
                assert "Seq Scan" not in found
            await recorded.changes(scope, after=0, limit=100)
            assert "changes_namespace" in (found := await plans(database)), found
            await recorded.in_period(scope, at(5), at(50), filter=None, limit=10, now=now)
            assert "Seq Scan" not in (found := await plans(database)), found
        for test in (
            {"field": "payload.n", "op": "eq", "value": 7},
            {"field": "tags", "op": "contains", "value": "t7"},
        ):
            assert len(await recorded.matching(ALL, filter=parse_filter(test), limit=10, now=now)) == 1
            assert "memories_search" in (found := await plans(database)), found
        await recorded.get([writes[0].memory.id], now=now)
        assert "memories_pkey" in (found := await plans(database)), found
    finally:
        await database.close()
