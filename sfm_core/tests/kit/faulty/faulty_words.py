"""Storages whose word search, ranking facts, vocabulary or matching is wrong."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from msgspec.structs import replace
from register import Register

from sfm_core.model.filter import FieldTest, Not
from sfm_core.model.namespace import ALL, Scope
from sfm_core.ports.storage import TextQuery, WordGroup
from sfm_core.ports.writes import ImportMemory, Remove, Replace
from sfm_core.testing.storage_ranking import MatchingSuite
from sfm_core.testing.storage_words import FullTextSuite, VocabularySuite
from sfm_inmemory.storage import InmemoryStorage

register = Register(globals())
FAULTS = register.faults


def fault(*tests: str) -> Any:
    return register.fault(FullTextSuite, *tests)


def loosened(filter: Any) -> Any:
    if isinstance(filter, FieldTest) and filter.op == "ne":
        return Not(replace(filter, op="exists", value=False))
    return filter


class Searching(InmemoryStorage):
    """Changes hits on their way out."""

    async def search_text(self, scope: Any, query: Any, **options: Any) -> Any:
        return self.change(await super().search_text(scope, query, **options), query)

    def change(self, hits: Any, query: Any) -> Any:
        return hits


@fault("test_any_word_of_the_question_is_enough")
class NeedsEveryWord(Searching):
    def change(self, hits: Any, query: Any) -> Any:
        words = {term for group in query.groups for term, _ in group.alternatives}
        return [hit for hit in hits if words <= set(self._state.records[hit.id].terms)]


@fault("test_a_rare_word_outweighs_a_common_one")
class PrefersCommonWords(Searching):
    def change(self, hits: Any, query: Any) -> Any:
        return hits[::-1]


@fault("test_more_of_the_words_rank_higher")
class SearchesTheLastWordOnly(InmemoryStorage):
    async def search_text(self, scope: Any, query: Any, **options: Any) -> Any:
        return await super().search_text(scope, TextQuery(query.groups[-1:]), **options)


@fault("test_alternatives_of_a_word_count_once")
class AddsAlternatives(InmemoryStorage):
    async def search_text(self, scope: Any, query: Any, **options: Any) -> Any:
        groups = [WordGroup((one,)) for group in query.groups for one in group.alternatives]
        return await super().search_text(scope, TextQuery(tuple(groups)), **options)


@fault("test_hits_come_best_first_with_ties_by_id")
class OrdersByIdBackwards(Searching):
    def change(self, hits: Any, query: Any) -> Any:
        return sorted(hits, key=lambda hit: hit.id, reverse=True)


@fault("test_the_filter_applies_before_the_limit", "test_a_text_search_passes_the_filter_table")
class FiltersHits(InmemoryStorage):
    async def search_text(self, scope: Any, query: Any, *, filter: Any, **options: Any) -> Any:
        hits = await super().search_text(scope, query, filter=None, **options)
        passing = await self.matching(scope, filter=loosened(filter), limit=10**6, now=options["now"])
        return [hit for hit in hits if hit.id in passing]


@fault("test_words_are_found_as_soon_as_they_are_written", "test_expired_memories_are_not_found_by_words")
class LagsBehind(InmemoryStorage):
    """Answers repeated questions from what it once found."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[Any, Any] = {}

    async def search_text(self, scope: Any, query: Any, **options: Any) -> Any:
        if query not in self._kept:
            self._kept[query] = await super().search_text(scope, query, **options)
        return self._kept[query]


@fault("test_index_terms_are_opaque")
class FoldsTerms(InmemoryStorage):
    async def apply(self, writes: Any, **options: Any) -> Any:
        results = await super().apply(writes, **options)
        for id, record in self._state.records.items():
            terms = Counter({term.casefold(): count for term, count in record.terms.items()})
            self._state.records[id] = replace(record, terms=terms)
        return results


@fault("test_no_search_by_words_leaves_its_scope")
class SearchesEverywhere(InmemoryStorage):
    async def search_text(self, scope: Any, query: Any, **options: Any) -> Any:
        return await super().search_text(ALL if scope.subtree else scope, query, **options)


@fault("test_a_candidate_holds_what_ranking_needs")
class ForgetsWhatTheTextSaid(InmemoryStorage):
    async def candidates(self, ids: Any, **options: Any) -> Any:
        return {id: replace(one, time=False) for id, one in (await super().candidates(ids, **options)).items()}


@fault("test_neighbours_are_the_nearest_two_on_each_side")
class FarthestFirst(InmemoryStorage):
    async def candidates(self, ids: Any, **options: Any) -> Any:
        found = await super().candidates(ids, **options)
        return {id: replace(one, before=one.before[::-1]) for id, one in found.items()}


@fault("test_neighbours_come_along")
class ComesAlone(InmemoryStorage):
    async def candidates(self, ids: Any, **options: Any) -> Any:
        return {id: one for id, one in (await super().candidates(ids, **options)).items() if id in ids}


@fault("test_only_live_memories_of_the_thread_are_neighbours")
class RemembersTheDead(InmemoryStorage):
    async def candidates(self, ids: Any, *, now: Any, **options: Any) -> Any:
        return await super().candidates(ids, now=now - timedelta(days=999), **options)


