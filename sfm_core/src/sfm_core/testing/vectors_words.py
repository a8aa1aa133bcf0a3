"""Capability FULL_TEXT of a vector index."""

from __future__ import annotations

from typing import Any, Protocol

import pytest
from hypothesis import given

from sfm_core.errors import CapabilityNotSupported
from sfm_core.model.filter import Filter, parse_filter
from sfm_core.model.namespace import ALL, Scope
from sfm_core.plugins.types import Port
from sfm_core.ports.storage import TextHit, TextQuery, WordGroup
from sfm_core.ports.vectors import LexicalVectors, Point, Vectors, VectorsCapability
from sfm_core.testing.build import HERE, ids_of, memory, question
from sfm_core.testing.filter_cases import FILTER_MEMORIES, wrong_answers
from sfm_core.testing.opener import Opener
from sfm_core.testing.storage_isolation import QUIET, namespaces
from sfm_core.testing.storage_words import ODD_TERMS
from sfm_core.testing.suite import Suite
from sfm_core.testing.vectors import UP, unit

__all__ = ["VectorsFullTextSuite", "worded"]


class _Lexical(Vectors, LexicalVectors, Protocol):
    """A vector index with words."""


def worded(text: str, *, vector: Any = (1.0,), terms: tuple[str, ...] | None = None, **fields: Any) -> Point:
    """Return the point of a memory whose terms are the words of `text`; `vector=None` for one without."""
    one = memory(text, **fields)
    row = None if vector is None else unit(vector)
    found = tuple(text.split()) if terms is None else terms
    return Point(id=one.id, version=one.version, namespace=one.namespace, vector=row, memory=one, terms=found)


