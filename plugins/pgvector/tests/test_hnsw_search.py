"""Searches of namespaces too large to be looked at whole."""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from sfm_core.config.secret import Secret
from sfm_core.model.filter import parse_filter
from sfm_core.model.namespace import ALL
from sfm_core.ports.vectors import Point
from sfm_core.testing.build import HERE, ids_of, memory
from sfm_core.testing.vectors import point
from sfm_pgvector.config import PgvectorConfig
from sfm_pgvector.index import WHERE
from sfm_pgvector.statements import Statement, approximate, exact
from sfm_pgvector.vectors import PgvectorVectors
from sfm_postgres.database import Database

RARE = parse_filter({"field": "tags", "op": "contains", "value": "rare"})
COMMON = parse_filter({"not": {"field": "tags", "op": "contains", "value": "rare"}})
K = 10


@pytest.fixture
def config(config: PgvectorConfig) -> PgvectorConfig:
    """What sorts only where it must, as the server does with far more rows: it would rather sort three thousand."""
    url = Secret(f"{config.url.reveal()}?options=-c%20enable_sort%3Doff")
    return replace(config, url=url)


@pytest.fixture
async def large(
    opening: Any, clustered: Any, config: PgvectorConfig, peek: Callable[[str], Any]
) -> AsyncIterator[PgvectorVectors]:
    """The clustered points in an index where 500 are many, and whose statistics are up to date."""
    async with opening(exact_below=500) as vectors:
        for start in range(0, len(clustered.points), 1_000):
            await vectors.upsert(clustered.points[start : start + 1_000])
        index = await vectors.greet()
        peek(f"ANALYZE {index.table.replace('{s}', config.schema)}")
        yield vectors


async def plan_of(config: PgvectorConfig, statement: Statement) -> str:
    """Return how the server carries a statement out."""
    database = Database(config, WHERE)

    async def explain(connection: Any) -> list[tuple[str]]:
        text = database.text(f"EXPLAIN {statement.sql}")
        return list(await (await connection.execute(text, statement.values)).fetchall())

    try:
        return "\n".join(row[0] for row in await database.use(explain))
    finally:
        await database.close()


async def test_only_the_approximate_statement_reads_the_hnsw_index(
    large: PgvectorVectors, config: PgvectorConfig
) -> None:
    """The other never does, cheap as it would be."""
    index = await large.greet()
    vector = [1.0] * 16
    for scope in (HERE, ALL):
        for filter in (None, COMMON, RARE):
            assert "_walk_idx" in await plan_of(config, approximate(index, scope, vector, K, filter))
            assert "_walk_idx" not in await plan_of(config, exact(index, scope, vector, K, filter, None))


async def test_the_server_counts_scans_of_the_hnsw_index(
    large: PgvectorVectors, clustered: Any, config: PgvectorConfig, peek: Callable[[str], Any]
) -> None:
    """One for each search of the large namespace, none for those among named ids, or for nearly everything."""
    question = clustered.questions(1)[0]
    for _ in range(5):
        await large.search(HERE, question, limit=K)
    await large.search(HERE, question, limit=K, among=ids_of(clustered.points[:50]))
    await large.search(HERE, question, limit=len(clustered.points))
    await large.close()
    asked = (
        "SELECT sum(idx_scan)::int FROM pg_stat_user_indexes "
        f"WHERE schemaname = '{config.schema}' AND indexrelname LIKE '%_walk_idx'"
    )
    # A server process hands in its figures when it ends.
    for _ in range(200):
        if peek(asked) == [(5,)]:
            break
        await asyncio.sleep(0.02)
    assert peek(asked) == [(5,)]


async def test_a_filtered_search_is_planned_for_the_values_of_its_filter(
    large: PgvectorVectors, clustered: Any
) -> None:
    """However often it comes: only so can the server tell whether few points pass, and look at those."""
    for question in clustered.questions(15):
        await large.search(HERE, question, limit=K, filter=RARE)
    [(custom, generic)] = await large._database.rows(
        "SELECT custom_plans, generic_plans FROM pg_prepared_statements WHERE statement LIKE 'WITH near AS %%'"
    )
    assert custom >= 10
    assert generic == 0


@pytest.mark.parametrize("which", ["all", "most", "one in a hundred"])
async def test_nearly_all_of_the_true_nearest_are_found(large: PgvectorVectors, clustered: Any, which: str) -> None:
    """At least 95 of a hundred: without a filter, with one that lets most through, and with one that lets 1 % through."""
    tagged = clustered.tagged
    filter, mask = {"all": (None, True), "most": (COMMON, ~tagged), "one in a hundred": (RARE, tagged)}[which]
    shares = []
    for question in clustered.questions(40):
        found = ids_of(await large.search(HERE, question, limit=K, filter=filter))
        assert len(found) == K
        shares.append(len(clustered.nearest(question, K, mask).intersection(found)) / K)
    assert statistics.fmean(shares) >= 0.95


