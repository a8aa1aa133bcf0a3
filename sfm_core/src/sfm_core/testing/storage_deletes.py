"""Tombstones, undo, erasure and expiry."""

from __future__ import annotations

import pytest

from sfm_core.errors import Conflict, NotFound
from sfm_core.model.namespace import ALL
from sfm_core.ports.storage import Order, Storage
from sfm_core.testing.build import (
    HERE,
    NAMESPACE,
    NOW,
    applied,
    at,
    erase,
    ids_of,
    memory,
    new_id,
    operation,
    put,
    remove,
    replacing,
    revive,
    store,
    tie,
    write,
)
from sfm_core.testing.suite import Suite

__all__ = ["EraseTests", "ExpiryTests", "RemoveTests", "seen"]


async def seen(backend: Storage, id: str, seconds: float) -> set[str]:
    """Return the names of the reads that show the memory `id` (at coordinate (1.0,), linked) at that time."""
    now = at(seconds)
    listing = await backend.list(ALL, filter=None, order=Order.CREATED_AT, limit=100, after=None, now=now)
    holder = await backend.at_coordinate(NAMESPACE, (1.0,), now=now)
    links = await backend.links([id], relation=None, direction="both", now=now)
    found = {
        "get": ids_of(await backend.get([id], now=now)),
        "list": ids_of(listing.memories),
        "at_coordinate": ids_of([holder]),
        "in_box": ids_of(await backend.in_box(NAMESPACE, (0.0,), (2.0,), limit=9, now=now)),
        "links": [end for link in links for end in (link.source, link.target)],
    }
    return {name for name, ids in found.items() if id in ids}


EVERYWHERE = {"get", "list", "at_coordinate", "in_box", "links"}


class RemoveTests(Suite):
    """Tombstones and their undo."""

    async def test_a_removed_memory_is_hidden_from_every_read(self, backend: Storage) -> None:
        """At once, and with its links; the change and the new version tell of it."""
        [one, other] = await store(backend, put("one", coordinate=(1.0,)), put("other"))
        await store(backend, tie(one, other))
        assert await seen(backend, one.id, 1) == EVERYWHERE
        [result] = await write(backend, remove(one))
        assert (applied(result).outcome, applied(result).memory.version) == ("deleted", 2)
        assert await seen(backend, one.id, 1) == set()
        assert await backend.links([other.id], relation=None, direction="both", now=at(1)) == []
        [change] = await backend.changes(HERE, after=applied(result).sequence - 1, limit=9)
        assert (change.type, change.memory_id, change.version) == ("memory.deleted", one.id, 2)

    async def test_a_removed_memory_keeps_its_history(self, backend: Storage) -> None:
        """The tombstone is the newest version, marked as deleted."""
        [one] = await store(backend, put("one"))
        await store(backend, remove(one))
        history = await backend.history(one.id, limit=9)
        assert [(s.memory.version, s.deleted, s.memory.content) for s in history] == [
            (2, True, "one"),
            (1, False, "one"),
        ]
        [located] = await backend.locate([one.id])
        assert located == history[0]
        assert history[0].memory.updated_at == at(1)

    async def test_only_what_is_there_can_be_removed(self, backend: Storage) -> None:
        """Unknown, removed and erased memories are not found."""
        removed, erased = memory("removed"), memory("erased")
        await store(backend, put(removed), put(erased))
        await store(backend, remove(removed), erase(erased))
        for one in (memory("unknown"), removed, erased):
            with pytest.raises(NotFound):
                await backend.apply([remove(one)])

    async def test_an_undo_brings_everything_back(self, backend: Storage) -> None:
        """Every read shows the memory again, as a new version, with its links."""
        [one, other] = await store(backend, put("one", coordinate=(1.0,)), put("other"))
        op = operation()
        await store(backend, tie(one, other), op, remove(one, operation=op.operation.id))
        [result] = await write(backend, revive(one, op.operation.id))
        assert (applied(result).outcome, applied(result).memory.version) == ("restored", 3)
        assert await seen(backend, one.id, 3) == EVERYWHERE
        [change] = await backend.changes(HERE, after=applied(result).sequence - 1, limit=9)
        assert change.type == "memory.restored"

    async def test_only_its_own_operation_undoes_a_deletion(self, backend: Storage) -> None:
        """Another operation, a live memory, a second undo and a deletion since then are not found."""
        [one] = await store(backend, put("one"))
        first, second = new_id(), new_id()
        with pytest.raises(NotFound):
            await backend.apply([revive(one, first)])
        await store(backend, remove(one, operation=first))
        with pytest.raises(NotFound):
            await backend.apply([revive(one, second)])
        await store(backend, revive(one, first))
        with pytest.raises(NotFound):
            await backend.apply([revive(one, first)])
        await store(backend, remove(one, operation=second, time=at(3)))
        with pytest.raises(NotFound):
            await backend.apply([revive(one, first)])

    async def test_an_undo_does_not_displace_anyone(self, backend: Storage) -> None:
        """A coordinate that was taken meanwhile is a conflict; the tombstone stays."""
        [one] = await store(backend, put("one", coordinate=(1.0,)))
        op = new_id()
        await store(backend, remove(one, operation=op), put("two", coordinate=(1.0,), time=at(2)))
        with pytest.raises(Conflict):
            await backend.apply([revive(one, op)])
        [located] = await backend.locate([one.id])
        assert located is not None
        assert located.deleted


