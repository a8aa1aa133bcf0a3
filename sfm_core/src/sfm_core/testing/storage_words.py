"""Capabilities FULL_TEXT and VOCABULARY of a storage."""

from __future__ import annotations

from typing import Protocol

import pytest
from hypothesis import given
from msgspec.structs import replace

from sfm_core.errors import Conflict
from sfm_core.model.filter import Filter, parse_filter
from sfm_core.model.namespace import ALL, Scope
from sfm_core.plugins.types import Port
from sfm_core.ports.storage import FullText, Storage, StorageCapability, TextQuery, Vocabulary, WordGroup
from sfm_core.ports.writes import Analysis
from sfm_core.testing.build import (
    HERE,
    NOW,
    at,
    erase,
    ids_of,
    memory,
    new_id,
    put,
    question,
    remove,
    replacing,
    revive,
    store,
)
from sfm_core.testing.filter_cases import FILTER_MEMORIES, wrong_answers
from sfm_core.testing.opener import Opener
from sfm_core.testing.storage_imports import importing
from sfm_core.testing.storage_isolation import QUIET, namespaces
from sfm_core.testing.storage_ranking import RankingTests
from sfm_core.testing.suite import Suite

__all__ = ["FullTextSuite", "VocabularySuite"]

ODD_TERMS = (
    "tea",
    "née",
    "nee",
    "c++",
    "c",
    "it's",
    "and",
    "not",
    '"',
    "x*",
    "(y)",
    "日本",
    "near",
    "a-b",
    "%",
    "😀",
    "Tea",
)


class _Searching(Storage, FullText, Protocol):
    """A storage with full text."""


class _Naming(Storage, Vocabulary, Protocol):
    """A storage with a vocabulary."""