async def test_a_filter_that_hnsw_cannot_fill_is_filled_exactly(opening: Any, clustered: Any) -> None:
    """Even where a scan gives up at once, as many hits come back as the restriction holds, and the right ones."""
    rare = int(clustered.tagged.sum())
    async with opening(exact_below=500, ef_search=1, max_scan_tuples=1) as vectors:
        await vectors.upsert(clustered.points)
        for question in clustered.questions(5):
            for limit in (1, K, rare, rare + 1):
                found = await vectors.search(HERE, question, limit=limit, filter=RARE)
                assert len(found) == min(limit, rare)
            assert set(ids_of(found)) == clustered.nearest(question, rare, clustered.tagged)


async def test_hits_of_hnsw_are_best_first_with_ties_by_id(opening: Any, clustered: Any) -> None:
    """As those of an exact search."""
    question = clustered.questions(1)[0]
    same = sorted((point(memory(f"s {n}"), question) for n in range(5)), key=lambda one: one.id)
    async with opening(exact_below=20) as vectors:
        await vectors.upsert([*reversed(same), *clustered.points[:500]])
        found = await vectors.search(HERE, question, limit=20)
    assert ids_of(found[:5]) == ids_of(same)
    assert [hit.cosine for hit in found] == sorted((hit.cosine for hit in found), reverse=True)


async def test_a_crowd_of_equal_vectors_hides_nobody(opening: Any, config: PgvectorConfig, peek: Any) -> None:
    """A text that came 800 times among 1,600 others: each of these is found by its own vector."""
    draw = random.Random(7)
    crowd = [draw.gauss(0, 1) for _ in range(16)]
    rows = [[draw.gauss(0, 1) for _ in range(16)] for _ in range(1_600)]
    points = [point(memory(f"n {n}"), row) for n, row in enumerate([*rows, *[crowd] * 800])]
    async with opening(exact_below=20) as vectors:
        for start in range(0, 2_400, 400):
            await vectors.upsert(points[start // 400 :: 6])
        index = await vectors.greet()
        peek(f"ANALYZE {index.table.replace('{s}', config.schema)}")
        for one in points[:1_600:4]:
            [best] = await vectors.search(HERE, one.vector, limit=1)
            assert best.id == one.id


async def test_deleted_and_moved_points_do_not_come_back(large: PgvectorVectors, clustered: Any) -> None:
    """HNSW forgets nothing before a vacuum; the answers do."""
    question = clustered.questions(1)[0]
    first = await large.search(HERE, question, limit=K)
    await large.delete([(hit.id, 2) for hit in first[:5]])
    away = [-number for number in question]
    memories = {one.id: one.memory for one in clustered.points}
    await large.upsert([point(memories[hit.id], away, 2) for hit in first[5:]])
    found = await large.search(HERE, question, limit=K)
    assert len(found) == K
    assert {hit.id for hit in found}.isdisjoint(hit.id for hit in first)


@pytest.mark.parametrize(
    ("dimension", "precision", "kind", "hnsw"),
    [
        (16, "half", "halfvec", True),
        (16, "full", "vector", True),
        (1_600, "half", "halfvec", True),
        (1_600, "full", "vector", True),
        (4_000, "half", "halfvec", True),
        (4_000, "full", "vector", True),
        (4_001, "half", "halfvec", False),
        (4_001, "full", "vector", False),
    ],
)
async def test_the_type_of_the_vectors_goes_by_the_dimension(
    opening: Any, dimension: int, precision: str, kind: str, hnsw: bool
) -> None:
    """Whatever it is, points are found, with their cosine."""
    draw = random.Random(dimension)
    async with opening(dimension, precision=precision, exact_below=1) as vectors:
        index = await vectors.greet()
        assert (index.kind, index.hnsw) == (kind, hnsw)
        points = [point(memory(f"n {n}"), [draw.gauss(0, 1) for _ in range(dimension)]) for n in range(8)]
        await vectors.upsert(points)
        for one in points:
            [best] = await vectors.search(HERE, one.vector, limit=1)
            assert (best.id, best.cosine) == (one.id, pytest.approx(1.0, abs=1e-3))


async def test_without_hnsw_every_search_is_exact(opening: Any, clustered: Any) -> None:
    """By setting: no index is kept up with the writes."""
    async with opening(hnsw=False, exact_below=1) as vectors:
        assert not (await vectors.greet()).hnsw
        await vectors.upsert(clustered.points[:500])
        question = clustered.questions(1)[0]
        found = await vectors.search(HERE, question, limit=K)
        rows = [sum(a * b for a, b in zip(one.vector, question, strict=True)) for one in clustered.points[:500]]
        assert [hit.cosine for hit in found] == pytest.approx(sorted(rows, reverse=True)[:K], abs=1e-3)


async def test_numbers_at_the_edge_of_their_range_are_stored(opening: Any) -> None:
    """Half precision ends at 65,504: vectors are brought to length 1 first."""
    async with opening(precision="half") as vectors:
        for scale in (1e-300, 1e-40, 1e6, 1e300):
            one = memory(f"scale {scale}")
            row = [scale, 2 * scale, *[0.0] * 14]
            await vectors.upsert([Point(one.id, 1, one.namespace, row, one)])
            hits = await vectors.search(HERE, row, limit=9)
            assert all(hit.cosine == pytest.approx(1.0, abs=1e-3) for hit in hits)
