"""Backends that do not last, or do not share, though they say so; and honest ones that do."""

from __future__ import annotations

import asyncio
import os
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from msgspec.structs import replace
from register import Register

from sfm_core.errors import ConfigError
from sfm_core.plugins.types import Port
from sfm_core.testing.storage_lasting import DurableStorageSuite, SharedStorageSuite
from sfm_core.testing.vectors_lasting import DurableVectorsSuite, SharedVectorsSuite
from sfm_inmemory.storage import InmemoryStorage
from sfm_inmemory.vectors import InmemoryVectors

register = Register(globals())
FAULTS = register.faults


def sfm_storage() -> Any:
    return register.specs(Port.STORAGE)


def sfm_vectors() -> Any:
    return register.specs(Port.VECTORS)


class Journal:
    """A file of whole pickled entries."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.held: list[bytes] = []

    def entries(self) -> list[Any]:
        found = []
        if self.path.exists():
            with self.path.open("rb") as file:
                while True:
                    try:
                        found.append(pickle.load(file))
                    except (EOFError, pickle.UnpicklingError):
                        return found
        return found

    def append(self, entry: Any, *, every: int = 1) -> None:
        self.held.append(pickle.dumps(entry))
        if len(self.held) >= every:
            self.flush()

    def flush(self) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, b"".join(self.held))
        os.close(handle)
        self.held.clear()


@register.fault(
    DurableStorageSuite,
    "test_everything_survives_reopening",
    "test_sequences_go_on_after_reopening",
    "test_a_saved_cursor_survives_a_close",
    "test_acknowledged_writes_survive_a_kill",
    caught=False,
    kills=2,
)
class HonestStorage(InmemoryStorage):
    """Keeps a journal of its calls and plays it again."""

    takes_context = True
    every = 1

    def __init__(self, context: Any) -> None:
        super().__init__()
        self._journal = Journal(context.data_dir / "journal")
        for kind, entry in self._journal.entries():
            if kind == "cursor":
                self._cursors.update(entry)
            else:
                self.play(*entry)

    def play(self, writes: Any, options: Any) -> None:
        work = super().apply(writes, **options)
        try:
            work.send(None)
        except StopIteration:
            pass

    async def apply(self, writes: Any, **options: Any) -> Any:
        results = await super().apply(writes, **options)
        self._journal.append(("apply", (list(writes), options)), every=self.every)
        return results

    def close(self) -> None:
        self._journal.append(("cursor", dict(self._cursors)))
        self._journal.flush()


@register.fault(DurableStorageSuite, "test_erased_bytes_are_gone_from_the_store")
class KeepsErasedBytes(HonestStorage):
    pass


@register.fault(DurableStorageSuite, "test_acknowledged_writes_survive_a_kill", kills=1)
class AcknowledgesBeforeItWrites(HonestStorage):
    """Lasts over a close, not over a kill."""

    every = 64


@register.fault(DurableStorageSuite, "test_acknowledged_writes_survive_a_kill", kills=3)
class WritesBatchesInParts(HonestStorage):
    """A kill finds some of them half done, and the log apart from the records."""

    async def apply(self, writes: Any, **options: Any) -> Any:
        results: list[Any] = []
        for write in writes:
            results += await super().apply([write], **options)
            await asyncio.sleep(0.002)
        return results


@register.fault(DurableStorageSuite, "test_everything_survives_reopening", "test_a_saved_cursor_survives_a_close")
class ForgetsOnReopen(InmemoryStorage):
    pass


@register.fault(DurableStorageSuite, "test_sequences_go_on_after_reopening")
class StartsNumbersAgain(HonestStorage):
    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self._state.changes.clear()


@register.fault(
    SharedStorageSuite,
    "test_what_one_writes_the_other_reads_at_once",
    "test_racing_writers_of_two_openings_agree",
    "test_processes_write_to_one_store",
)
class EachToItsOwn(InmemoryStorage):
    pass


@register.fault(SharedStorageSuite, "test_a_reader_elsewhere_never_skips_a_change")
class SharesWithGaps(InmemoryStorage):
    """One store for all openings of a folder, whose readers see some numbers late."""

    takes_context = True
    stores: ClassVar[dict[Any, Any]] = {}

    def __init__(self, context: Any) -> None:
        super().__init__()
        first = self.stores.setdefault(context.data_dir, self)
        self._state, self._writer = first._state, first._writer

    async def changes(self, scope: Any, **options: Any) -> Any:
        found = await super().changes(scope, **options)
        newest = self._state.changes[-1].sequence if self._state.changes else 0
        return [one for one in found if one.sequence % 5 or one.sequence < newest - 4]


class HonestVectors(InmemoryVectors):
    """Keeps a journal of its calls and plays it again."""

    takes_context = True
    every = 1

    def __init__(self, context: Any) -> None:
        self._journal = Journal(context.data_dir / "vectors")
        entries = self._journal.entries()
        super().__init__(context.space if not entries else entries[0][1])
        for kind, entry in entries:
            self.play(kind, entry)
        if self._space != context.space and not context.rebuild:
            self.refuse(context.space)
        if not entries:
            self.note("space", context.space)
            self._journal.flush()

    def refuse(self, space: Any) -> None:
        raise ConfigError(f"faulty/vectors: holds {self._space}, not {space}; `sfm reindex` embeds again")

    def note(self, kind: str, entry: Any) -> None:
        self._journal.append((kind, entry), every=10**9)

    def play(self, kind: str, entry: Any) -> None:
        if kind == "space":
            self._space = entry
            self._forget()
        else:
            work = super().upsert(entry) if kind == "upsert" else super().delete(entry)
            try:
                work.send(None)
            except StopIteration:
                pass

    async def upsert(self, points: Any) -> None:
        await super().upsert(points)
        self.note("upsert", list(points))

    async def delete(self, ids: Any) -> None:
        await super().delete(ids)
        self.note("delete", list(ids))

    async def clear(self, space: Any = None) -> None:
        await super().clear(space)
        self.note("space", self._space)

    async def flush(self) -> None:
        self._journal.flush()


register.fault(
    DurableVectorsSuite,
    "test_flushed_points_survive_reopening",
    "test_an_index_of_another_space_is_refused",
    "test_a_cleared_index_reopens_in_its_new_space",
    "test_flushed_points_survive_a_kill",
    caught=False,
    kills=1,
)(HonestVectors)


@register.fault(DurableVectorsSuite, "test_deleted_vectors_leave_no_bytes")
class KeepsDeletedVectors(HonestVectors):
    async def upsert(self, points: Any) -> None:
        await super().upsert(points)
        for point in points:
            self.note("upsert", [replace(point, vector=np.asarray(point.vector, dtype=np.float32))])


@register.fault(DurableVectorsSuite, "test_an_index_of_another_space_is_refused")
class AcceptsTheWrongSpace(HonestVectors):
    def refuse(self, space: Any) -> None:
        self._space = space


@register.fault(
    DurableVectorsSuite, "test_flushed_points_survive_reopening", "test_flushed_points_survive_a_kill", kills=1
)
class FlushesNothing(HonestVectors):
    async def flush(self) -> None:
        pass


@register.fault(DurableVectorsSuite, "test_a_cleared_index_reopens_in_its_new_space")
class ClearsForNow(HonestVectors):
    async def clear(self, space: Any = None) -> None:
        await InmemoryVectors.clear(self, space)


class OwnVectors(InmemoryVectors):
    takes_context = True

    def __init__(self, context: Any) -> None:
        super().__init__(context.space)


register.fault(SharedVectorsSuite, "test_openings_see_each_others_points", "test_a_cleared_index_is_empty_for_all")(
    OwnVectors
)
