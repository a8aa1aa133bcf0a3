"""Storages that write wrongly."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from msgspec.structs import replace
from register import Register

from sfm_core.errors import NotFound, SfmError
from sfm_core.ports.writes import Erase, ImportMemory, Put, Remove, Replace, Revive
from sfm_core.testing.storage import StorageSuite
from sfm_inmemory.state import is_live
from sfm_inmemory.storage import InmemoryStorage
from sfm_inmemory.writing import Writer

register = Register(globals())
FAULTS = register.faults


def fault(*tests: str) -> Any:
    return register.fault(StorageSuite, *tests)


class Rewriting(InmemoryStorage):
    """Changes every write on its way in."""

    async def apply(self, writes: Any, **options: Any) -> Any:
        return await super().apply([self.change(write) for write in writes], **options)

    def change(self, write: Any) -> Any:
        return write


class Rereading(InmemoryStorage):
    """Changes every memory on its way out."""

    async def get(self, ids: Any, **options: Any) -> Any:
        return [one and self.change(one) for one in await super().get(ids, **options)]

    def change(self, memory: Any) -> Any:
        return memory


class Unchecking(InmemoryStorage):
    """Has a writer whose named checks do nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._writer = self.writer(self._state)

    writer = Writer


@fault("test_a_new_memory_is_read_back_with_every_field")
class LosesAField(Rereading):
    def change(self, memory: Any) -> Any:
        return replace(memory, source=None)


@fault("test_a_new_memory_is_read_back_with_every_field", "test_a_reader_of_changes_never_skips_one")
class LosesAWrite(InmemoryStorage):
    calls = 0

    async def apply(self, writes: Any, **options: Any) -> Any:
        self.calls += 1
        results = await super().apply(writes, **options)
        if self.calls % 3 == 1:
            for write in writes:
                if isinstance(write, Put) and write.memory.id in self._state.records:
                    self._state.wipe(self._state.records[write.memory.id])
                    self._state.changes.pop()
        return results


@fault("test_odd_content_comes_back_equal")
class CutsAtNul(Rereading):
    def change(self, memory: Any) -> Any:
        return replace(memory, content=memory.content and memory.content.split("\x00")[0])


@fault("test_odd_payloads_come_back_equal")
class ReadsNumbersAsFloats(Rereading):
    def change(self, memory: Any) -> Any:
        return replace(memory, payload=json.loads(json.dumps(memory.payload), parse_int=float))


@fault("test_times_keep_their_microseconds")
class CutsMicroseconds(Rereading):
    def change(self, memory: Any) -> Any:
        return replace(memory, created_at=memory.created_at.replace(microsecond=0))


@fault(
    "test_a_taken_id_is_a_conflict",
    "test_the_id_of_a_tombstone_stays_taken",
    "test_the_id_of_an_erased_memory_stays_taken",
    "test_an_import_never_overwrites",
    "test_a_live_memory_and_its_tombstone_differ",
)
class OverwritesTakenIds(Unchecking):
    class writer(Writer):
        def _require_free_id(self, id: str) -> None:
            pass


@fault(
    "test_an_occupied_coordinate_gets_a_new_version",
    "test_racing_writers_at_a_coordinate_share_it",
    "test_replacing_keeps_coordinates_apart",
    "test_an_undo_does_not_displace_anyone",
    "test_a_given_id_must_be_that_of_the_holder",
)
class IgnoresCoordinates(Unchecking):
    class writer(Writer):
        def _holder(self, memory: Any, now: Any) -> Any:
            return None


@fault("test_a_coordinate_is_held_in_its_namespace_only", "test_writes_stay_in_their_namespace")
class SharesCoordinates(Unchecking):
    class writer(Writer):
        def _holder(self, memory: Any, now: Any) -> Any:
            records = self._state.records.values()
            found = (r for r in records if r.memory.coordinate == memory.coordinate and is_live(r.newest, now))
            return next(found, None) if memory.coordinate else None


@fault("test_a_tombstone_frees_its_coordinate")
class KeepsExpiredCoordinates(Unchecking):
    class writer(Writer):
        def _holder(self, memory: Any, now: Any) -> Any:
            id = self._state.coordinates.get((memory.namespace, memory.coordinate))
            return self._state.records.get(id)


