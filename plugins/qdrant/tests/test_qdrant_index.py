"""What the plugin keeps on a server: names, aliases, versions under races, payloads. On the stub, and on a server if named."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import pytest_asyncio

from sfm_core.errors import CapabilityNotSupported, ConfigError
from sfm_core.model.filter import matches, parse_filter
from sfm_core.model.namespace import ALL, Scope
from sfm_core.plugins.types import OpenContext
from sfm_core.ports.vectors import Point, Space
from sfm_core.testing.build import HERE, ids_of, memory, new_id
from sfm_core.testing.suite import SPACE
from sfm_core.testing.vectors import UP, fan, point, unit
from sfm_qdrant import testing
from sfm_qdrant.client import connect
from sfm_qdrant.config import QdrantConfig
from sfm_qdrant.engine import Engine, Found
from sfm_qdrant.layout import MARK_ID, name_for
from sfm_qdrant.plugin import sfm_vectors
from sfm_qdrant.vectors import QdrantVectors

SERVER, EDGE = sfm_vectors()


@pytest_asyncio.fixture(params=["stub", "grpc stub", *testing.wires()])
async def config(
    request: pytest.FixtureRequest, stub: Any, grpc_stub: Any, collection: str
) -> AsyncIterator[QdrantConfig]:
    """Settings for an index that nothing else uses."""
    if "stub" in request.param:
        grpc_port = grpc_stub.port if request.param == "grpc stub" else None
        yield QdrantConfig(port=stub.port, grpc_port=grpc_port, collection=collection, timeout=10.0)
        return
    config = testing.server_config(request.param, collection)
    yield config
    await testing.drop_collections(config)


@asynccontextmanager
async def opened(config: QdrantConfig, **context: Any) -> AsyncIterator[Any]:
    async with SERVER.open(config, OpenContext(**({"space": SPACE} | context))) as index:
        yield index


@asynccontextmanager
async def bare(config: QdrantConfig) -> AsyncIterator[Any]:
    """The bare client."""
    client = connect(config)
    yield client
    await client.close()


async def behind(client: Any, alias: str) -> str:
    """Return the collection behind an alias."""
    [target] = [a.collection_name for a in (await client.get_aliases()).aliases if a.alias_name == alias]
    return str(target)


async def race(openings: list[Any], seed: int) -> None:
    """Write twelve versions of five memories and their deletions at once, in any order, through all of `openings`."""
    draw = random.Random(seed)
    ids = [new_id() for _ in range(5)]
    newest = {id: draw.randint(6, 12) for id in ids}
    gone = set(ids[:2])
    work = []
    for id in ids:
        for version in range(1, newest[id] + 1):
            index = draw.choice(openings)
            if (id in gone) if version == newest[id] else version % 3 == 0:
                work.append(index.delete([(id, version)]))
                continue
            one = memory(f"v {version}", id=id, version=version)
            work.append(index.upsert([point(one, [1.0, version / 100])]))
    draw.shuffle(work)
    await asyncio.gather(*work)
    expected = {id: version for id, version in newest.items() if id not in gone}
    for index in openings:
        assert await index.versions(ids) == expected
        hits = await index.search(HERE, UP, limit=99)
        assert {hit.id: hit.version for hit in hits if hit.id in newest} == expected


@pytest.mark.parametrize("seed", range(4))
async def test_racing_writers_leave_the_newest_version(config: QdrantConfig, seed: int) -> None:
    """Two openings write and delete versions of the same memories at once, in any order."""
    async with opened(config) as first, opened(config) as second:
        await race([first, second], seed)


async def test_racing_writers_leave_the_newest_version_in_process(quick_folder: Any) -> None:
    """The engine in process compares and stores in one step."""
    async with EDGE.open(QdrantConfig(path=quick_folder), OpenContext(space=SPACE)) as index:
        for seed in range(4):
            await race([index], seed)


@pytest.mark.parametrize("version", ["1.12.0", "1.15.4"])
async def test_a_server_that_cannot_compare_is_compared_for(stub: Any, version: str) -> None:
    """Before 1.16 the plugin reads, compares and writes: the newest version of this process's writers wins."""
    stub.version = version
    async with opened(QdrantConfig(port=stub.port, timeout=10.0)) as index:
        await race([index], 1)