class EraseTests(Suite):
    """Erasure."""

    async def test_an_erased_memory_leaves_no_trace(self, backend: Storage) -> None:
        """No read, no history, no past, no link, no count knows it; only thin change rows stay."""
        [one, other] = await store(backend, put("one", coordinate=(1.0,)), put("other"))
        await store(backend, tie(one, other), replacing(one, content="more"))
        [result] = await write(backend, erase(one, time=at(5)))
        assert (applied(result).outcome, applied(result).memory.content) == ("erased", "more")
        assert await seen(backend, one.id, 6) == set()
        assert await backend.get([one.id], now=at(6), as_of=at(1)) == [None]
        assert await backend.locate([one.id]) == [None]
        assert await backend.history(one.id, limit=9) == []
        assert (await backend.links_in(ALL, after=None, limit=9))[0] == []
        [stats] = await backend.namespaces(ALL, now=at(6))
        assert (stats.memories, stats.deleted, stats.versions, stats.links) == (1, 0, 1, 0)
        assert [s.memory.id async for batch in backend.scan(ALL, now=NOW) for s in batch] == [other.id]
        rows = [c for c in await backend.changes(ALL, after=0, limit=99) if c.memory_id == one.id]
        assert [(c.type, c.version) for c in rows if c.target is None] == [
            ("memory.created", 1),
            ("memory.updated", 2),
            ("memory.erased", 3),
        ]

    async def test_a_tombstone_can_be_erased(self, backend: Storage) -> None:
        """Deleted first, erased later; an undo finds nothing any more."""
        [one] = await store(backend, put("one"))
        op = new_id()
        await store(backend, remove(one, operation=op), erase(one, time=at(2)))
        assert await backend.history(one.id, limit=9) == []
        with pytest.raises(NotFound):
            await backend.apply([revive(one, op, time=at(3))])

    async def test_an_erased_memory_cannot_be_erased_again(self, backend: Storage) -> None:
        """Neither can an unknown one."""
        [one] = await store(backend, put("one"))
        await store(backend, erase(one))
        for gone in (one, memory("unknown")):
            with pytest.raises(NotFound):
                await backend.apply([erase(gone)])

    async def test_erasing_leaves_the_others(self, backend: Storage) -> None:
        """An equal memory and the other end of a link are untouched."""
        [one, twin, other] = await store(backend, put("one"), put("one", dedupe=False), put("other"))
        await store(backend, tie(one, other), tie(twin, other), erase(one))
        assert await backend.get([twin.id, other.id], now=NOW) == [twin, other]
        links = await backend.links([other.id], relation=None, direction="in", now=NOW)
        assert [link.source for link in links] == [twin.id]


class ExpiryTests(Suite):
    """Memories with an end."""

    async def test_an_expired_memory_is_hidden_at_once(self, backend: Storage) -> None:
        """Every read hides it from its instant on, without any sweep; its links as well."""
        [one, other] = await store(backend, put("one", coordinate=(1.0,), expires_at=at(10)), put("other"))
        await store(backend, tie(one, other))
        assert await seen(backend, one.id, 9.999999) == EVERYWHERE
        assert await seen(backend, one.id, 10) == set()
        assert await backend.links([other.id], relation=None, direction="both", now=at(10)) == []

    async def test_an_expired_memory_can_be_swept(self, backend: Storage) -> None:
        """It is still located, and removing makes a tombstone of it."""
        [one] = await store(backend, put("one", expires_at=at(1)))
        [located] = await backend.locate([one.id])
        assert located is not None
        assert not located.deleted
        assert [s.memory.id async for batch in backend.scan(HERE, now=at(5)) for s in batch] == [one.id]
        [result] = await write(backend, remove(one, time=at(5)))
        assert applied(result).outcome == "deleted"
        with pytest.raises(NotFound):
            await backend.apply([remove(one, time=at(6))])

    async def test_the_past_still_shows_an_expired_memory(self, backend: Storage) -> None:
        """`as_of` judges expiry at that moment."""
        [one] = await store(backend, put("one", expires_at=at(10)))
        assert await backend.get([one.id], now=at(20), as_of=at(5)) == [one]
        assert await backend.get([one.id], now=at(20), as_of=at(10)) == [None]
