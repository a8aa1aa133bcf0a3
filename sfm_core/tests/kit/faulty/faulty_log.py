"""Storages whose log, links, operations or keys are wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from msgspec.structs import replace
from register import Register

from sfm_core.errors import IdempotencyMismatch
from sfm_core.ports.writes import Erase, PutLink, RemoveLink, Replayed, StartOperation
from sfm_core.testing.storage import StorageSuite
from sfm_inmemory.state import State
from sfm_inmemory.storage import InmemoryStorage

register = Register(globals())
FAULTS = register.faults


def fault(*tests: str) -> Any:
    return register.fault(StorageSuite, *tests)


@fault("test_sequences_rise_strictly_without_gaps_inside_a_call")
class ReusesASequence(InmemoryStorage):
    async def changes(self, scope: Any, **options: Any) -> Any:
        found = await super().changes(scope, **options)
        return [replace(one, sequence=one.sequence - one.sequence % 2) for one in found]


@fault("test_a_reader_of_changes_never_skips_one")
class CommitsOutOfOrder(InmemoryStorage):
    """Draws its numbers first and lets readers see later ones before earlier ones."""

    async def changes(self, scope: Any, **options: Any) -> Any:
        found = await super().changes(scope, **options)
        newest = self._state.changes[-1].sequence if self._state.changes else 0
        return [one for one in found if one.sequence % 5 or one.sequence < newest - 4]


@fault("test_changes_are_paged_by_scope")
class RepeatsTheLastChange(InmemoryStorage):
    async def changes(self, scope: Any, *, after: int, limit: int) -> Any:
        return await super().changes(scope, after=max(after - 1, 0), limit=limit)


@fault("test_a_cursor_never_goes_back")
class MovesCursorsBack(InmemoryStorage):
    async def save_cursor(self, name: str, sequence: int, **options: Any) -> None:
        self._cursors[name] = sequence


@fault("test_an_operation_counts_what_it_touched", "test_an_erasure_is_an_operation")
class CountsNothing(InmemoryStorage):
    async def operation_members(self, id: str, **options: Any) -> Any:
        return []


@fault("test_an_operation_is_updated")
class KeepsTheFirstOperation(InmemoryStorage):
    async def apply(self, writes: Any, **options: Any) -> Any:
        known = self._state.operations
        kept = [w for w in writes if not (isinstance(w, StartOperation) and w.operation.id in known)]
        return await super().apply(kept, **options)


@fault("test_an_unknown_operation_is_none")
class AnswersAnyOperation(InmemoryStorage):
    async def operation_members(self, id: str, **options: Any) -> Any:
        return [(id, 1)]


@fault("test_a_repeated_request_is_replayed", "test_racing_requests_with_one_key_run_once")
class ForgetsKeys(InmemoryStorage):
    def _keep(self, asked: Any, results: Any) -> None:
        pass


@fault("test_racing_requests_with_one_key_run_once")
class ChecksKeysBeforeItWrites(InmemoryStorage):
    async def apply(self, writes: Any, *, atomic: bool = True, idempotency: Any = None) -> Any:
        if idempotency is not None and (kept := self._replay(idempotency)):
            return kept
        await asyncio.sleep(0)
        results = await super().apply(writes, atomic=atomic)
        if idempotency is not None:
            self._keep(idempotency, results)
        return results


@fault("test_links_and_refusals_are_kept_with_a_key")
class KeepsNoRefusals(InmemoryStorage):
    def _keep(self, asked: Any, results: Any) -> None:
        super()._keep(asked, [one for one in results if not isinstance(one, Exception)])


@fault("test_a_key_of_another_request_is_refused", "test_an_answered_key_can_be_asked_for")
class ReplaysAnything(InmemoryStorage):
    def _replay(self, asked: Any) -> Any:
        try:
            return super()._replay(asked)
        except IdempotencyMismatch:
            return Replayed(b"{}")


@fault("test_a_key_expires")
class KeepsKeysForever(InmemoryStorage):
    def _keep(self, asked: Any, results: Any) -> None:
        super()._keep(msgspec.structs.replace(asked, expires_at=asked.now.replace(year=9000)), results)


@fault("test_a_refused_call_leaves_its_key_free")
class ClaimsBeforeItWrites(InmemoryStorage):
    async def apply(self, writes: Any, *, atomic: bool = True, idempotency: Any = None) -> Any:
        if idempotency is not None and self._replay(idempotency) is None:
            self._keep(idempotency, [])
            self._state.commit()
        return await super().apply(writes, atomic=atomic)


@fault("test_a_call_without_writes_claims_its_key")
class KeepsNoEmptyAnswers(InmemoryStorage):
    def _keep(self, asked: Any, results: Any) -> None:
        if results:
            super()._keep(asked, results)


@fault("test_what_is_kept_with_a_key_is_thin")
class KeepsWholeMemories(InmemoryStorage):
    def _keep(self, asked: Any, results: Any) -> None:
        super()._keep(replace(asked, note={"memory": repr(results)}), results)


@fault("test_a_change_tells_what_happened")
class CallsEveryChangeAnUpdate(InmemoryStorage):
    async def changes(self, scope: Any, **options: Any) -> Any:
        return [replace(one, type="memory.updated") for one in await super().changes(scope, **options)]


@fault("test_erased_ids_are_known")
class ForgetsWhatItErased(InmemoryStorage):
    async def erased(self, ids: Any) -> Any:
        return {id for id in ids if id not in self._state.records}


@fault("test_a_link_is_created_updated_and_unchanged")
class RewritesEqualLinks(InmemoryStorage):
    async def apply(self, writes: Any, **options: Any) -> Any:
        changed = [
            replace(w, link=replace(w.link, weight=w.link.weight + 1e-9)) if isinstance(w, PutLink) else w
            for w in writes
        ]
        return await super().apply(changed, **options)


@fault("test_a_link_needs_both_ends_alive_in_its_namespace")
class LinksAcrossNamespaces(InmemoryStorage):
    async def apply(self, writes: Any, **options: Any) -> Any:
        moved = []
        for write in writes:
            target = self._state.records.get(write.link.target) if isinstance(write, PutLink) else None
            if target is not None and target.memory.namespace != write.link.namespace:
                return []
            moved.append(write)
        return await super().apply(moved, **options)


@fault("test_a_removed_link_is_gone")
class KeepsRemovedLinks(InmemoryStorage):
    async def apply(self, writes: Any, **options: Any) -> Any:
        kept = dict(self._state.links)
        touching = {end: set(keys) for end, keys in self._state.touching.items()}
        results = await super().apply(writes, **options)
        if any(isinstance(write, RemoveLink) for write in writes):
            self._state.links.update(kept)
            self._state.touching.update(touching)
        return results


class NamelessState(State):
    def log(self, type: Any, memory: Any, **options: Any) -> int:
        return super().log(type, memory, **{**options, "target": None})


@fault("test_link_changes_name_source_and_target")
class LogsLinksWithoutTarget(InmemoryStorage):
    def __init__(self) -> None:
        super().__init__()
        self._state = self._writer._state = NamelessState()


@fault("test_an_erased_memory_leaves_no_trace")
class ErasesTheLogToo(InmemoryStorage):
    async def apply(self, writes: Any, **options: Any) -> Any:
        results = await super().apply(writes, **options)
        gone = {write.id for write in writes if isinstance(write, Erase)}
        self._state.changes = [one for one in self._state.changes if one.memory_id not in gone]
        return results


@fault("test_an_operation_counts_what_it_touched")
class CountsEveryRemovalTwice(InmemoryStorage):
    async def operation(self, id: str) -> Any:
        found = await super().operation(id)
        return found and replace(found, count=2 * found.count)