async def test_openings_that_come_first_together_build_one_index(config: QdrantConfig) -> None:
    """Nothing that one of them stored is lost in a collection of its own."""

    async def first(number: int) -> str:
        async with opened(config) as index:
            one = memory(f"n {number}")
            await index.upsert([point(one, [1.0])])
            return one.id

    ids = await asyncio.gather(*map(first, range(5)))
    async with opened(config) as index:
        assert set(await index.versions(ids)) == set(ids)


@pytest.mark.parametrize("wire", ["http", "grpc"])
async def test_a_collection_that_another_is_making_is_waited_for(
    stub: Any, grpc_stub: Any, wire: str, collection: str
) -> None:
    """A server knows it for a moment before it can answer, and refuses to make it again."""
    grpc_port = grpc_stub.port if wire == "grpc" else None
    config = QdrantConfig(port=stub.port, grpc_port=grpc_port, collection=collection, timeout=10.0)
    stub.engine.slow = 0.3

    async def first(number: int) -> str:
        async with opened(config) as index:
            assert await index.count(ALL) >= 0
            one = memory(f"n {number}")
            await index.upsert([point(one, [1.0])])
            return one.id

    ids = await asyncio.gather(*map(first, range(3)))
    async with opened(config) as index:
        assert set(await index.versions(ids)) == set(ids)


async def test_the_collection_is_named_after_its_space_behind_an_alias(config: QdrantConfig) -> None:
    """A reindex puts another in its place in one step and drops the former."""
    other = Space(3, "other model/3")
    async with opened(config) as index, bare(config) as client:
        first = await behind(client, config.collection)
        assert first == name_for(config.collection, SPACE)
        assert first.startswith(f"{config.collection}-kit-8-")
        await index.upsert([point(memory("one"), [1.0])])
        await index.clear()
        second = await behind(client, config.collection)
        assert second not in (first, config.collection)
        assert not await client.collection_exists(first)
        await index.clear(other)
        third = await behind(client, config.collection)
        assert "other-model-3" in third
        assert await index.count(ALL) == 0
    async with opened(config, space=other) as index:
        assert await index.count(ALL) == 0


async def test_an_index_of_another_space_is_left_as_it_is(config: QdrantConfig) -> None:
    """Words alone are a space too; the error names both and the command."""
    one = memory("one")
    async with opened(config) as index:
        await index.upsert([point(one, [1.0])])
    for space in (None, Space(8, "other"), Space(4, "kit/8")):
        with pytest.raises(ConfigError, match="sfm reindex") as caught:
            async with opened(config, space=space):
                pass
        assert "8 dimensions of 'kit/8'" in str(caught.value)
        assert ("words alone" if space is None else repr(space.fingerprint)) in str(caught.value)
    async with opened(config) as index:
        assert await index.versions([one.id]) == {one.id: 1}


async def test_an_index_can_be_rebuilt_for_words_alone(config: QdrantConfig) -> None:
    """Opened for a rebuild, cleared, and of its new kind from then on."""
    async with opened(config) as index:
        await index.upsert([point(memory("one"), [1.0])])
    async with opened(config, space=None, rebuild=True) as index:
        await index.clear(None)
    async with opened(config, space=None) as index:
        assert await index.count(ALL) == 0
        with pytest.raises(CapabilityNotSupported, match="words alone"):
            await index.search(HERE, UP, limit=1)


async def test_a_collection_of_someone_else_is_refused(config: QdrantConfig) -> None:
    """Under our name, or behind our alias: it is not touched."""
    from qdrant_client import models

    dense = {"dense": models.VectorParams(size=8, distance=models.Distance.COSINE)}
    async with bare(config) as client:
        await client.create_collection(config.collection, vectors_config=dense)
        with pytest.raises(ConfigError, match="SFM_QDRANT__COLLECTION"):
            async with opened(config):
                pass
        assert await client.collection_exists(config.collection)
        await client.delete_collection(config.collection)
        theirs = f"{config.collection}_theirs"
        await client.create_collection(theirs, vectors_config=dense)
        alias = models.CreateAlias(collection_name=theirs, alias_name=config.collection)
        await client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
        with pytest.raises(ConfigError, match="SFM_QDRANT__COLLECTION"):
            async with opened(config):
                pass


