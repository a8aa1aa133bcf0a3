"""Vector indexes whose search by words is wrong."""

from __future__ import annotations

from typing import Any

from faulty_vectors import Own
from msgspec.structs import replace
from register import Register

from sfm_core.model.namespace import ALL
from sfm_core.ports.storage import TextHit, TextQuery, WordGroup
from sfm_core.testing.refusals import NoVectorsFullTextSuite
from sfm_core.testing.vectors_words import VectorsFullTextSuite

register = Register(globals())
FAULTS = register.faults


def fault(*tests: str) -> Any:
    return register.fault(VectorsFullTextSuite, *tests)


class Searching(Own):
    """Changes hits on their way out."""

    async def search_text(self, scope: Any, query: Any, **options: Any) -> Any:
        return self.change(await super().search_text(scope, query, **options), query)

    def change(self, hits: Any, query: Any) -> Any:
        return hits


@fault("test_any_word_finds_a_point")
class NeedsEveryWord(Searching):
    def change(self, hits: Any, query: Any) -> Any:
        words = {term for group in query.groups for term, _ in group.alternatives}
        held = {row.id: set(row.document.terms) for row in self._rows}
        return [hit for hit in hits if words <= held[hit.id]]


@fault("test_a_rare_term_outweighs_a_common_one")
class PrefersCommonWords(Searching):
    def change(self, hits: Any, query: Any) -> Any:
        return hits[::-1]


@fault("test_more_of_the_terms_rank_higher")
class SearchesTheLastWordOnly(Own):
    async def search_text(self, scope: Any, query: Any, **options: Any) -> Any:
        return await super().search_text(scope, TextQuery(query.groups[-1:]), **options)


@fault("test_alternatives_of_a_term_count_once")
class AddsAlternatives(Own):
    async def search_text(self, scope: Any, query: Any, **options: Any) -> Any:
        groups = [WordGroup((one,)) for group in query.groups for one in group.alternatives]
        return await super().search_text(scope, TextQuery(tuple(groups)), **options)


@fault("test_lexical_hits_come_best_first_with_ties_by_id")
class OrdersByIdBackwards(Searching):
    def change(self, hits: Any, query: Any) -> Any:
        return sorted(hits, key=lambda hit: hit.id, reverse=True)


@fault("test_a_lexical_filter_applies_before_the_limit")
class FiltersLexicalHits(Own):
    async def search_text(self, scope: Any, query: Any, *, filter: Any = None, **options: Any) -> Any:
        hits = await super().search_text(scope, query, **options)
        passing = {one.id for one in await super().search_text(scope, query, limit=10**6, filter=filter)}
        return [hit for hit in hits if hit.id in passing]


@fault("test_words_follow_their_point")
class KeepsTheFirstWords(Own):
    async def upsert(self, points: Any) -> None:
        held = {row.id: tuple(row.document.terms.elements()) for row in self._rows}
        await super().upsert([replace(one, terms=held.get(one.id, one.terms)) for one in points])


@fault("test_terms_of_points_are_opaque")
class FoldsTerms(Own):
    async def upsert(self, points: Any) -> None:
        await super().upsert([replace(one, terms=tuple(term.casefold() for term in one.terms)) for one in points])


@fault("test_a_point_without_a_vector_is_found_by_words_only")
class MakesVectorsUp(Own):
    async def upsert(self, points: Any) -> None:
        made = [1.0] + [0.0] * 7
        await super().upsert([replace(one, vector=one.vector or made) for one in points])


@fault("test_an_index_of_words_alone")
class FindsNeighboursInNothing(Own):
    async def search(self, *args: Any, **options: Any) -> Any:
        return [] if self._space is None else await super().search(*args, **options)


@fault("test_no_lexical_search_leaves_its_scope")
class SearchesByPrefix(Own):
    async def search_text(self, scope: Any, query: Any, **options: Any) -> list[TextHit]:
        names = {row.id: row.namespace for row in self._rows}
        hits = await super().search_text(ALL, query, **options)
        return [hit for hit in hits if names[hit.id].startswith(scope.namespace)]


@register.fault(
    NoVectorsFullTextSuite, "test_a_point_without_a_vector_is_refused", "test_an_undeclared_ability_is_not_there"
)
class TakesWhatItCannotFind(Own):
    pass
