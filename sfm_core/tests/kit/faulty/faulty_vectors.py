"""Vector indexes that are wrong."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from msgspec.structs import replace
from register import Register

from sfm_core.errors import BackendUnavailable
from sfm_core.model.filter import FieldTest, Not, Or
from sfm_core.model.namespace import ALL
from sfm_core.testing.refusals import (
    NoVectorsAmongSuite,
    NoVectorsFilterSuite,
    VectorsNotDurableSuite,
    VectorsNotSharedSuite,
)
from sfm_core.testing.vectors import ExactVectorsSuite, VectorsAmongSuite, VectorsFilterSuite, VectorsSuite
from sfm_inmemory.vectors import InmemoryVectors

register = Register(globals())
FAULTS = register.faults


def fault(*tests: str) -> Any:
    return register.fault(VectorsSuite, *tests)


class Own(InmemoryVectors):
    takes_context = True

    def __init__(self, context: Any) -> None:
        super().__init__(context.space)


@fault("test_a_point_is_found_at_once")
class IndexesOnFlush(Own):
    async def upsert(self, points: Any) -> None:
        self._late = points


@fault("test_hits_are_best_first_with_ties_by_id")
class WorstFirst(Own):
    async def search(self, *args: Any, **options: Any) -> Any:
        return (await super().search(*args, **options))[::-1]


@fault("test_the_length_of_the_question_does_not_matter")
class ReturnsProducts(Own):
    async def search(self, scope: Any, vector: Any, **options: Any) -> Any:
        length = float(np.linalg.norm(vector))
        return [replace(hit, cosine=hit.cosine * length) for hit in await super().search(scope, vector, **options)]


@fault("test_replays_and_reordering_change_nothing")
class LastUpsertWins(Own):
    async def upsert(self, points: Any) -> None:
        for point in points:
            self._versions.pop(point.id, None)
        await super().upsert(points)


@fault("test_replays_and_reordering_change_nothing", "test_a_deletion_before_the_point_holds")
class BringsBackTheDeleted(Own):
    async def delete(self, ids: Any) -> None:
        await super().delete(ids)
        for id, _ in ids:
            self._versions.pop(id, None)


@fault("test_a_late_deletion_leaves_a_newer_point")
class DeletesWhatIsNewer(Own):
    async def delete(self, ids: Any) -> None:
        await super().delete([(id, max(version, self._versions.get(id, 0))) for id, version in ids])


@fault("test_a_moved_vector_is_found_at_its_new_place_only")
class KeepsTheOldPlace(Own):
    async def upsert(self, points: Any) -> None:
        before = self._matrix.copy()
        await super().upsert(points)
        self._matrix[: len(before)] = np.where(before.any(axis=1)[:, None], before, self._matrix[: len(before)])


@fault("test_a_cleared_index_is_empty_and_usable")
class RemembersWhatItCleared(Own):
    async def clear(self, space: Any = None) -> None:
        versions = dict(self._versions)
        await super().clear(space)
        self._versions = versions


@fault("test_points_are_counted_by_scope")
class CountsTheDeleted(Own):
    async def count(self, scope: Any) -> int:
        return len(self._versions) if scope == ALL else await super().count(scope)


@fault("test_nothing_is_found_in_nothing")
class FailsWhenEmpty(Own):
    async def check(self) -> None:
        if not self._rows:
            raise BackendUnavailable("faulty/vectors: nothing there")


@fault("test_no_vector_search_leaves_its_scope")
class SearchesByPrefix(Own):
    async def search(self, scope: Any, vector: Any, *, limit: int, **options: Any) -> Any:
        hits = await super().search(ALL, vector, limit=10**6, **options)
        names = {row.id: row.namespace for row in self._rows}
        return [hit for hit in hits if names[hit.id].startswith(scope.namespace)][:limit]


@register.fault(VectorsAmongSuite, "test_a_restriction_applies_before_top_k")
class RestrictsAfterTopK(Own):
    async def search(self, scope: Any, vector: Any, *, among: Any = None, **options: Any) -> Any:
        return [hit for hit in await super().search(scope, vector, **options) if among is None or hit.id in among]


@register.fault(VectorsAmongSuite, "test_no_restricted_search_leaves_its_scope")
class ForgetsTheScopeOfNamedIds(Own):
    async def search(self, scope: Any, vector: Any, *, among: Any = None, **options: Any) -> Any:
        return await super().search(scope if among is None else ALL, vector, among=among, **options)


@register.fault(VectorsFilterSuite, "test_no_filtered_search_leaves_its_scope")
class ForgetsTheScopeOfAnOr(Own):
    async def search(self, scope: Any, vector: Any, *, filter: Any = None, **options: Any) -> Any:
        return await super().search(ALL if isinstance(filter, Or) else scope, vector, filter=filter, **options)


@register.fault(VectorsAmongSuite, "test_among_nothing_is_nothing")
class TakesNothingForAll(Own):
    async def search(self, scope: Any, vector: Any, *, among: Any = None, **options: Any) -> Any:
        return await super().search(scope, vector, among=among or None, **options)


@register.fault(VectorsFilterSuite, "test_a_vector_filter_applies_before_top_k")
class FiltersAfterTopK(Own):
    async def search(self, scope: Any, vector: Any, *, filter: Any = None, **options: Any) -> Any:
        hits = await super().search(scope, vector, **options)
        passing = {hit.id for hit in await super().search(scope, vector, filter=filter, limit=10**6)}
        return [hit for hit in hits if hit.id in passing]


@register.fault(VectorsFilterSuite, "test_a_vector_search_passes_the_filter_table")
class FiltersLikeSql(Own):
    async def search(self, scope: Any, vector: Any, *, filter: Any = None, **options: Any) -> Any:
        if isinstance(filter, FieldTest) and filter.op == "ne":
            filter = Not(replace(filter, op="exists", value=False))
        return await super().search(scope, vector, filter=filter, **options)


@register.fault(VectorsFilterSuite, "test_a_filter_sees_the_newest_fields")
class KeepsTheFirstFields(Own):
    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self._fields: dict[str, Any] = {}

    async def upsert(self, points: Any) -> None:
        kept = [replace(one, memory=self._fields.setdefault(one.id, one.memory)) for one in points]
        await super().upsert(kept)


@register.fault(ExactVectorsSuite, "test_as_many_hits_as_asked", "test_the_true_nearest_neighbours_are_found")
class MissesSome(Own):
    async def search(self, *args: Any, **options: Any) -> Any:
        return [hit for hit in await super().search(*args, **options) if hash(hit.id) % 4]


@register.fault(NoVectorsAmongSuite, "test_a_search_among_ids_is_refused")
@register.fault(NoVectorsFilterSuite, "test_a_filtered_search_is_refused")
class IgnoresRestrictions(Own):
    async def search(self, scope: Any, vector: Any, *, limit: int, **options: Any) -> Any:
        return await super().search(scope, vector, limit=limit)


class Kept(Own):
    stores: ClassVar[dict[Any, Any]] = {}

    def __new__(cls, context: Any) -> Any:
        return cls.stores.setdefault(context.data_dir, super().__new__(cls))

    def __init__(self, context: Any) -> None:
        if not hasattr(self, "_rows"):
            super().__init__(context)


register.fault(VectorsNotDurableSuite, "test_reopening_starts_empty")(Kept)
register.fault(VectorsNotSharedSuite, "test_a_second_opening_is_refused_or_apart")(Kept)