@fault("test_neighbours_pass_the_filter")
class NeighboursPassAlways(InmemoryStorage):
    async def candidates(self, ids: Any, *, filter: Any = None, **options: Any) -> Any:
        return await super().candidates(ids, **options)


@fault("test_authors_are_found_by_their_key")
class AuthorsOfTheDead(InmemoryStorage):
    async def authors(self, scope: Any, keys: Any) -> Any:
        records = self._state.records.values()
        found: dict[str, set[str]] = {}
        for record in records:
            if record.analysis.author_key in keys and record.memory.author and scope.covers(record.memory.namespace):
                found.setdefault(record.analysis.author_key, set()).add(record.memory.author)
        return {key: sorted(names) for key, names in found.items()}


@fault("test_a_period_is_half_open")
class ClosedPeriods(InmemoryStorage):
    async def in_period(self, scope: Any, first: Any, last: Any, **options: Any) -> Any:
        return await super().in_period(scope, first, last + timedelta(microseconds=1), **options)


@fault("test_a_period_passes_the_filter_table")
class FiltersPeriodsLikeSql(InmemoryStorage):
    async def in_period(self, scope: Any, first: Any, last: Any, *, filter: Any, **options: Any) -> Any:
        return await super().in_period(scope, first, last, filter=loosened(filter), **options)


@register.fault(MatchingSuite, "test_matching_names_what_passes")
class MatchesLikeSql(InmemoryStorage):
    async def matching(self, scope: Any, *, filter: Any, **options: Any) -> Any:
        return await super().matching(scope, filter=loosened(filter), **options)


@register.fault(MatchingSuite, "test_matching_never_leaves_its_scope")
class MatchesByPrefix(InmemoryStorage):
    async def matching(self, scope: Any, **options: Any) -> Any:
        found = await super().matching(ALL, **options)
        names = {id: self._state.records[id].memory.namespace for id in found}
        return [id for id in found if names[id].startswith(scope.namespace)]


@register.fault(MatchingSuite, "test_matching_names_live_memories_of_the_scope")
class MatchesTheExpired(InmemoryStorage):
    async def matching(self, scope: Any, *, now: Any, **options: Any) -> Any:
        return await super().matching(scope, now=now - timedelta(days=999), **options)


@register.fault(VocabularySuite, "test_words_come_into_the_vocabulary_with_the_write")
class KnowsOneFormOfAWord(InmemoryStorage):
    async def words(self, scope: Any) -> Any:
        return sorted({stem: (word, stem) for word, stem in await super().words(scope)}.values())


@register.fault(VocabularySuite, "test_refused_writes_bring_no_words")
class NotesWordsBeforeItDecides(InmemoryStorage):
    def __init__(self) -> None:
        super().__init__()
        self._noted: set[Any] = set()

    async def apply(self, writes: Any, **options: Any) -> Any:
        self._noted.update(word for write in writes for word in write.analysis.words)
        return await super().apply(writes, **options)

    async def words(self, scope: Any) -> Any:
        return sorted(self._noted)


class NotesNoWordsOfSome(InmemoryStorage):
    """Leaves it to somebody else to note the words of one kind of write."""

    kind: Any

    async def apply(self, writes: Any, **options: Any) -> Any:
        return await super().apply([self.without_words(write) for write in writes], **options)

    def without_words(self, write: Any) -> Any:
        if not isinstance(write, self.kind):
            return write
        return replace(write, analysis=replace(write.analysis, words=()))


@register.fault(VocabularySuite, "test_a_new_version_brings_its_words")
class NotesNoWordsOfVersions(NotesNoWordsOfSome):
    kind = Replace


@register.fault(VocabularySuite, "test_imported_words_are_in_the_vocabulary")
class NotesNoWordsOfImports(NotesNoWordsOfSome):
    kind = ImportMemory


@register.fault(VocabularySuite, "test_a_revived_memory_has_its_words")
class DropsTheWordsOfTombstones(InmemoryStorage):
    def __init__(self) -> None:
        super().__init__()
        self._dropped: set[Any] = set()

    async def apply(self, writes: Any, **options: Any) -> Any:
        for write in writes:
            if isinstance(write, Remove):
                self._dropped |= self._state.records[write.id].words
        return await super().apply(writes, **options)

    async def words(self, scope: Any) -> Any:
        return [word for word in await super().words(scope) if word not in self._dropped]


@register.fault(VocabularySuite, "test_the_vocabulary_is_that_of_the_scope", "test_no_vocabulary_leaves_its_scope")
class OneVocabularyForAll(InmemoryStorage):
    async def words(self, scope: Any) -> Any:
        return await super().words(Scope(scope.namespace[:1], subtree=scope.subtree))


@register.fault(VocabularySuite, "test_the_token_differs_after_a_new_word")
class CountsRemovalsOnly(InmemoryStorage):
    async def words_token(self, scope: Any) -> Any:
        return len(self._state.erased)


@register.fault(VocabularySuite, "test_erased_words_leave_the_vocabulary")
class NeverForgetsAWord(InmemoryStorage):
    def __init__(self) -> None:
        super().__init__()
        self._ever: set[Any] = set()

    async def apply(self, writes: Any, **options: Any) -> Any:
        results = await super().apply(writes, **options)
        self._ever |= set(await super().words(ALL))
        return results

    async def words(self, scope: Any) -> Any:
        return sorted(self._ever)