class SearchTests(Suite):
    """Search by words."""

    async def test_any_word_of_the_question_is_enough(self, backend: _Searching) -> None:
        """A document with one of many words is found; one with none is not."""
        one, two, _ = await store(backend, put("green tea"), put("black coffee"), put("cold water"))
        found = await search(backend, "tea", "coffee", "absinthe", "nowhere")
        assert set(found) == {one.id, two.id}
        assert await search(backend, "absinthe") == []
        assert await backend.search_text(HERE, TextQuery(()), filter=None, limit=9, now=NOW) == []

    async def test_a_rare_word_outweighs_a_common_one(self, backend: _Searching) -> None:
        """The memory with the word that few others have comes first."""
        await store(backend, *(put(f"common n{n}") for n in range(20)))
        common, rare = await store(backend, put("common word"), put("rare word"))
        found = await search(backend, "common", "rare", limit=99)
        assert found[0] == rare.id
        assert common.id in found

    async def test_more_of_the_words_rank_higher(self, backend: _Searching) -> None:
        """Groups add up, and a word that is repeated counts more."""
        one, two, three = await store(backend, put("tea x y z"), put("tea lemon y z"), put("tea tea lemon z"))
        assert await search(backend, "tea", "lemon") == [three.id, two.id, one.id]

    async def test_alternatives_of_a_word_count_once(self, backend: _Searching) -> None:
        """The best alternative of a group counts, times its weight; the others add nothing."""
        await store(backend, put("tea teas chai"), put("tea x y"), put("chai x y"), put("u v w"))

        async def score(*alternatives: tuple[str, float]) -> float:
            query = TextQuery((WordGroup(alternatives),))
            hits = await backend.search_text(HERE, query, filter=None, limit=1, now=NOW)
            return hits[0].score

        single = [await score((term, 1.0)) for term in ("teas", "chai")]
        assert await score(("teas", 1.0), ("chai", 1.0)) == pytest.approx(max(single), rel=1e-3)
        assert await score(("teas", 0.25)) == pytest.approx(single[0] / 4, rel=1e-3)
        assert await score(("teas", 0.01), ("chai", 1.0)) == pytest.approx(single[1], rel=1e-3)

    async def test_hits_come_best_first_with_ties_by_id(self, backend: _Searching) -> None:
        """Scores fall and are above zero; equal documents are in order of id; the limit cuts the rest."""
        stored = await store(backend, *(put("same words here", dedupe=False) for _ in range(7)), put("same"))
        query = question("same")
        hits = await backend.search_text(HERE, query, filter=None, limit=99, now=NOW)
        assert len(hits) == 8
        assert all(hit.score > 0 for hit in hits)
        assert [(-hit.score, hit.id) for hit in hits] == sorted((-hit.score, hit.id) for hit in hits)
        assert sorted(hit.id for hit in hits if hit.id != stored[7].id) == [h.id for h in hits if h.id != stored[7].id]
        assert await backend.search_text(HERE, query, filter=None, limit=3, now=NOW) == hits[:3]

    async def test_the_filter_applies_before_the_limit(self, backend: _Searching) -> None:
        """The best that pass are found though many better ones do not."""
        await store(backend, *(put(f"tea tea tea n{n}") for n in range(30)))
        wanted = await store(backend, *(put(f"tea with much else n{n}", tags=("x",)) for n in range(3)))
        tagged = parse_filter({"field": "tags", "op": "contains", "value": "x"})
        assert set(await search(backend, "tea", limit=3, filter=tagged)) == set(ids_of(wanted))

    async def test_words_are_found_as_soon_as_they_are_written(self, backend: _Searching) -> None:
        """New, changed, deleted, revived and erased memories: the index never lags."""
        op = new_id()
        [one] = await store(backend, put("alpha"))
        assert await search(backend, "alpha") == [one.id]
        [two] = await store(backend, replacing(one, content="beta"))
        assert (await search(backend, "alpha"), await search(backend, "beta")) == ([], [one.id])
        await store(backend, remove(two, operation=op, time=at(2)))
        assert await search(backend, "beta") == []
        await store(backend, revive(two, op, time=at(3)))
        assert await search(backend, "beta") == [one.id]
        await store(backend, erase(two, time=at(4)))
        assert await search(backend, "beta") == []

    async def test_expired_memories_are_not_found_by_words(self, backend: _Searching) -> None:
        """From their instant on."""
        [one] = await store(backend, put("alpha", expires_at=at(10)))
        assert await search(backend, "alpha", seconds=9) == [one.id]
        assert await search(backend, "alpha", seconds=10) == []

    async def test_index_terms_are_opaque(self, backend: _Searching) -> None:
        """Any text is a term and equals only itself: signs, cases, accents and the words of query languages."""
        writes = [replace(put(f"n{n}"), analysis=Analysis(stems=(term,), length=1)) for n, term in enumerate(ODD_TERMS)]
        stored = await store(backend, *writes)
        found = {term: await search(backend, term) for term in ODD_TERMS}
        assert found == {term: [one.id] for term, one in zip(ODD_TERMS, stored, strict=True)}

    async def test_a_text_search_passes_the_filter_table(self, backend: _Searching) -> None:
        """Every line of the filter language holds for search by words."""
        await store(backend, *(put(one, dedupe=False) for one in FILTER_MEMORIES.values()))

        async def ask(filter: Filter) -> list[str]:
            hits = await backend.search_text(ALL, question("memory"), filter=filter, limit=99, now=NOW)
            return [hit.id for hit in hits]

        assert await wrong_answers(ask) == {}

    @QUIET
    @given(names=namespaces)
    async def test_no_search_by_words_leaves_its_scope(self, opener: Opener, names: list[str]) -> None:
        """Text search, authors and the time arm see exactly the namespaces of their scope."""
        backend: _Searching = await opener.reopen()
        tag = new_id()
        known: dict[str, str] = {}
        for name in names:
            [one] = await store(backend, put(f"tea {tag}", namespace=name, author=f"{tag} {name}"))
            known[one.id] = name
        words = question(*tag.split("-"))
        keys = [f"{tag} {name}".casefold() for name in names]
        for scope in (Scope(name, sub) for name in names for sub in (False, True)):
            inside = {name for name in names if scope.covers(name)}
            hits = await backend.search_text(scope, words, filter=None, limit=999, now=NOW)
            assert {known[hit.id] for hit in hits if hit.id in known} == inside
            timed = await backend.in_period(scope, NOW, at(1), filter=None, limit=999, now=NOW)
            assert {known[id] for id in timed if id in known} == inside
            authors = await backend.authors(scope, keys)
            assert {author for found in authors.values() for author in found} == {f"{tag} {name}" for name in inside}


async def search(
    backend: FullText, *words: str, limit: int = 9, filter: Filter | None = None, seconds: float = 5
) -> list[str]:
    """Return the ids of the best memories for `words`."""
    hits = await backend.search_text(HERE, question(*words), filter=filter, limit=limit, now=at(seconds))
    return [hit.id for hit in hits]


class FullTextSuite(SearchTests, RankingTests):
    """What a storage with FULL_TEXT must do."""

    port = Port.STORAGE
    capability = StorageCapability.FULL_TEXT