@fault("test_later_writes_see_the_effects_of_earlier_ones")
class JudgesABatchAsOne(InmemoryStorage):
    async def apply(self, writes: Any, **options: Any) -> Any:
        later = [replace(write, dedupe=False) if isinstance(write, Put) else write for write in writes[1:]]
        return await super().apply([*writes[:1], *later], **options)


@fault("test_a_refused_atomic_batch_stores_nothing")
class KeepsHalfOfARefusedBatch(InmemoryStorage):
    async def apply(self, writes: Any, *, atomic: bool = True, idempotency: Any = None) -> Any:
        results = await super().apply(writes, atomic=False, idempotency=idempotency)
        refused = [one for one in results if isinstance(one, SfmError)] if isinstance(results, list) else []
        if atomic and refused:
            raise refused[0]
        return results


@fault("test_a_refused_write_leaves_the_others", "test_links_and_refusals_are_kept_with_a_key")
class AlwaysAtomic(InmemoryStorage):
    async def apply(self, writes: Any, *, atomic: bool = True, idempotency: Any = None) -> Any:
        return await super().apply(writes, idempotency=idempotency)


@fault("test_an_empty_call_changes_nothing")
class LogsEmptyCalls(InmemoryStorage):
    async def apply(self, writes: Any, **options: Any) -> Any:
        if not writes:
            self._state.changes.append(None)  # type: ignore[arg-type]
        return await super().apply(writes, **options)


@fault(
    "test_a_twin_is_a_duplicate",
    "test_fields_that_were_not_given_do_not_count",
    "test_racing_twins_become_one_memory",
    "test_a_taken_id_of_a_twin_is_a_duplicate",
    "test_a_twin_comes_before_the_coordinate",
)
class KnowsNoTwins(Rewriting):
    def change(self, write: Any) -> Any:
        return replace(write, dedupe=False) if isinstance(write, Put) else write


@fault("test_racing_twins_become_one_memory")
class ChecksTwinsBeforeItWrites(InmemoryStorage):
    """The classical race: look, wait, write."""

    async def apply(self, writes: Any, **options: Any) -> Any:
        seen = {record.digest for record in self._state.records.values()}
        await asyncio.sleep(0)
        plain = [replace(w, dedupe=w.digest in seen) if isinstance(w, Put) else w for w in writes]
        return await super().apply(plain, **options)


@fault("test_a_field_that_differs_makes_no_twin")
class JudgesTwinsByContent(Rewriting):
    def change(self, write: Any) -> Any:
        return replace(write, given=frozenset()) if isinstance(write, Put) else write


@fault("test_only_the_living_have_twins")
class FindsTwinsInTheGrave(Unchecking):
    class writer(Writer):
        def _twin(self, write: Any, now: Any) -> Any:
            records = self._state.records.values()
            return next((r for r in records if r.memory.content == write.memory.content), None)


@fault("test_without_dedupe_a_twin_is_stored_again")
class AlwaysDedupes(Rewriting):
    def change(self, write: Any) -> Any:
        return replace(write, dedupe=True) if isinstance(write, Put) else write


@fault("test_a_replaced_memory_has_its_next_version")
class KeepsTheFormerVersion(Rewriting):
    def change(self, write: Any) -> Any:
        if isinstance(write, Replace):
            former = self._state.records[write.memory.id].memory
            return replace(write, memory=replace(former, version=former.version + 1))
        return write


@fault("test_a_stale_version_is_refused", "test_of_racing_updates_of_one_version_one_wins")
class LastWriterWins(Unchecking):
    class writer(Writer):
        def _require_version(self, record: Any, expected: Any) -> None:
            pass


@fault("test_only_the_living_are_replaced", "test_only_what_is_there_can_be_removed")
class WritesToTheDead(Rewriting):
    def change(self, write: Any) -> Any:
        if isinstance(write, Remove) and write.id in self._state.records:
            record = self._state.records[write.id]
            alive = replace(record.newest, deleted=False)
            self._state.records[write.id] = replace(record, versions=(*record.versions[:-1], alive))
        return replace(write, revive=True) if isinstance(write, Replace) else write


