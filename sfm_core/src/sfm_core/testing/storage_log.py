"""The change log, cursors, operations, idempotency keys, counts and scans."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from sfm_core.errors import IdempotencyMismatch, NotFound
from sfm_core.model.namespace import ALL, Scope
from sfm_core.ports.storage import NamespaceStats, Storage, Stored
from sfm_core.ports.writes import Idempotency, Replayed, Write
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

__all__ = ["ChangeTests", "IdempotencyTests", "OperationTests", "OverviewTests"]


class ChangeTests(Suite):
    """The change log and its consumers' cursors."""

    async def test_sequences_rise_strictly_without_gaps_inside_a_call(self, backend: Storage) -> None:
        """Every change has its own number, later ones higher, and the last is the newest."""
        assert await backend.last_sequence() == 0
        for count in (1, 3, 2):
            await store(backend, *(put(f"{count} {n}") for n in range(count)))
        rows = await backend.changes(ALL, after=0, limit=99)
        numbers = [row.sequence for row in rows]
        assert len(numbers) == 6
        assert numbers == sorted(set(numbers))
        assert numbers[0] > 0
        assert await backend.last_sequence() == numbers[-1]

    async def test_changes_are_paged_by_scope(self, backend: Storage) -> None:
        """`after` is exclusive, the limit counts rows of the scope, other namespaces are left out."""
        names = ["acme/agent", "acme/agent/x", "acme/agent-7", "acme/agent"]
        stored = await store(backend, *(put(f"n {n}", namespace=name) for n, name in enumerate(names)))
        whole = await backend.changes(ALL, after=0, limit=99)
        assert [row.memory_id for row in whole] == ids_of(stored)
        here = await backend.changes(HERE, after=0, limit=99)
        assert [row.memory_id for row in here] == [stored[0].id, stored[3].id]
        below = await backend.changes(Scope(NAMESPACE, subtree=True), after=0, limit=2)
        assert [row.memory_id for row in below] == [stored[0].id, stored[1].id]
        rest = await backend.changes(Scope(NAMESPACE, subtree=True), after=below[-1].sequence, limit=9)
        assert [row.memory_id for row in rest] == [stored[3].id]
        assert await backend.changes(ALL, after=whole[-1].sequence, limit=9) == []

    async def test_a_change_tells_what_happened(self, backend: Storage) -> None:
        """Type, memory, version, namespace and time of every kind of write."""
        op = new_id()
        [one] = await store(backend, put("one", time=at(1)))
        [two] = await store(backend, replacing(one, content="two", time=at(2)))
        await store(backend, remove(two, operation=op, time=at(3)), revive(two, op, time=at(4)), erase(two, time=at(5)))
        rows = await backend.changes(ALL, after=0, limit=99)
        assert [(row.type, row.version, row.time) for row in rows] == [
            ("memory.created", 1, at(1)),
            ("memory.updated", 2, at(2)),
            ("memory.deleted", 3, at(3)),
            ("memory.restored", 4, at(4)),
            ("memory.erased", 5, at(5)),
        ]
        assert {(row.memory_id, row.namespace, row.target) for row in rows} == {(one.id, NAMESPACE, None)}

    async def test_a_cursor_never_goes_back(self, backend: Storage) -> None:
        """Each consumer has its own; zero starts it again."""
        assert await backend.cursor("index") == 0
        for given, kept in ((5, 5), (3, 5), (9, 9), (0, 0), (2, 2)):
            await backend.save_cursor("index", given)
            assert await backend.cursor("index") == kept
        assert await backend.cursor("relay") == 0


class OperationTests(Suite):
    """Operations."""

    async def test_an_operation_counts_what_it_touched(self, backend: Storage) -> None:
        """Its count and newest sequence follow its writes; its members are named with their versions."""
        start = operation(kind="forget", undo_until=at(3600))
        id = start.operation.id
        [begun] = await write(backend, start)
        assert begun == start.operation
        stored = await store(backend, *(put(f"n {n}") for n in range(5)))
        await store(backend, *(remove(one, operation=id) for one in stored[:4]), remove(stored[4]))
        found = await backend.operation(id)
        assert found is not None
        assert (found.kind, found.count, found.undo_until, found.undone_at) == ("forget", 4, at(3600), None)
        assert found.sequence == (await backend.last_sequence()) - 1
        members = await backend.operation_members(id, limit=99)
        assert members == sorted((one.id, 2) for one in stored[:4])
        page = await backend.operation_members(id, limit=3)
        assert page + await backend.operation_members(id, limit=3, after=page[-1][0]) == members

    async def test_an_operation_is_updated(self, backend: Storage) -> None:
        """Starting it again changes its row and keeps count and members."""
        start = operation(undo_until=at(60))
        id = start.operation.id
        [one] = await store(backend, start, put("one"))
        await store(backend, remove(one, operation=id))
        undone = operation(id, undo_until=at(60), undone_at=at(9))
        await store(backend, undone, revive(one, id, time=at(9)))
        found = await backend.operation(id)
        assert found is not None
        assert (found.undone_at, found.count) == (at(9), 1)
        assert [member for member, _ in await backend.operation_members(id, limit=9)] == [one.id]

    async def test_an_erasure_is_an_operation(self, backend: Storage) -> None:
        """Its members are thin: id and version."""
        start = operation(kind="erase")
        [one] = await store(backend, start, put("one"))
        await store(backend, erase(one, operation=start.operation.id))
        found = await backend.operation(start.operation.id)
        assert found is not None
        assert (found.kind, found.count) == ("erase", 1)
        assert await backend.operation_members(start.operation.id, limit=9) == [(one.id, 2)]

    async def test_an_unknown_operation_is_none(self, backend: Storage) -> None:
        """And has no members."""
        assert await backend.operation(new_id()) is None
        assert await backend.operation_members(new_id(), limit=9) == []


