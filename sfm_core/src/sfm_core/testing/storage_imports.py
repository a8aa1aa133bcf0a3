"""Writes from an archive."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sfm_core.errors import Conflict, NotFound
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import ALL
from sfm_core.model.twins import digest
from sfm_core.ports.storage import Storage
from sfm_core.ports.writes import ImportLink, ImportMemory
from sfm_core.testing.build import (
    HERE,
    NAMESPACE,
    analyse,
    applied,
    applied_link,
    at,
    erase,
    link,
    memory,
    put,
    remove,
    replacing,
    store,
    write,
)
from sfm_core.testing.suite import Suite

__all__ = ["ImportTests", "importing"]


def importing(*versions: Memory, deleted: bool = False) -> ImportMemory:
    """Return the write that imports all versions of one memory."""
    newest = versions[-1]
    analysis = analyse(newest.content, newest.author)
    return ImportMemory(versions=versions, analysis=analysis, digest=digest(newest), deleted=deleted)


def three_versions() -> tuple[Memory, Memory, Memory]:
    """Return the versions 1, 2 and 4 of a memory, as an archive may hold them."""
    first = memory("one", coordinate=(1.0,))
    second = replace(first, content="two", version=2, updated_at=at(10))
    return first, second, replace(second, content="four", version=4, updated_at=at(20))


class ImportTests(Suite):
    """Importing."""

    async def test_an_imported_memory_has_its_history(self, backend: Storage) -> None:
        """All versions with their numbers and times, one change row, and the present and past read as ever."""
        versions = three_versions()
        [result] = await write(backend, importing(*versions))
        assert (applied(result).outcome, applied(result).memory) == ("created", versions[2])
        id = versions[0].id
        assert await backend.get([id], now=at(30)) == [versions[2]]
        assert await backend.get([id], now=at(30), as_of=at(15)) == [versions[1]]
        assert [stored.memory for stored in await backend.history(id, limit=9)] == list(versions[::-1])
        assert await backend.at_coordinate(NAMESPACE, (1.0,), now=at(30)) == versions[2]
        [change] = await backend.changes(HERE, after=0, limit=9)
        assert (change.type, change.version, change.sequence) == ("memory.created", 4, applied(result).sequence)
        [twin] = await write(backend, put("four", time=at(30)))
        assert applied(twin).outcome == "duplicate"

    async def test_an_imported_tombstone_stays_one(self, backend: Storage) -> None:
        """Hidden, with its history; its change says deleted."""
        versions = three_versions()
        [result] = await write(backend, importing(*versions, deleted=True))
        assert await backend.get([versions[0].id], now=at(30)) == [None]
        assert await backend.get([versions[0].id], now=at(30), as_of=at(15)) == [versions[1]]
        history = await backend.history(versions[0].id, limit=9)
        assert [(stored.memory.version, stored.deleted) for stored in history] == [(4, True), (2, False), (1, False)]
        [change] = await backend.changes(HERE, after=applied(result).sequence - 1, limit=9)
        assert (change.type, change.version) == ("memory.deleted", 4)

    async def test_an_imported_history_keeps_its_tombstones(self, backend: Storage) -> None:
        """A version that was a tombstone between two lives hides the past of its time."""
        versions = three_versions()
        await write(backend, replace(importing(*versions), tombstones=frozenset({2})))
        history = await backend.history(versions[0].id, limit=9)
        assert [(stored.memory.version, stored.deleted) for stored in history] == [(4, False), (2, True), (1, False)]
        for seconds, there in ((5, versions[0]), (15, None), (25, versions[2])):
            assert await backend.get([versions[0].id], now=at(30), as_of=at(seconds)) == [there]

    async def test_erased_ids_are_known(self, backend: Storage) -> None:
        """Erased, not deleted or unknown ones."""
        one, two = await store(backend, put("one"), put("two"))
        await store(backend, erase(one), remove(two))
        assert await backend.erased([one.id, two.id, memory("unknown").id]) == {one.id}

    async def test_a_second_import_adds_nothing(self, backend: Storage) -> None:
        """Live or tombstone, the same newest version is skipped without a change row."""
        live, gone = importing(*three_versions()), importing(memory("gone"), deleted=True)
        await store(backend, live, gone)
        before = await backend.last_sequence()
        results = await backend.apply([live, gone])
        assert isinstance(results, list)
        assert [applied(result).outcome for result in results] == ["duplicate", "duplicate"]
        assert await backend.last_sequence() == before

    async def test_an_import_never_overwrites(self, backend: Storage) -> None:
        """An id with another newest version or content, an erased id and a held coordinate are conflicts."""
        changed, erased, other = memory("one"), memory("two"), memory("three", payload={"n": 1})
        await store(backend, put(changed), put(erased), put(other), put("holder", coordinate=(5.0,)))
        [newer] = await store(backend, replacing(changed, content="newer"))
        await store(backend, erase(erased))
        for versions in (
            (changed,),
            (replace(newer, content="else"),),
            (erased,),
            (replace(other, content="else"),),
            (replace(other, payload={"n": True}),),
            (memory("new", coordinate=(5.0,)),),
        ):
            with pytest.raises(Conflict):
                await backend.apply([importing(*versions)])
        assert await backend.get([changed.id, other.id], now=at(9)) == [newer, other]

    async def test_a_live_memory_and_its_tombstone_differ(self, backend: Storage) -> None:
        """Importing a tombstone over the living is a conflict, and the other way round."""
        live, gone = memory("live"), memory("gone")
        await store(backend, importing(live), importing(gone, deleted=True))
        for refused in (importing(live, deleted=True), importing(gone)):
            with pytest.raises(Conflict):
                await backend.apply([refused])

    async def test_imported_links_are_kept_as_they_are(self, backend: Storage) -> None:
        """Ends may be tombstones; an equal link is skipped; an unknown end is not found."""
        one, gone = await store(backend, put("one"), put("gone"))
        await store(backend, remove(gone))
        made = link(one, gone, weight=0.5, metadata={"a": 1}, time=at(-99))
        [result] = await write(backend, ImportLink(link=made))
        assert (applied_link(result).outcome, applied_link(result).link) == ("created", made)
        [again] = await write(backend, ImportLink(link=made))
        assert applied_link(again).outcome == "unchanged"
        assert await backend.links_in(ALL, after=None, limit=9) == ([made], None)
        assert await backend.links([one.id], relation=None, direction="both", now=at(9)) == []
        with pytest.raises(NotFound):
            await backend.apply([ImportLink(link=link(one, memory("unknown")))])
