"""The conformance suites of the vectors port and of its capabilities AMONG, FILTER and EXACT."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfm_core.model.filter import Filter, parse_filter
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import ALL, Scope
from sfm_core.plugins.types import Port
from sfm_core.ports.vectors import Point, Space, VectorHit, Vectors, VectorsCapability
from sfm_core.testing.build import HERE, ids_of, memory, new_id
from sfm_core.testing.filter_cases import FILTER_MEMORIES, wrong_answers
from sfm_core.testing.opener import Opener
from sfm_core.testing.storage_isolation import QUIET, namespaces
from sfm_core.testing.suite import SPACE, Suite

__all__ = ["ExactVectorsSuite", "VectorsAmongSuite", "VectorsFilterSuite", "VectorsSuite", "point", "unit"]

UP = [1.0] + [0.0] * (SPACE.dimension - 1)


def unit(values: Sequence[float], dimension: int = SPACE.dimension) -> list[float]:
    """Return `values`, filled up with zeros, at length 1."""
    full = [*values, *[0.0] * (dimension - len(values))]
    norm = math.sqrt(sum(value * value for value in full))
    return [value / norm for value in full]


def point(one: Memory, vector: Sequence[float], version: int | None = None) -> Point:
    """Return the point of a memory; `vector` is filled up with zeros."""
    number = one.version if version is None else version
    return Point(id=one.id, version=number, namespace=one.namespace, vector=unit(vector), memory=one)


def fan(count: int, **fields: object) -> list[Point]:
    """Return points whose cosine to `UP` falls from one to the next."""
    return [point(memory(f"n {n}", **fields), [1.0, n / count]) for n in range(count)]


class VectorsSuite(Suite):
    """What every vector index must do."""

    port = Port.VECTORS

    async def test_a_point_is_found_at_once(self, backend: Vectors) -> None:
        """With its id, version and cosine."""
        one, two = memory("one"), memory("two", version=7)
        await backend.upsert([point(one, [1.0]), point(two, [1.0, 1.0])])
        found = await backend.search(HERE, UP, limit=9)
        assert [(hit.id, hit.version) for hit in found] == [(one.id, 1), (two.id, 7)]
        assert [hit.cosine for hit in found] == [pytest.approx(1.0, abs=1e-2), pytest.approx(math.sqrt(0.5), abs=1e-2)]
        assert await backend.versions([one.id, two.id, new_id()]) == {one.id: 1, two.id: 7}

    async def test_hits_are_best_first_with_ties_by_id(self, backend: Vectors) -> None:
        """Opposite vectors come last, equal ones in order of id."""
        same = sorted((point(memory(f"n {n}"), [1.0, 1.0]) for n in range(5)), key=lambda p: p.id)
        best, worst = point(memory("best"), [1.0]), point(memory("worst"), [-1.0])
        await backend.upsert([worst, *reversed(same), best])
        found = await backend.search(HERE, UP, limit=9)
        assert ids_of(found) == ids_of([best, *same, worst])
        assert found[-1].cosine == pytest.approx(-1.0, abs=1e-2)
        assert await backend.search(HERE, UP, limit=3) == found[:3]

    async def test_the_length_of_the_question_does_not_matter(self, backend: Vectors) -> None:
        """Cosine, not product."""
        await backend.upsert(fan(5))
        long = [7.5 * value for value in UP]
        found = await backend.search(HERE, long, limit=9)
        assert ids_of(found) == ids_of(await backend.search(HERE, UP, limit=9))
        assert all(-1.01 <= hit.cosine <= 1.01 for hit in found)

    async def test_replays_and_reordering_change_nothing(self, backend: Vectors) -> None:
        """Older and equal versions, and upserts behind a deletion, have no effect, in any order."""
        one = memory("one")
        older, newer = point(one, [0.0, 1.0], 2), point(one, [1.0], 3)
        for replayed in ([newer], [older], [newer, older], [older, newer], [point(one, [0.0, 0.0, 1.0], 3)]):
            await backend.upsert(replayed)
            assert await backend.versions([one.id]) == {one.id: 3}
        [hit] = await backend.search(HERE, UP, limit=9)
        assert hit.version == 3
        assert hit.cosine == pytest.approx(1.0, abs=1e-2)
        await backend.delete([(one.id, 4)])
        await backend.upsert([newer, point(one, [1.0], 4)])
        assert await backend.search(HERE, UP, limit=9) == []
        assert await backend.versions([one.id]) == {}
        await backend.upsert([point(one, [1.0], 5)])
        assert await backend.versions([one.id]) == {one.id: 5}

    async def test_a_late_deletion_leaves_a_newer_point(self, backend: Vectors) -> None:
        """A deletion that was overtaken by an undo removes nothing."""
        one = memory("one")
        await backend.upsert([point(one, [1.0], 5)])
        await backend.delete([(one.id, 4)])
        assert await backend.versions([one.id]) == {one.id: 5}

    async def test_a_deletion_before_the_point_holds(self, backend: Vectors) -> None:
        """The deletion of an unknown id is remembered, though nothing was there."""
        one = memory("one")
        await backend.delete([(one.id, 2), (new_id(), 1)])
        await backend.upsert([point(one, [1.0], 1)])
        assert await backend.count(ALL) == 0

    async def test_a_moved_vector_is_found_at_its_new_place_only(self, backend: Vectors) -> None:
        """An update replaces; the count stays."""
        one, other = memory("one"), memory("other")
        await backend.upsert([point(one, [1.0], 1), point(other, [0.6, 0.8])])
        await backend.upsert([point(one, [0.0, 0.0, 1.0], 2)])
        found = await backend.search(HERE, UP, limit=9)
        assert ids_of(found) == [other.id, one.id]
        assert await backend.count(HERE) == 2

    async def test_points_are_counted_by_scope(self, backend: Vectors) -> None:
        """Deleted ones are not, other namespaces are not."""
        names = ["a", "a", "a/b", "a-b"]
        points = [point(memory(f"n {n}", namespace=name), [1.0]) for n, name in enumerate(names)]
        await backend.upsert(points)
        assert await backend.count(ALL) == 4
        await backend.delete([(points[0].id, 2)])
        scopes = (Scope("a"), Scope("a", subtree=True), Scope("b"), ALL)
        assert [await backend.count(scope) for scope in scopes] == [1, 2, 0, 3]

    async def test_a_cleared_index_is_empty_and_usable(self, backend: Vectors) -> None:
        """Old versions come back: it is the first half of a rebuild. A new space takes the place of the old."""
        one = memory("one")
        await backend.upsert([point(one, [1.0], 5)])
        await backend.delete([(new_id(), 9)])
        await backend.clear()
        assert (await backend.count(ALL), await backend.search(HERE, UP, limit=9)) == (0, [])
        await backend.upsert([point(one, [1.0], 2)])
        assert await backend.versions([one.id]) == {one.id: 2}
        await backend.clear(Space(dimension=3, fingerprint="kit/3"))
        await backend.upsert([Point(one.id, 1, one.namespace, [0.0, 0.0, 1.0], one)])
        assert ids_of(await backend.search(HERE, [0.0, 0.0, 1.0], limit=9)) == [one.id]

    async def test_nothing_is_found_in_nothing(self, backend: Vectors) -> None:
        """Empty calls and an empty index."""
        await backend.upsert([])
        await backend.delete([])
        await backend.flush()
        await backend.check()
        assert await backend.search(ALL, UP, limit=9) == []
        assert (await backend.versions([]), await backend.count(ALL)) == ({}, 0)

    @QUIET
    @given(names=namespaces)
    async def test_no_vector_search_leaves_its_scope(self, opener: Opener, names: list[str]) -> None:
        """Searches and counts see exactly the namespaces of their scope."""
        backend: Vectors = await opener.reopen()
        await backend.clear()
        points = {name: point(memory(name, namespace=name), [1.0, 0.01 * n]) for n, name in enumerate(names)}
        await backend.upsert(list(points.values()))
        for scope in (Scope(name, sub) for name in names for sub in (False, True)):
            inside = {p.id for name, p in points.items() if scope.covers(name)}
            assert set(ids_of(await backend.search(scope, UP, limit=99))) == inside
            assert await backend.count(scope) == len(inside)


class VectorsAmongSuite(Suite):
    """What a vector index with AMONG must do."""

    port = Port.VECTORS
    capability = VectorsCapability.AMONG

    async def test_a_restriction_applies_before_top_k(self, backend: Vectors) -> None:
        """The best of the named ids come, though many better ones are not named."""
        points = fan(60)
        await backend.upsert(points)
        wanted = ids_of(points[50:])
        found = await backend.search(HERE, UP, limit=5, among=[*reversed(wanted), new_id()])
        assert ids_of(found) == wanted[:5]

    async def test_among_nothing_is_nothing(self, backend: Vectors) -> None:
        """An empty restriction is not the lack of one; unknown and deleted ids and other scopes are out."""
        here, gone, away = memory("here"), memory("gone"), memory("away", namespace="acme/agent-7")
        await backend.upsert([point(one, [1.0]) for one in (here, gone, away)])
        await backend.delete([(gone.id, 2)])
        assert await backend.search(HERE, UP, limit=9, among=[]) == []
        assert await backend.search(HERE, UP, limit=9, among=[new_id(), gone.id, away.id]) == []
        assert ids_of(await backend.search(HERE, UP, limit=9, among=[here.id, here.id])) == [here.id]

    @QUIET
    @given(names=namespaces)
    async def test_no_restricted_search_leaves_its_scope(self, opener: Opener, names: list[str]) -> None:
        """Naming the ids of other namespaces does not open them."""
        backend: Vectors = await opener.reopen()
        await backend.clear()
        points = {name: point(memory(name, namespace=name), [1.0, 0.01 * n]) for n, name in enumerate(names)}
        await backend.upsert(list(points.values()))
        for scope in (Scope(name, sub) for name in names for sub in (False, True)):
            inside = {p.id for name, p in points.items() if scope.covers(name)}
            found = await backend.search(scope, UP, limit=99, among=ids_of(list(points.values())))
            assert set(ids_of(found)) == inside


class VectorsFilterSuite(Suite):
    """What a vector index with FILTER must do."""

    port = Port.VECTORS
    capability = VectorsCapability.FILTER

    async def test_a_vector_filter_applies_before_top_k(self, backend: Vectors) -> None:
        """The best that pass come, though many better ones do not."""
        points = fan(50) + (tagged := [point(memory(f"t {n}", tags=("x",)), [0.0, 1.0, n / 9]) for n in range(4)])
        await backend.upsert(points)
        has = parse_filter({"field": "tags", "op": "contains", "value": "x"})
        found = await backend.search(HERE, [0.5, 1.0] + [0.0] * 6, limit=4, filter=has)
        assert ids_of(found) == ids_of(tagged)

    async def test_a_vector_search_passes_the_filter_table(self, backend: Vectors) -> None:
        """Every line of the filter language but those on the content, which an index need not hold."""
        await backend.upsert([point(one, [1.0]) for one in FILTER_MEMORIES.values()])

        async def ask(filter: Filter) -> list[str]:
            return ids_of(await backend.search(ALL, UP, limit=99, filter=filter))

        assert await wrong_answers(ask, without=frozenset({"content"})) == {}

    async def test_a_filter_sees_the_newest_fields(self, backend: Vectors) -> None:
        """Those of the version that is stored."""
        one = memory("one", tags=("old",))
        await backend.upsert([point(one, [1.0])])
        await backend.upsert([point(memory("one", id=one.id, tags=("new",), version=2), [1.0])])
        for tag, expected in (("old", []), ("new", [one.id])):
            has = parse_filter({"field": "tags", "op": "contains", "value": tag})
            assert ids_of(await backend.search(HERE, UP, limit=9, filter=has)) == expected

    @QUIET
    @given(names=namespaces)
    async def test_no_filtered_search_leaves_its_scope(self, opener: Opener, names: list[str]) -> None:
        """Whatever the filter lets through, a negation or an alternative too."""
        backend: Vectors = await opener.reopen()
        await backend.clear()
        points = {
            name: point(memory(name, namespace=name, author=name), [1.0, 0.01 * n]) for n, name in enumerate(names)
        }
        await backend.upsert(list(points.values()))
        here = {"field": "author", "op": "eq", "value": names[0]}
        filters = [parse_filter(one) for one in ({"or": [here, {"not": here}]}, {"not": {**here, "value": "other"}})]
        for scope in (Scope(name, sub) for name in names for sub in (False, True)):
            inside = {p.id for name, p in points.items() if scope.covers(name)}
            for filter in filters:
                assert set(ids_of(await backend.search(scope, UP, limit=99, filter=filter))) == inside


class ExactVectorsSuite(Suite):
    """What a vector index with EXACT must do."""

    port = Port.VECTORS
    capability = VectorsCapability.EXACT

    async def test_as_many_hits_as_asked(self, backend: Vectors) -> None:
        """`limit` points come back whenever the scope holds as many, after deletions too."""
        points = fan(300)
        away = [point(memory(f"away {n}", namespace="acme"), [1.0]) for n in range(300)]
        await backend.upsert(points + away)
        await backend.delete([(one.id, 2) for one in points[:100]])
        for limit in (1, 10, 199, 200, 201):
            assert len(await backend.search(HERE, UP, limit=limit)) == min(limit, 200)

    @QUIET
    @given(seed=st.integers(0, 2**32))
    async def test_the_true_nearest_neighbours_are_found(self, opener: Opener, seed: int) -> None:
        """Equal to a plain scan in double precision, up to differences of a millionth."""
        backend: Vectors = await opener.reopen()
        await backend.clear()
        draw = random.Random(seed)
        rows = [unit([draw.gauss(0, 1) for _ in range(8)]) for _ in range(150)]
        points = [point(memory(f"n {n}"), row) for n, row in enumerate(rows)]
        asked = unit([draw.gauss(0, 1) for _ in range(8)])
        await backend.upsert(points)
        cosine = {
            p.id: sum(a * b for a, b in zip(row, asked, strict=True)) for p, row in zip(points, rows, strict=True)
        }
        found: list[VectorHit] = await backend.search(HERE, asked, limit=20)
        best = sorted(cosine.values(), reverse=True)[:20]
        assert [cosine[hit.id] for hit in found] == pytest.approx(best, abs=1e-5)
        assert [hit.cosine for hit in found] == pytest.approx(best, abs=1e-4)
