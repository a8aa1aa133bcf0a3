"""Storages that read wrongly."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace
from register import Register

from sfm_core.errors import InvalidInput
from sfm_core.model.filter import FieldTest, Not
from sfm_core.model.namespace import ALL, Scope
from sfm_core.ports.storage import Listing
from sfm_core.testing.storage import StorageSuite
from sfm_inmemory.storage import InmemoryStorage

register = Register(globals())
FAULTS = register.faults
EARLY = datetime(2000, 1, 1, tzinfo=UTC)


def fault(*tests: str) -> Any:
    return register.fault(StorageSuite, *tests)


class ListChanging(InmemoryStorage):
    async def list(self, scope: Any, **options: Any) -> Any:
        found = await super().list(scope, **options)
        return Listing(tuple(self.change(found.memories, options)), found.next)

    def change(self, memories: Any, options: Any) -> Any:
        return memories


@fault("test_a_removed_memory_is_hidden_from_every_read")
class ListsTombstones(InmemoryStorage):
    async def list(self, scope: Any, **options: Any) -> Any:
        return await super().list(scope, **{**options, "deleted": True})


@fault("test_a_removed_memory_is_hidden_from_every_read", "test_an_erased_memory_leaves_no_trace")
class ServesDeletedLinks(InmemoryStorage):
    async def links(self, ids: Any, **options: Any) -> Any:
        return [link for link, _ in self._state.links.values()]

    async def locate(self, ids: Any) -> Any:
        return [found or next(iter(self._state.records.values())).newest for found in await super().locate(ids)]


@fault("test_a_removed_memory_keeps_its_history")
class ForgetsHistoryOnRemoval(InmemoryStorage):
    async def history(self, id: Any, **options: Any) -> Any:
        found = await super().history(id, **options)
        return [] if found and found[0].deleted else found


@fault("test_an_expired_memory_is_hidden_at_once", "test_the_past_still_shows_an_expired_memory")
class IgnoresExpiry(InmemoryStorage):
    async def get(self, ids: Any, *, now: Any, as_of: Any = None) -> Any:
        if as_of is None:
            return await super().get(ids, now=EARLY)
        return [None for _ in ids]


@fault("test_get_answers_in_the_asked_order")
class AnswersInItsOwnOrder(InmemoryStorage):
    async def get(self, ids: Any, **options: Any) -> Any:
        return await super().get(sorted(set(ids)), **options)


@fault("test_an_id_that_is_none_is_not_found")
class GuessesIds(InmemoryStorage):
    async def get(self, ids: Any, **options: Any) -> Any:
        known = next(iter(self._state.records), "")
        return await super().get([known if id == "%" else id for id in ids], **options)


@fault("test_many_ids_are_read_at_once")
class ReadsAThousandIds(InmemoryStorage):
    async def get(self, ids: Any, **options: Any) -> Any:
        if len(ids) > 1000:
            raise InvalidInput.of("ids", len(ids), "at most 1000")
        return await super().get(ids, **options)


@fault(
    "test_the_past_is_read_as_it_was",
    "test_the_past_of_a_deleted_memory_is_still_read",
    "test_a_list_of_the_past_shows_what_was_there",
)
class LivesInThePresent(InmemoryStorage):
    async def get(self, ids: Any, *, now: Any, as_of: Any = None) -> Any:
        return await super().get(ids, now=now)

    async def list(self, scope: Any, **options: Any) -> Any:
        return await super().list(scope, **{**options, "as_of": None})


@fault("test_history_is_newest_first_and_paged")
class OldestFirst(InmemoryStorage):
    async def history(self, id: Any, **options: Any) -> Any:
        return (await super().history(id, **options))[::-1]


@fault("test_history_is_of_one_memory")
class MixesHistories(InmemoryStorage):
    async def history(self, id: Any, **options: Any) -> Any:
        return [
            stored
            for one in self._state.records
            for stored in await super(MixesHistories, self).history(one, **options)
        ]


@fault("test_a_list_is_ordered_with_nulls_last_and_ties_by_id")
class NullsFirst(ListChanging):
    def change(self, memories: Any, options: Any) -> Any:
        return sorted(memories, key=lambda one: one.position is not None)


@fault("test_a_list_of_the_past_has_the_same_order_and_pages")
class ListsThePastByThePresent(ListChanging):
    def change(self, memories: Any, options: Any) -> Any:
        newest = self._state.records
        return (
            sorted(memories, key=lambda one: str(newest[one.id].memory.position)) if options.get("as_of") else memories
        )


@fault("test_pages_join_to_the_whole_list")
class RepeatsTheEdge(InmemoryStorage):
    async def list(self, scope: Any, *, limit: int, **options: Any) -> Any:
        found = await super().list(scope, limit=max(limit - 1, 1), **options)
        return Listing((*found.memories, *found.memories[-1:]) if limit > 1 else found.memories, found.next)


@fault("test_paging_goes_on_while_others_write")
class PagesByOffset(InmemoryStorage):
    async def list(self, scope: Any, *, after: Any, limit: int, **options: Any) -> Any:
        found = await super().list(scope, after=None, limit=10**6, **options)
        start = int(after or 0)
        page = found.memories[start : start + limit]
        return Listing(page, str(start + limit) if start + limit <= len(found.memories) else None)


@fault("test_a_malformed_position_is_refused", "test_a_position_of_another_order_is_refused")
class TakesAnyPosition(InmemoryStorage):
    async def list(self, scope: Any, **options: Any) -> Any:
        try:
            return await super().list(scope, **options)
        except InvalidInput:
            return await super().list(scope, **{**options, "after": None})


@fault("test_a_list_filters_before_it_pages")
class FiltersAfterTheLimit(InmemoryStorage):
    async def list(self, scope: Any, **options: Any) -> Any:
        found = await super().list(scope, **{**options, "filter": None})
        passing = await super().list(scope, **{**options, "after": None, "limit": 10**6})
        return Listing(tuple(one for one in found.memories if one in passing.memories), found.next)


@fault("test_tombstones_are_listed_on_request")
class NeverListsTombstones(InmemoryStorage):
    async def list(self, scope: Any, **options: Any) -> Any:
        return await super().list(scope, **{**options, "deleted": False})


def loosened(filter: Any) -> Any:
    """Take `ne` for `not eq` only where the field is there, as SQL does with NULL."""
    if isinstance(filter, FieldTest) and filter.op == "ne":
        return Not(replace(filter, op="exists", value=False))
    return filter


@fault("test_a_filter_passes_what_it_says")
class FiltersLikeSql(InmemoryStorage):
    async def list(self, scope: Any, **options: Any) -> Any:
        return await super().list(scope, **{**options, "filter": loosened(options["filter"])})


class Prefix(Scope, frozen=True):
    def covers(self, namespace: str) -> bool:
        return namespace.startswith(self.namespace)


@fault("test_everything_is_a_scope", "test_no_read_leaves_its_scope")
class ScopesByPrefix(InmemoryStorage):
    async def list(self, scope: Any, **options: Any) -> Any:
        return await super().list(Prefix(scope.namespace, scope.subtree), **options)


@fault("test_no_read_leaves_its_scope")
class ScopesWithoutCase(InmemoryStorage):
    async def changes(self, scope: Any, *, after: int, limit: int) -> Any:
        found = await super().changes(ALL, after=after, limit=10**6)
        folded = Scope(scope.namespace.casefold(), scope.subtree)
        return [one for one in found if folded.covers(one.namespace.casefold())][:limit]


@fault("test_an_unknown_memory_is_not_listed")
class InventsANamespace(InmemoryStorage):
    async def namespaces(self, scope: Any) -> Any:
        self._state.in_namespace["default"].add("")
        return self._state.in_namespace


@fault("test_a_coordinate_is_found_exactly")
class RoundsCoordinates(InmemoryStorage):
    async def at_coordinate(self, namespace: Any, coordinate: Any, **options: Any) -> Any:
        rounded = tuple(float(round(value)) for value in coordinate)
        return await super().at_coordinate(namespace, rounded, **options)


@fault("test_a_box_holds_its_bounds_and_its_dimension")
class ExcludesUpperBounds(InmemoryStorage):
    async def in_box(self, namespace: Any, low: Any, high: Any, **options: Any) -> Any:
        return await super().in_box(namespace, low, tuple(value - 1e-9 for value in high), **options)


@fault("test_an_empty_box_holds_nothing")
class TurnsBoxesAround(InmemoryStorage):
    async def in_box(self, namespace: Any, low: Any, high: Any, **options: Any) -> Any:
        return await super().in_box(namespace, min(low, high), max(low, high), **options)


@fault("test_links_are_read_by_direction_and_relation")
class IgnoresDirection(InmemoryStorage):
    async def links(self, ids: Any, **options: Any) -> Any:
        return await super().links(ids, **{**options, "direction": "both"})


@fault("test_links_come_by_weight_then_ends_then_relation")
class HeaviestFirst(InmemoryStorage):
    async def links(self, ids: Any, **options: Any) -> Any:
        return (await super().links(ids, **options))[::-1]


@fault("test_a_deleted_end_hides_a_link_until_undone")
class ShowsDanglingLinks(InmemoryStorage):
    def _is_live(self, id: Any, now: Any) -> bool:
        return True


@fault("test_all_links_of_a_scope_are_paged")
class PagesLinksOnce(InmemoryStorage):
    async def links_in(self, scope: Any, **options: Any) -> Any:
        return (await super().links_in(scope, **options))[0], None


@fault("test_namespaces_are_counted", "test_a_namespace_of_tombstones_is_still_named")
class CountsTheLivingOnly(InmemoryStorage):
    async def namespaces(self, scope: Any, **options: Any) -> Any:
        found = await super().namespaces(scope, **options)
        return [replace(one, deleted=0) for one in found if one.memories]


@fault("test_expired_memories_are_not_counted_as_live")
class CountsTheExpired(InmemoryStorage):
    async def namespaces(self, scope: Any, *, now: Any) -> Any:
        return await super().namespaces(scope, now=now.replace(year=1990))


@fault("test_a_scan_meets_everything_once")
class ScansTheLivingOnly(InmemoryStorage):
    async def scan(self, scope: Any, **options: Any) -> Any:
        async for batch in super().scan(scope, **options):
            yield [one for one in batch if not one.deleted]


@fault("test_check_answers")
class NeverWell(InmemoryStorage):
    async def check(self) -> None:
        raise InvalidInput.of("check", None, "nothing")