class VocabularySuite(Suite):
    """What a storage with VOCABULARY must do."""

    port = Port.STORAGE
    capability = StorageCapability.VOCABULARY

    async def test_words_come_into_the_vocabulary_with_the_write(self, backend: _Naming) -> None:
        """Each once, with its stem, in a stable order, whatever their signs."""
        words = (("teas", "tea"), ("tea", "tea"), ("née", "née"), ("nee", "née"), ("日本", "日本"), ("c++", "c++"))
        await store(backend, replace(put("x"), analysis=Analysis(words=words[2:])))
        assert sorted(await backend.words(HERE)) == sorted(words[2:])
        await store(backend, replace(put("y"), analysis=Analysis(words=words)))
        await store(backend, replace(put("z"), analysis=Analysis(words=words[:2])))
        found = await backend.words(HERE)
        assert sorted(found) == sorted(words)
        assert list(await backend.words(HERE)) == list(found)

    async def test_refused_writes_bring_no_words(self, backend: _Naming) -> None:
        """Of an atomic batch none, of another one those of the writes that were carried out."""
        [one] = await store(backend, put("tea"))
        taken = put(memory("secret", id=one.id), dedupe=False)
        with pytest.raises(Conflict):
            await backend.apply([put("milk"), taken])
        assert await named(backend) == ["tea"]
        await backend.apply([put("milk"), taken], atomic=False)
        assert await named(backend) == ["milk", "tea"]

    async def test_a_new_version_brings_its_words(self, backend: _Naming) -> None:
        """Changed, stored at a coordinate that is taken, or restored."""
        [one] = await store(backend, put("alpha", coordinate=(1.0,)))
        [two] = await store(backend, replacing(one, content="beta"))
        [three] = await store(backend, put("gamma", coordinate=(1.0,), time=at(2)))
        assert (three.id, three.version) == (two.id, 3)
        [gone] = await store(backend, remove(three, time=at(3)))
        await store(backend, replacing(gone, content="delta", outcome="restored", revive=True, time=at(4)))
        assert await named(backend) == ["alpha", "beta", "delta", "gamma"]

    async def test_imported_words_are_in_the_vocabulary(self, backend: _Naming) -> None:
        """Those of the newest version, live or a tombstone; those of an earlier one when it is restored."""
        one = memory("alpha")
        two = replace(one, content="beta", version=2, updated_at=at(1))
        await store(backend, importing(one, two), importing(memory("gamma"), deleted=True))
        assert {"beta", "gamma"} <= set(await named(backend))
        await store(backend, replacing(two, content="alpha", outcome="restored"))
        assert await named(backend) == ["alpha", "beta", "gamma"]

    async def test_a_revived_memory_has_its_words(self, backend: _Naming) -> None:
        """An undo carries no analysis: the tombstone has kept them, also from the erasure of another holder."""
        op = new_id()
        one, other = await store(backend, put("green tea"), put("green cup"))
        await store(backend, remove(one, operation=op))
        await store(backend, erase(other))
        await store(backend, revive(one, op))
        assert await named(backend) == ["green", "tea"]

    async def test_the_vocabulary_is_that_of_the_scope(self, backend: _Naming) -> None:
        """By whole segments, each pair once over a subtree."""
        names = {"a": "tea", "a/b": "milk", "a-b": "rum", "ab": "gin", "A": "ale", "a%": "mead"}
        for name, word in names.items():
            pairs = ((word, word), ("water", "water"))
            await store(backend, replace(put(word, namespace=name), analysis=Analysis(words=pairs)))
        for name, word in names.items():
            assert sorted(await backend.words(Scope(name))) == sorted([(word, word), ("water", "water")])
        below = sorted(await backend.words(Scope("a", subtree=True)))
        assert below == [("milk", "milk"), ("tea", "tea"), ("water", "water")]
        assert len(await backend.words(ALL)) == 7

    @QUIET
    @given(names=namespaces)
    async def test_no_vocabulary_leaves_its_scope(self, opener: Opener, names: list[str]) -> None:
        """The words of a scope are those of its namespaces."""
        backend: _Naming = await opener.reopen()
        tag = new_id()
        for number, name in enumerate(names):
            pairs = ((f"{tag} {number}", "w"),)
            await store(backend, replace(put(tag, namespace=name), analysis=Analysis(words=pairs)))
        for scope in (Scope(name, sub) for name in names for sub in (False, True)):
            expected = {f"{tag} {number}" for number, name in enumerate(names) if scope.covers(name)}
            assert {word for word, _ in await backend.words(scope) if word.startswith(tag)} == expected

    async def test_the_token_differs_after_a_new_word(self, backend: _Naming) -> None:
        """So that whoever keeps the words knows when to read them again."""
        await store(backend, put("tea"))
        before = await backend.words_token(HERE)
        await store(backend, put("milk"))
        assert await backend.words_token(HERE) != before

    async def test_erased_words_leave_the_vocabulary(self, backend: _Naming) -> None:
        """Those that nobody else holds, of former versions too, and the token differs."""
        one, other = await store(backend, put("secret tea"), put("tea and milk"))
        [two] = await store(backend, replacing(one, content="hidden tea"))
        assert await named(backend) == ["and", "hidden", "milk", "secret", "tea"]
        before = await backend.words_token(HERE)
        await store(backend, erase(two))
        assert await named(backend) == ["and", "milk", "tea"]
        assert await backend.words_token(HERE) != before
        assert (await backend.get([other.id], now=NOW)) == [other]


async def named(backend: Vocabulary) -> list[str]:
    """Return the words of the vocabulary, sorted."""
    return sorted(word for word, _ in await backend.words(HERE))