def claim(
    key: str = "k", request: bytes = b"r1", *, scope: str = "me /v1", seconds: float = 0, **note: Any
) -> Idempotency:
    """Return an idempotency key that is used `seconds` after `NOW` and lives for a minute."""
    return Idempotency(
        scope=scope, key=key, request=request, now=at(seconds), expires_at=at(seconds + 60), note=dict(note)
    )


class IdempotencyTests(Suite):
    """Idempotency keys."""

    async def test_a_repeated_request_is_replayed(self, backend: Storage) -> None:
        """Nothing is written again; the kept answer names ids, versions, outcomes, sequences and the note."""
        first, start = memory("one"), operation()
        results = await backend.apply([put(first), start], idempotency=claim(wait=True, n=1))
        assert isinstance(results, list)
        before = await backend.last_sequence()
        replayed = await backend.apply([put(memory("one")), start], idempotency=claim(seconds=59.9))
        assert isinstance(replayed, Replayed)
        line = {"id": first.id, "version": 1, "outcome": "created", "sequence": applied(results[0]).sequence}
        assert json.loads(replayed.answer) == {
            "results": [line, {"operation": start.operation.id}],
            "note": {"wait": True, "n": 1},
        }
        assert await backend.last_sequence() == before

    async def test_links_and_refusals_are_kept_with_a_key(self, backend: Storage) -> None:
        """In a call that is not atomic each result has its thin form."""
        one, two = await store(backend, put("one"), put("two"))
        writes: list[Write] = [tie(one, two), remove(memory("unknown")), remove(two, time=at(2))]
        results = await backend.apply(writes, atomic=False, idempotency=claim())
        assert isinstance(results, list)
        replayed = await backend.apply(writes, atomic=False, idempotency=claim())
        assert isinstance(replayed, Replayed)
        tied, refused, removed = json.loads(replayed.answer)["results"]
        last = await backend.last_sequence()
        assert tied == {"link": [one.id, two.id, "related"], "outcome": "created", "sequence": last - 1}
        assert (refused["error"], refused["detail"]) == ("NotFound", str(results[1]))
        assert removed == {"id": two.id, "version": 2, "outcome": "deleted", "sequence": last}

    async def test_a_key_of_another_request_is_refused(self, backend: Storage) -> None:
        """Nothing is stored; other scopes and keys are free."""
        await backend.apply([put("one")], idempotency=claim())
        other = memory("two")
        with pytest.raises(IdempotencyMismatch):
            await backend.apply([put(other)], idempotency=claim(request=b"r2"))
        assert await backend.get([other.id], now=NOW) == [None]
        for free in (claim("k2", b"r2"), claim(request=b"r2", scope="you /v1")):
            assert isinstance(await backend.apply([put(other)], idempotency=free), list)

    async def test_a_key_expires(self, backend: Storage) -> None:
        """After its lifetime it may be used for anything again."""
        await backend.apply([put("one")], idempotency=claim())
        assert isinstance(await backend.apply([put("two")], idempotency=claim(request=b"r2", seconds=60)), list)
        assert isinstance(await backend.apply([put("x")], idempotency=claim(request=b"r2", seconds=61)), Replayed)

    async def test_a_refused_call_leaves_its_key_free(self, backend: Storage) -> None:
        """An atomic call that was refused may be repeated in earnest."""
        with pytest.raises(NotFound):
            await backend.apply([remove(memory("unknown"))], idempotency=claim())
        assert isinstance(await backend.apply([put("one")], idempotency=claim(request=b"r2")), list)

    async def test_an_answered_key_can_be_asked_for(self, backend: Storage) -> None:
        """Asking claims nothing, gives what a replay would give, and refuses another request."""
        assert await backend.answered(claim()) is None
        await backend.apply([put("one")], idempotency=claim())
        assert await backend.answered(claim()) == await backend.apply([put("one")], idempotency=claim())
        assert await backend.answered(claim(request=b"r2", seconds=61)) is None
        with pytest.raises(IdempotencyMismatch):
            await backend.answered(claim(request=b"r2"))

    async def test_a_call_without_writes_claims_its_key(self, backend: Storage) -> None:
        """An answer that needed no write is kept as well."""
        assert await backend.apply([], idempotency=claim(n=1)) == []
        replayed = await backend.answered(claim())
        assert replayed is not None
        assert json.loads(replayed.answer) == {"results": [], "note": {"n": 1}}

    async def test_what_is_kept_with_a_key_is_thin(self, backend: Storage) -> None:
        """No content, payload, author or tag is in it."""
        write = put("secret content", payload={"secret": "secret"}, author="secret", tags=("secret",), thread="secret")
        await backend.apply([write], idempotency=claim())
        replayed = await backend.apply([write], idempotency=claim())
        assert isinstance(replayed, Replayed)
        assert b"secret" not in replayed.answer

    async def test_racing_requests_with_one_key_run_once(self, backend: Storage) -> None:
        """One of them writes, the others are replayed its answer."""
        calls = (backend.apply([put("one", dedupe=False)], idempotency=claim()) for _ in range(16))
        answers = await asyncio.gather(*calls)
        assert sum(isinstance(answer, list) for answer in answers) == 1
        assert len({answer.answer for answer in answers if isinstance(answer, Replayed)}) == 1
        assert len(await backend.changes(ALL, after=0, limit=99)) == 1