class VectorsFullTextSuite(Suite):
    """What a vector index with FULL_TEXT must do."""

    port = Port.VECTORS
    capability = VectorsCapability.FULL_TEXT

    async def test_any_word_finds_a_point(self, backend: _Lexical) -> None:
        """A point with one of many words is found as soon as it is stored; one with none is not."""
        one, two, three = worded("green tea"), worded("black coffee"), worded("cold water")
        await backend.upsert([one, two, three])
        assert set(await search(backend, "tea", "coffee", "absinthe", "nowhere")) == {one.id, two.id}
        assert await search(backend, "absinthe") == []
        assert await backend.search_text(HERE, TextQuery(()), limit=9) == []

    async def test_a_rare_term_outweighs_a_common_one(self, backend: _Lexical) -> None:
        """The point with the word that few others have comes first."""
        common, rare = worded("common word"), worded("rare word")
        await backend.upsert([*(worded(f"common n{n}") for n in range(20)), common, rare])
        found = await search(backend, "common", "rare", limit=99)
        assert found[0] == rare.id
        assert common.id in found

    async def test_more_of_the_terms_rank_higher(self, backend: _Lexical) -> None:
        """Groups add up, and a word that is repeated counts more."""
        points = [worded("tea tea lemon z"), worded("tea lemon y z"), worded("tea x y z")]
        await backend.upsert([*reversed(points), *(worded(f"u v w n{n}") for n in range(5))])
        assert await search(backend, "tea", "lemon") == ids_of(points)

    async def test_alternatives_of_a_term_count_once(self, backend: _Lexical) -> None:
        """The best alternative of a group counts, times its weight; the others add nothing."""
        await backend.upsert([worded("tea teas chai"), worded("tea x y"), worded("chai x y"), worded("u v w")])

        async def score(*alternatives: tuple[str, float]) -> float:
            [hit] = await backend.search_text(HERE, TextQuery((WordGroup(alternatives),)), limit=1)
            return hit.score

        single = [await score((term, 1.0)) for term in ("teas", "chai")]
        assert await score(("teas", 1.0), ("chai", 1.0)) == pytest.approx(max(single), rel=1e-2)
        assert await score(("teas", 0.25)) == pytest.approx(single[0] / 4, rel=1e-2)
        assert await score(("teas", 0.01), ("chai", 1.0)) == pytest.approx(single[1], rel=1e-2)

    async def test_lexical_hits_come_best_first_with_ties_by_id(self, backend: _Lexical) -> None:
        """Scores fall and are above zero; equal points are in order of id; the limit cuts the rest."""
        equal = [worded("same words here") for _ in range(7)]
        await backend.upsert([*equal, best := worded("same same"), worded("other")])
        hits = await backend.search_text(HERE, question("same"), limit=99)
        assert [hit.id for hit in hits] == [best.id, *sorted(one.id for one in equal)]
        assert all(hit.score > 0 for hit in hits)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert await backend.search_text(HERE, question("same"), limit=3) == hits[:3]

    async def test_a_lexical_filter_applies_before_the_limit(self, backend: _Lexical) -> None:
        """The best that pass are found though many better ones do not; every line of the filter language holds."""
        tagged = parse_filter({"field": "tags", "op": "contains", "value": "x"})
        if VectorsCapability.FILTER not in self.spec.capabilities:
            with pytest.raises(CapabilityNotSupported):
                await backend.search_text(HERE, question("tea"), limit=3, filter=tagged)
            return
        wanted = [worded(f"tea with much else n{n}", tags=("x",)) for n in range(3)]
        await backend.upsert([*(worded(f"tea tea tea n{n}") for n in range(30)), *wanted])
        assert set(await search(backend, "tea", limit=3, filter=tagged)) == set(ids_of(wanted))
        await backend.upsert(
            [Point(m.id, m.version, m.namespace, None, m, ("zebra",)) for m in FILTER_MEMORIES.values()]
        )

        async def ask(filter: Filter) -> list[str]:
            return [hit.id for hit in await backend.search_text(ALL, question("zebra"), limit=99, filter=filter)]

        assert await wrong_answers(ask, without=frozenset({"content"})) == {}

    async def test_words_follow_their_point(self, backend: _Lexical) -> None:
        """Overtaken, deleted and cleared ones are not found any more; a late upsert does not bring them back."""
        one = worded("alpha")
        newer = Point(one.id, 2, one.namespace, one.vector, one.memory, ("beta",))
        await backend.upsert([one])
        await backend.upsert([newer])
        await backend.upsert([one])
        assert (await search(backend, "alpha"), await search(backend, "beta")) == ([], [one.id])
        await backend.delete([(one.id, 3)])
        await backend.upsert([newer])
        assert await search(backend, "alpha", "beta") == []
        other = worded("beta")
        await backend.upsert([other])
        assert await search(backend, "beta") == [other.id]
        await backend.clear()
        assert await search(backend, "beta") == []

    async def test_terms_of_points_are_opaque(self, backend: _Lexical) -> None:
        """Any text is a term and equals only itself: signs, cases, accents and the words of query languages."""
        points = [worded(f"n{n}", terms=(term,)) for n, term in enumerate(ODD_TERMS)]
        await backend.upsert(points)
        found = {term: await search(backend, term) for term in ODD_TERMS}
        assert found == {term: [one.id] for term, one in zip(ODD_TERMS, points, strict=True)}

    async def test_a_point_without_a_vector_is_found_by_words_only(self, backend: _Lexical) -> None:
        """It counts and has a version; a search for neighbours does not see it, until it gets a vector."""
        one, bare = worded("tea"), worded("tea", vector=None)
        await backend.upsert([one, bare])
        assert ids_of(await backend.search(HERE, UP, limit=9)) == [one.id]
        assert set(await search(backend, "tea")) == {one.id, bare.id}
        assert (await backend.count(HERE), await backend.versions([bare.id])) == (2, {bare.id: 1})
        await backend.upsert([Point(bare.id, 2, bare.namespace, unit([0.0, 1.0]), bare.memory, bare.terms)])
        assert ids_of(await backend.search(HERE, UP, limit=9)) == [one.id, bare.id]
        await backend.upsert([Point(one.id, 2, one.namespace, None, one.memory, one.terms)])
        assert ids_of(await backend.search(HERE, UP, limit=9)) == [bare.id]

    async def test_an_index_of_words_alone(self, opener: Opener) -> None:
        """Opened without a space: no point has a vector, words are found, neighbours are refused by name."""
        backend: _Lexical = await opener.open(spaceless=True)
        one, gone = worded("green tea", vector=None), worded("black tea", vector=None)
        await backend.upsert([one, gone])
        await backend.delete([(gone.id, 2)])
        await backend.flush()
        assert await search(backend, "tea", "green") == [one.id]
        assert (await backend.count(ALL), await backend.versions([one.id, gone.id])) == (1, {one.id: 1})
        with pytest.raises(CapabilityNotSupported):
            await backend.search(HERE, UP, limit=1)
        backend = await opener.reopen(spaceless=True)
        kept = [one.id] if VectorsCapability.DURABLE in self.spec.capabilities else []
        assert await search(backend, "tea") == kept
        await backend.clear()
        assert await backend.count(ALL) == 0

    @QUIET
    @given(names=namespaces)
    async def test_no_lexical_search_leaves_its_scope(self, opener: Opener, names: list[str]) -> None:
        """A search by words sees exactly the namespaces of its scope."""
        backend: _Lexical = await opener.reopen()
        await backend.clear()
        points = {name: worded("tea", namespace=name) for name in names}
        await backend.upsert(list(points.values()))
        for scope in (Scope(name, sub) for name in names for sub in (False, True)):
            hits: list[TextHit] = await backend.search_text(scope, question("tea"), limit=99)
            assert {hit.id for hit in hits} == {p.id for name, p in points.items() if scope.covers(name)}


async def search(backend: LexicalVectors, *words: str, limit: int = 9, filter: Filter | None = None) -> list[str]:
    """Return the ids of the best points for `words`."""
    hits = await backend.search_text(HERE, question(*words), limit=limit, filter=filter)
    return [hit.id for hit in hits]
