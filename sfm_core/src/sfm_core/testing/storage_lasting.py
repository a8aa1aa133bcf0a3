"""Capabilities DURABLE and SHARED of a storage: reopening, kill -9, and several openings at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from sfm_core.model.namespace import ALL
from sfm_core.plugins.types import Port
from sfm_core.ports.storage import Order, Storage, StorageCapability
from sfm_core.ports.writes import Replayed
from sfm_core.testing.build import (
    HERE,
    NOW,
    applied,
    at,
    erase,
    ids_of,
    memory,
    new_id,
    operation,
    put,
    question,
    remove,
    replacing,
    store,
    tie,
    write,
)
from sfm_core.testing.child import Acknowledged, acknowledged, kill_after, started
from sfm_core.testing.opener import Opener
from sfm_core.testing.storage_log import claim
from sfm_core.testing.suite import Suite

__all__ = ["DurableStorageSuite", "SharedStorageSuite"]


async def everything(backend: Storage) -> dict[str, Any]:
    """Return what every read without arguments of its own shows of a store."""
    tombstones = await backend.list(
        ALL, filter=None, order=Order.CREATED_AT, limit=999, after=None, now=at(99), deleted=True
    )
    ids = ids_of(tombstones.memories)
    return {
        "list": tombstones,
        "get": await backend.get(ids, now=at(99)),
        "past": await backend.get(ids, now=at(99), as_of=at(0.5)),
        "history": [await backend.history(id, limit=99) for id in ids],
        "links": await backend.links(ids, relation=None, direction="both", now=at(99)),
        "changes": await backend.changes(ALL, after=0, limit=999),
        "last": await backend.last_sequence(),
        "namespaces": await backend.namespaces(ALL, now=at(99)),
        "scan": [one async for batch in backend.scan(ALL, now=at(99)) for one in batch],
    }


async def prove(backend: Any, told: list[Acknowledged], *, searchable: bool) -> None:
    """Prove that everything acknowledged is there, nothing is half there, and log and index agree with the records."""
    newest = {one.id: one for line in told for one in line.memories}
    removed = {id for line in told for id in line.removed}
    found = dict(zip(newest, await backend.locate(list(newest)), strict=True))
    lost = [id for id, stored in found.items() if stored is None or stored.memory.version < newest[id].version]
    assert lost == []
    same = [id for id, s in found.items() if s.memory.version == newest[id].version and s.memory != newest[id]]
    assert same == []
    assert [id for id in removed if not found[id].deleted] == []

    scanned = [one async for batch in backend.scan(ALL, now=NOW) for one in batch]
    batches: dict[str, int] = {}
    for stored in scanned:
        batches[stored.memory.payload["batch"]] = batches.get(stored.memory.payload["batch"], 0) + 1
    assert {name for name, size in batches.items() if size != 3} == set()

    rows = await backend.changes(ALL, after=0, limit=10**6)
    assert [row.sequence for row in rows] == sorted({row.sequence for row in rows})
    versions = {(row.memory_id, row.version) for row in rows if row.target is None}
    kept = {(s.memory.id, s.memory.version) for one in scanned for s in await backend.history(one.memory.id, limit=9)}
    assert versions == kept
    if searchable:
        hits = await backend.search_text(ALL, question("zebra"), filter=None, limit=10**6, now=at(99))
        assert {hit.id for hit in hits} == {one.memory.id for one in scanned if not one.deleted}


class DurableStorageSuite(Suite):
    """What a storage with DURABLE must do. `kills` is how often the crash test kills a writing process."""

    port = Port.STORAGE
    capability = StorageCapability.DURABLE
    kills: ClassVar[int] = 4

    async def test_everything_survives_reopening(self, opener: Opener) -> None:
        """Records, history, tombstones, links, log, operations, members and keys are as they were."""
        backend: Storage = await opener.open()
        start = operation(undo_until=at(60))
        op = start.operation.id
        one, two, three, four = await store(
            backend,
            *(put(f"n {n}", coordinate=(float(n),), payload={"n": n}, tags=("x",), author="Ada") for n in range(4)),
        )
        await store(backend, tie(one, two, metadata={"a": 1}), start, remove(two, operation=op), erase(three))
        await store(backend, replacing(four, content="changed"))
        await backend.apply([put("keyed")], idempotency=claim())
        before = await everything(backend), await backend.operation(op), await backend.operation_members(op, limit=9)
        backend = await opener.reopen()
        after = await everything(backend), await backend.operation(op), await backend.operation_members(op, limit=9)
        assert after == before
        assert isinstance(await backend.apply([put("keyed")], idempotency=claim()), Replayed)
        [twin] = await write(backend, put("n 0", payload={"n": 0}))
        assert applied(twin).outcome == "duplicate"

    async def test_sequences_go_on_after_reopening(self, opener: Opener) -> None:
        """No number is given twice, and erased ids stay taken."""
        backend: Storage = await opener.open()
        [one] = await store(backend, put("one"))
        await store(backend, erase(one))
        last = await backend.last_sequence()
        backend = await opener.reopen()
        [result] = await write(backend, put("two"))
        assert applied(result).sequence > last
        assert await backend.history(one.id, limit=9) == []

    async def test_a_saved_cursor_survives_a_close(self, opener: Opener) -> None:
        """At the place where it was saved."""
        backend: Storage = await opener.open()
        await store(backend, put("one"), put("two"))
        await backend.save_cursor("index", 2)
        backend = await opener.reopen()
        assert await backend.cursor("index") == 2

    async def test_acknowledged_writes_survive_a_kill(self, opener: Opener) -> None:
        """Killed with SIGKILL while four tasks write: nothing acknowledged is lost, nothing is half-written."""
        told: list[Acknowledged] = []
        searchable = StorageCapability.FULL_TEXT in self.spec.capabilities
        for kill in range(self.kills):
            told += await asyncio.to_thread(kill_after, opener.address, f"kill {kill}", 5 + 17 * kill)
            backend: Storage = await opener.reopen()
            await prove(backend, told, searchable=searchable)
            await opener.close()

    async def test_erased_bytes_are_gone_from_the_store(
        self, opener: Opener, held: Callable[[], Awaitable[Mapping[str, bytes]]]
    ) -> None:
        """After a close nothing of the store holds content, payload, author, tag or words of an erased memory."""
        backend: Storage = await opener.open()
        secrets = [f"zq{new_id().replace('-', '')}{n}" for n in range(5)]
        [one, _] = await store(
            backend,
            put(f"tell {secrets[0]}", payload={"k": secrets[1]}, author=secrets[2], tags=(secrets[3],)),
            put("a memory that stays, with words of its own"),
        )
        [two] = await store(backend, replacing(one, content=f"tell {secrets[4]}"))
        await store(backend, erase(two))
        await opener.close()
        assert [where for where, data in (await held()).items() if any(s.encode() in data for s in secrets)] == []


class SharedStorageSuite(Suite):
    """What a storage with SHARED must do."""

    port = Port.STORAGE
    capability = StorageCapability.SHARED

    async def test_what_one_writes_the_other_reads_at_once(self, opener: Opener) -> None:
        """Every read of the second opening shows it, and twins and coordinates hold across both."""
        first, second = await opener.open(), await opener.open()
        one, two = await store(first, put("one", coordinate=(1.0,)), put("two"))
        assert await second.get([one.id, two.id], now=NOW) == [one, two]
        await store(second, tie(one, two), replacing(two, content="changed"))
        assert await everything(first) == await everything(second)
        [twin] = await write(second, put("one"))
        [version] = await write(second, put("new", coordinate=(1.0,), time=at(1)))
        assert (applied(twin).outcome, applied(version).outcome) == ("duplicate", "versioned")

    async def test_racing_writers_of_two_openings_agree(self, opener: Opener) -> None:
        """Sixteen twins are one memory, sixteen writers at a coordinate are versions of one."""
        both = [await opener.open(), await opener.open()]
        twins = [both[n % 2].apply([put("twin")]) for n in range(16)]
        found = [applied(results[0]) for results in await asyncio.gather(*twins)]
        assert sorted(one.outcome for one in found) == ["created"] + ["duplicate"] * 15
        placed = [both[n % 2].apply([put(f"n {n}", coordinate=(1.0,))]) for n in range(16)]
        found = [applied(results[0]) for results in await asyncio.gather(*placed)]
        assert sorted(one.memory.version for one in found) == list(range(1, 17))
        assert len({one.memory.id for one in found}) == 1

    async def test_a_reader_elsewhere_never_skips_a_change(self, opener: Opener) -> None:
        """Following the log through another opening than the writers' meets every change once."""
        first, second, reader = [await opener.open() for _ in range(3)]
        batches = [[memory(f"batch {b} memory {m}") for m in range(1 + b % 3)] for b in range(40)]
        writers = [
            asyncio.create_task(store((first, second)[n % 2], *(put(one) for one in batch)))
            for n, batch in enumerate(batches)
        ]
        rows: list[Any] = []
        while True:
            done = all(writer.done() for writer in writers)
            page = await reader.changes(HERE, after=rows[-1].sequence if rows else 0, limit=5)
            rows += page
            if done and not page:
                break
            await asyncio.sleep(0)
        await asyncio.gather(*writers)
        assert sorted(row.memory_id for row in rows) == sorted(one.id for batch in batches for one in batch)

    async def test_processes_write_to_one_store(self, opener: Opener) -> None:
        """Two processes and this one write at the same time: no error, nothing lost."""
        backend: Storage = await opener.open()
        told: list[Acknowledged] = []
        with started(opener.address, "left", 10) as left, started(opener.address, "right", 10) as right:
            for number in range(20):
                batch = [memory(f"here {number} {part} zebra", payload={"batch": f"h{number}"}) for part in range(3)]
                told.append(Acknowledged(memories=tuple(await store(backend, *(put(one) for one in batch)))))
            for process in (left, right):
                output, _ = await asyncio.to_thread(process.communicate)
                assert process.returncode == 0
                told += acknowledged(output)
        assert len(told) == 20 + 2 * 4 * (10 + 4 + 3)
        await prove(backend, told, searchable=StorageCapability.FULL_TEXT in self.spec.capabilities)
        await opener.close()