@fault("test_a_tombstone_is_restored_on_request")
class NeverRestores(Rewriting):
    def change(self, write: Any) -> Any:
        return replace(write, revive=False) if isinstance(write, Replace) else write


@fault("test_only_its_own_operation_undoes_a_deletion")
class UndoesForAnyone(Rewriting):
    def change(self, write: Any) -> Any:
        if isinstance(write, Revive) and write.id in self._state.records:
            return replace(write, operation=self._state.records[write.id].operation or "")
        return write


@fault("test_an_undo_brings_everything_back")
class UndoesWithoutAnIndex(InmemoryStorage):
    async def apply(self, writes: Any, **options: Any) -> Any:
        results = await super().apply(writes, **options)
        if any(isinstance(write, Revive) for write in writes):
            self._state.coordinates.clear()
        return results


@fault(
    "test_an_erased_memory_leaves_no_trace",
    "test_a_tombstone_can_be_erased",
)
class ErasesByTombstone(Rewriting):
    def change(self, write: Any) -> Any:
        if isinstance(write, Erase):
            return Remove(id=write.id, operation=write.operation, time=write.time)
        return write


@fault("test_an_erased_memory_cannot_be_erased_again")
class ErasesForever(InmemoryStorage):
    async def apply(self, writes: Any, **options: Any) -> Any:
        try:
            return await super().apply(writes, **options)
        except NotFound:
            return []


@fault("test_erasing_leaves_the_others")
class ErasesTwins(InmemoryStorage):
    async def apply(self, writes: Any, **options: Any) -> Any:
        results = await super().apply(writes, **options)
        for write in writes:
            if isinstance(write, Erase):
                for record in [r for r in self._state.records.values() if r.memory.content == "one"]:
                    self._state.wipe(record)
        return results


@fault("test_an_expired_memory_can_be_swept")
class RefusesToSweep(InmemoryStorage):
    async def apply(self, writes: Any, **options: Any) -> Any:
        for write in writes:
            if isinstance(write, Remove) and not self._is_live(write.id, write.time):
                raise NotFound("faulty/storage: not there")
        return await super().apply(writes, **options)


@fault("test_a_cancelled_write_is_whole_or_absent", "test_a_write_and_its_change_are_one")
class WritesOneByOne(InmemoryStorage):
    async def apply(self, writes: Any, **options: Any) -> Any:
        results: list[Any] = []
        for write in writes:
            await asyncio.sleep(0)
            results += await super().apply([write], **options)
        return results


@fault("test_a_write_and_its_change_are_one")
class SkipsAChangeRow(InmemoryStorage):
    async def apply(self, writes: Any, **options: Any) -> Any:
        results = await super().apply(writes, **options)
        if len(self._state.changes) % 3 == 0:
            self._state.changes.pop()
        return results


@fault("test_an_imported_memory_has_its_history")
class ImportsTheNewestOnly(Rewriting):
    def change(self, write: Any) -> Any:
        return replace(write, versions=write.versions[-1:]) if isinstance(write, ImportMemory) else write


@fault("test_an_imported_tombstone_stays_one")
class ImportsTombstonesAlive(Rewriting):
    def change(self, write: Any) -> Any:
        return replace(write, deleted=False) if isinstance(write, ImportMemory) else write


@fault("test_an_imported_history_keeps_its_tombstones")
class ImportsPastTombstonesAlive(Rewriting):
    def change(self, write: Any) -> Any:
        return replace(write, tombstones=frozenset()) if isinstance(write, ImportMemory) else write


@fault("test_a_second_import_adds_nothing")
class ImportsTwice(InmemoryStorage):
    async def apply(self, writes: Any, **options: Any) -> Any:
        for write in writes:
            if isinstance(write, ImportMemory) and write.versions[-1].id in self._state.records:
                self._state.wipe(self._state.records[write.versions[-1].id])
        return await super().apply(writes, **options)


@fault("test_imported_links_are_kept_as_they_are")
class ImportsLinksOfTheLivingOnly(Unchecking):
    class writer(Writer):
        def _end(self, id: str, namespace: str) -> Any:
            if self._known(id).newest.deleted:
                raise NotFound("faulty/storage: not there")
            return super()._end(id, namespace)