async def test_nothing_is_created_where_it_must_not_be(config: QdrantConfig) -> None:
    """The message names the command that may."""
    with pytest.raises(ConfigError, match="sfm migrate"):
        async with opened(config, create=False):
            pass
    async with opened(config):
        pass
    async with opened(config, create=False) as index:
        assert await index.count(ALL) == 0


async def test_a_point_holds_no_content(config: QdrantConfig) -> None:
    """Its id is the memory's; a deletion leaves id and version and nothing else; the mark is in no scope."""
    one = memory("a secret nobody must find", payload={"n": 2**70, "deep": [{"k": 0.1}]}, tags=("t",))
    async with opened(config) as index, bare(config) as client:
        await index.upsert([point(one, [1.0])])
        [record] = await client.retrieve(config.collection, [one.id], with_payload=True)
        assert "nobody must find" not in repr(record.payload)
        large = parse_filter({"field": "payload.n", "op": "gt", "value": 2**69})
        assert ids_of(await index.search(HERE, UP, limit=3, filter=large)) == [one.id]
        await index.delete([(one.id, 2)])
        [record] = await client.retrieve(config.collection, [one.id], with_payload=True, with_vectors=True)
        assert record.payload == {"state": "gone", "version": 2}
        assert not record.vector
        assert await index.versions([MARK_ID, one.id]) == {}
        assert await index.search(ALL, UP, limit=9) == []


async def test_large_batches_go_in_requests_below_the_limit(config: QdrantConfig) -> None:
    """By number and by size, and ids that come twice count once."""
    from msgspec.structs import replace

    small = replace(config, batch_bytes=20_000)
    points = fan(700) + [point(memory("long", payload={"text": "x" * 15_000, "n": n}), [0.5, 1.0]) for n in range(5)]
    async with opened(small) as index:
        await index.upsert([*points, *points[:3]])
        assert await index.count(HERE) == 705
        assert len(await index.versions([one.id for one in points] * 2)) == 705


async def test_as_many_of_equal_points_as_asked_by_id(config: QdrantConfig) -> None:
    """Ties at the edge are told by fetching more."""
    same = sorted((point(memory(f"n {n}"), [1.0, 1.0]) for n in range(60)), key=lambda one: one.id)
    async with opened(config) as index:
        await index.upsert([*reversed(same), point(memory("best"), [1.0])])
        found = await index.search(HERE, UP, limit=6)
        assert ids_of(found[1:]) == ids_of(same[:5])


async def test_vectors_of_any_length_are_found_by_their_direction(config: QdrantConfig) -> None:
    """Single precision cannot square them; the engine would make them zero, or no number at all."""
    lengths = (1e-300, 1e-30, 1.0, 1e30, 1e300)
    async with opened(config) as index:
        points = [Point((m := memory(f"{n}")).id, 1, m.namespace, [n, n, *[0.0] * 6], m) for n in lengths]
        await index.upsert([*points, point(memory("away"), [1.0, -1.0])])
        for length in lengths:
            found = await index.search(HERE, [length, length, *[0.0] * 6], limit=5)
            assert {hit.id for hit in found} == set(ids_of(points))
            assert [hit.cosine for hit in found] == [pytest.approx(1.0, abs=1e-5)] * 5


async def test_a_filter_on_the_content_is_refused(config: QdrantConfig) -> None:
    """It is not in the index; the core asks the storage instead."""
    async with opened(config) as index:
        on_content = parse_filter({"not": {"field": "content", "op": "eq", "value": "x"}})
        with pytest.raises(CapabilityNotSupported, match="content"):
            await index.search(HERE, UP, limit=1, filter=on_content)


async def test_a_subtree_is_searched_by_whole_segments(config: QdrantConfig) -> None:
    """However deep; a sibling that begins alike is outside."""
    names = ["a", "a/b", "a/b/c/d", "ab", "a-b", "b/a"]
    async with opened(config) as index:
        await index.upsert([point(memory(name, namespace=name), [1.0]) for name in names])
        for scope, expected in ((Scope("a", subtree=True), 3), (Scope("a/b", subtree=True), 2), (Scope("a"), 1)):
            assert len(await index.search(scope, UP, limit=9)) == await index.count(scope) == expected