class OverviewTests(Suite):
    """Counts and scans."""

    async def test_namespaces_are_counted(self, backend: Storage) -> None:
        """Live memories, tombstones, versions and visible links of each, by name."""
        one, two, three = await store(backend, put("one"), put("two"), put("three"))
        x, y = await store(backend, put("x", namespace="acme/agent-7"), put("y", namespace="acme/agent-7"))
        await store(backend, tie(one, two), tie(two, three), tie(x, y, namespace="acme/agent-7"))
        await store(backend, replacing(one, content="more"), remove(three))
        own = NamespaceStats(namespace=NAMESPACE, memories=2, deleted=1, versions=5, links=1)
        away = NamespaceStats(namespace="acme/agent-7", memories=2, deleted=0, versions=2, links=1)
        assert await backend.namespaces(ALL, now=NOW) == [own, away]
        assert await backend.namespaces(HERE, now=NOW) == [own]
        assert await backend.namespaces(Scope("acme", subtree=True), now=NOW) == [own, away]
        assert await backend.namespaces(Scope("acme"), now=NOW) == []

    async def test_expired_memories_are_not_counted_as_live(self, backend: Storage) -> None:
        """From their instant on, nor are their links; their versions are there, and their namespace, until the sweep."""
        one, two = await store(backend, put("one", expires_at=at(10)), put("two"))
        [alone] = await store(backend, put("alone", namespace="acme/b", expires_at=at(10)))
        await store(backend, tie(one, two))
        for seconds, live in ((9, (2, 0, 2, 1)), (10, (1, 0, 2, 0))):
            here, away = await backend.namespaces(ALL, now=at(seconds))
            assert (here.memories, here.deleted, here.versions, here.links) == live
            assert (away.namespace, away.memories, away.deleted, away.versions) == ("acme/b", seconds == 9, 0, 1)
        await store(backend, remove(alone, time=at(11)))
        [_, away] = await backend.namespaces(ALL, now=at(11))
        assert (away.memories, away.deleted, away.versions) == (0, 1, 2)

    async def test_a_namespace_of_tombstones_is_still_named(self, backend: Storage) -> None:
        """Until the last of them is erased."""
        [one] = await store(backend, put("one"))
        await store(backend, remove(one))
        assert [(s.memories, s.deleted) for s in await backend.namespaces(ALL, now=NOW)] == [(0, 1)]
        await store(backend, erase(one, time=at(2)))
        assert await backend.namespaces(ALL, now=NOW) == []

    async def test_a_scan_meets_everything_once(self, backend: Storage) -> None:
        """Newest versions, tombstones and expired ones included, in batches of the asked size, in the same order again."""
        stored = await store(backend, *(put(f"n {n}", expires_at=at(1) if n == 4 else None) for n in range(10)))
        [changed, gone] = await store(backend, replacing(stored[1], content="new"), remove(stored[2]))
        await store(backend, put("elsewhere", namespace="acme"), erase(stored[3]))

        async def scan(batch: int) -> list[list[Stored]]:
            return [list(found) async for found in backend.scan(HERE, now=at(5), batch=batch)]

        pages = await scan(4)
        assert [len(page) for page in pages] == [4, 4, 1]
        found = {one.memory.id: one for page in pages for one in page}
        assert set(found) == {one.id for n, one in enumerate(stored) if n != 3}
        assert (found[changed.id].memory, found[gone.id].memory, found[gone.id].deleted) == (changed, gone, True)
        order = [one.memory.id for page in pages for one in page]
        assert [one.memory.id for page in await scan(100) for one in page] == order

    async def test_check_answers(self, backend: Storage) -> None:
        """An open storage is well."""
        await backend.check()