async def optimized(stub: Any, config: QdrantConfig) -> None:
    """Let the engine rewrite its segments, as a server does by itself."""
    assert await stub.engine.optimize(config.collection)


async def test_the_nearest_of_all_namespaces_are_found_when_the_graphs_are_built(stub: Any, collection: str) -> None:
    """There is one for each namespace and subtree; none leads from one of them to another."""
    config = QdrantConfig(port=stub.port, collection=collection, timeout=10.0)
    draw, space = random.Random(5), Space(64, "kit/64")
    points = []
    for number in range(1500):
        one = memory(f"{number}", namespace=f"a{number % 3}/b{number % 6}")
        points.append(Point(one.id, 1, one.namespace, unit([draw.gauss(0, 1) for _ in range(64)], 64), one))
    asked = unit([1.0], 64)
    async with opened(config, space=space) as index:
        await index.upsert(points)
        await optimized(stub, config)
        for scope in (ALL, Scope("a1", subtree=True), Scope("a0/b0")):
            inside = [one for one in points if scope.covers(one.namespace)]
            near = sorted(inside, key=lambda one: -one.vector[0])[:10]
            missed = set(ids_of(near)) - set(ids_of(await index.search(scope, asked, limit=10)))
            assert len(missed) <= (0 if scope == ALL else 2)


@pytest.mark.parametrize(("passing", "exactly"), [(30, [False, True]), (2, [False, True]), (40, [False])])
async def test_a_walk_of_the_graph_that_met_too_few_is_followed_by_a_search_without_it(
    passing: int, exactly: list[bool]
) -> None:
    """Under a filter the graph may fall apart: fewer than were asked for come only when no more pass."""
    asked: list[bool] = []

    class Walking:
        walks = True

        async def search(self, asks: Any) -> list[list[Found]]:
            asked.extend(ask.exact for ask in asks)
            met = passing if asks[0].exact or passing == 40 else passing // 3
            hits = [Found(str(number), 1 - number / 100, {"version": 1}) for number in range(met)]
            return [hits[: asks[0].limit]]

    found = await QdrantVectors(cast(Engine, Walking()), space=SPACE, average_terms=10).search(HERE, UP, limit=20)
    assert [hit.id for hit in found] == [str(number) for number in range(min(20, passing))]
    assert asked == exactly


async def test_fractions_are_told_apart_after_the_engine_rewrote_them(stub: Any, collection: str) -> None:
    """It keeps them as decimal text, and reads one in five back a little off."""
    config = QdrantConfig(port=stub.port, collection=collection, timeout=10.0)
    draw = random.Random(6)
    memories = [memory(f"{n}", importance=(x := draw.random()), payload={"x": x}) for n in range(600)]
    async with opened(config) as index:
        await index.upsert([point(one, [1.0, n / 600]) for n, one in enumerate(memories)])
        await optimized(stub, config)
        for one in memories[:40]:
            for field in ("importance", "payload.x"):
                for op in ("eq", "lt", "lte", "gt", "gte"):
                    filter = parse_filter({"field": field, "op": op, "value": one.importance})
                    passing = {other.id for other in memories if matches(filter, other)}
                    found = ids_of(await index.search(HERE, UP, limit=20, filter=filter))
                    assert len(found) == min(20, len(passing))
                    assert set(found) <= passing


async def test_one_opening_at_a_time_in_process(quick_folder: Any) -> None:
    """The second is told why, and the folder is free after the first."""
    config = QdrantConfig(path=quick_folder)
    async with SERVER.open(config, OpenContext(space=SPACE)) as index:
        await index.upsert([point(memory("one"), [1.0])])
        with pytest.raises(ConfigError, match="one opening at a time"):
            async with SERVER.open(config, OpenContext(space=SPACE)):
                pass
    async with EDGE.open(config, OpenContext(space=SPACE)) as index:
        assert await index.count(ALL) == 1
