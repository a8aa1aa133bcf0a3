"""What remembering does: content kept as it came, twins, taken ids, coordinates, and new versions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from sfm_core.errors import Conflict, NotFound, StaleVersion
from sfm_core.ports.storage import Storage
from sfm_core.testing.build import (
    HERE,
    NOW,
    applied,
    at,
    erase,
    memory,
    new_id,
    operation,
    put,
    remove,
    replacing,
    store,
    write,
)
from sfm_core.testing.suite import Suite

__all__ = ["ODD_PAYLOADS", "ODD_TEXTS", "PutTests", "ReplaceTests", "TwinTests"]

ODD_TEXTS = {
    "nul": "before\x00after",
    "emoji": "tea ☕ and a family 👨‍👩‍👧‍👦",
    "astral": "\U0001d518\U0001d52b \U00010348 \U0010ffff",
    "right-to-left": "שלום עולם مرحبا بالعالم",
    "controls": "tab\tnewline\nreturn\rbell\x07escape\x1bdelete\x7f",
    "quotes": 'it\'s "quoted" `so` -- ; DROP TABLE memories; %s {0} \\n $1',
    "combining": "e\u0301 is not \u00e9, n\u0303o",
    "blanks": "  leading and trailing \u00a0\u2003",
    "invisible": "zero\u200bwidth\ufeff\u2028line\u2029",
    "not-normal": "\ufb01ne \u212b \u2460",
    "one-megabyte": "lorem ipsum " * 87_381 + "end",
}

ODD_PAYLOADS: dict[str, dict[str, Any]] = {
    "nested": {"a": {"b": [{"c": [[], {}, [None]]}]}},
    "numbers": {
        "int": 1,
        "float": 1.5,
        "big": 2**53 + 1,
        "tiny": 5e-324,
        "negative": -0.5,
        "large": 1.7976931348623157e308,
    },
    "booleans": {"true": True, "false": False, "null": None, "one": 1, "zero": 0},
    "keys": {"": 1, "a.b": 2, "a'b": 3, 'a"b': 4, "ключ": 5, "🔑": 6, "$x": 7, "a[0]": 8, "\x00": 9},
    "texts": {"nul": "\x00", "emoji": "🎈", "empty": "", "like": "%_", "slash": "\\"},
    "wide": {f"key{number}": number for number in range(2000)},
}


class PutTests(Suite):
    """Remembering."""

    async def test_a_new_memory_is_read_back_with_every_field(self, backend: Storage) -> None:
        """What is stored is what was given, field by field."""
        given = memory(
            "the whole of it",
            kind="procedural",
            payload={"city": "Rome"},
            coordinate=(1.0, -2.5),
            author="Ada",
            thread="t-1",
            position=7,
            importance=0.25,
            tags=("a", "b"),
            source="kit",
            pinned=True,
            valid_from=at(-60),
            valid_to=at(60),
            expires_at=at(3600),
            derived_from=(new_id(), new_id()),
        )
        [result] = await write(backend, put(given))
        assert applied(result).outcome == "created"
        assert applied(result).memory == given
        assert await backend.get([given.id], now=NOW) == [given]

    @pytest.mark.parametrize("name", ODD_TEXTS)
    async def test_odd_content_comes_back_equal(self, backend: Storage, name: str) -> None:
        """No character is lost, changed or cut, in content and in the short text fields."""
        short = ODD_TEXTS[name][:200]
        [given] = await store(backend, put(ODD_TEXTS[name], author=short, thread=short, source=short, tags=(short,)))
        assert await backend.get([given.id], now=NOW) == [given]
        assert given.content == ODD_TEXTS[name]

    @pytest.mark.parametrize("name", ODD_PAYLOADS)
    async def test_odd_payloads_come_back_equal(self, backend: Storage, name: str) -> None:
        """Every JSON object comes back with equal values of equal types."""
        [given] = await store(backend, put(None, payload=ODD_PAYLOADS[name]))
        [found] = await backend.get([given.id], now=NOW)
        assert found is not None
        assert repr(found.payload) == repr(ODD_PAYLOADS[name])

    async def test_times_keep_their_microseconds(self, backend: Storage) -> None:
        """Instants come back exactly, in UTC, from year 1 to year 9999."""
        times = [datetime(1, 1, 1, tzinfo=UTC), at(0.000001), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)]
        given = [memory(f"at {time}", time=at(0.123457), occurred_at=time, valid_to=time) for time in times]
        await store(backend, *(put(one) for one in given))
        found = await backend.get([one.id for one in given], now=NOW)
        assert found == given
        assert [one.occurred_at.utcoffset() for one in found if one is not None] == [NOW.utcoffset()] * 3

    async def test_a_taken_id_is_a_conflict(self, backend: Storage) -> None:
        """An id is given once, whatever the namespace."""
        [first] = await store(backend, put("one"))
        for namespace in ("acme/agent", "elsewhere"):
            with pytest.raises(Conflict):
                await backend.apply([put("another", id=first.id, namespace=namespace)])
        assert await backend.get([first.id], now=NOW) == [first]

    async def test_the_id_of_a_tombstone_stays_taken(self, backend: Storage) -> None:
        """A deleted memory may be undone, so its id is not free."""
        [first] = await store(backend, put("one"))
        await store(backend, remove(first))
        with pytest.raises(Conflict):
            await backend.apply([put("another", id=first.id, time=at(2))])

    async def test_the_id_of_an_erased_memory_stays_taken(self, backend: Storage) -> None:
        """An erased id never stands for something else."""
        [first] = await store(backend, put("one"))
        await store(backend, erase(first))
        with pytest.raises(Conflict):
            await backend.apply([put("another", id=first.id, time=at(2))])

    async def test_an_occupied_coordinate_gets_a_new_version(self, backend: Storage) -> None:
        """Id and creation stay, the rest is new, and the old version is kept in the history."""
        [first] = await store(backend, put("one", coordinate=(1.0, 2.0), author="Ada"))
        [result] = await write(backend, put("two", coordinate=(1.0, 2.0), time=at(5)))
        second = applied(result).memory
        assert (applied(result).outcome, second.id, second.version) == ("versioned", first.id, 2)
        assert (second.content, second.author) == ("two", None)
        assert (second.created_at, second.updated_at) == (NOW, at(5))
        assert [stored.memory for stored in await backend.history(first.id, limit=9)] == [second, first]

    async def test_a_coordinate_is_held_in_its_namespace_only(self, backend: Storage) -> None:
        """Other namespaces and other dimensions are other places."""
        results = await store(
            backend,
            put("one", coordinate=(1.0,)),
            put("two", coordinate=(1.0,), namespace="acme"),
            put("three", coordinate=(1.0, 0.0)),
        )
        assert len({one.id for one in results}) == 3

    async def test_a_given_id_must_be_that_of_the_holder(self, backend: Storage) -> None:
        """Another id at an occupied coordinate is a conflict; the holder's own is fine."""
        [holder, other] = await store(backend, put("one", coordinate=(1.0,)), put("other"))
        for id in (new_id(), other.id):
            with pytest.raises(Conflict):
                await backend.apply([put("two", coordinate=(1.0,), id=id)])
        [result] = await write(backend, put("two", coordinate=(1.0,), id=holder.id, time=at(1)))
        assert (applied(result).outcome, applied(result).memory.version) == ("versioned", 2)

    async def test_a_tombstone_frees_its_coordinate(self, backend: Storage) -> None:
        """A deleted, an expired and a moved memory hold no place."""
        [deleted, _, moved] = await store(
            backend,
            put("one", coordinate=(1.0,)),
            put("two", coordinate=(2.0,), expires_at=at(1)),
            put("three", coordinate=(3.0,)),
        )
        await store(backend, remove(deleted), replacing(moved, coordinate=(4.0,)))
        results = await backend.apply([put(f"new {n}", coordinate=(float(n),), time=at(2)) for n in (1, 2, 3)])
        assert isinstance(results, list)
        assert [applied(result).outcome for result in results] == ["created"] * 3

    async def test_later_writes_see_the_effects_of_earlier_ones(self, backend: Storage) -> None:
        """Inside one call a twin, a taken coordinate and a new version are found."""
        id = new_id()
        first = memory("one", id=id, coordinate=(1.0,))
        results = await backend.apply(
            [put(first), put("one"), put("two", coordinate=(1.0,)), remove(first, time=at(1)), put("two", time=at(2))]
        )
        assert isinstance(results, list)
        outcomes = [applied(result).outcome for result in results]
        assert outcomes == ["created", "duplicate", "versioned", "deleted", "created"]
        sequences = [applied(result).sequence for result in results]
        assert sequences[0] == sequences[1] < sequences[2] < sequences[3] < sequences[4]

    async def test_a_refused_atomic_batch_stores_nothing(self, backend: Storage) -> None:
        """No record, no change row, no word, no operation of it is left."""
        [there] = await store(backend, put("there", coordinate=(1.0,)))
        before = await backend.last_sequence()
        good, start = memory("good", coordinate=(2.0,)), operation()
        with pytest.raises(StaleVersion) as caught:
            await backend.apply(
                [
                    start,
                    put(good),
                    replacing(there, content="new"),
                    remove(there, operation=start.operation.id, expected=9),
                ]
            )
        assert caught.value.current == 2
        assert await backend.get([good.id, there.id], now=NOW) == [None, there]
        assert await backend.last_sequence() == before
        assert await backend.operation(start.operation.id) is None
        assert await backend.at_coordinate(HERE.namespace, (2.0,), now=NOW) is None
        [result] = await write(backend, put(good))
        assert applied(result).outcome == "created"

    async def test_a_refused_write_leaves_the_others(self, backend: Storage) -> None:
        """When not atomic, the refused one has its error in its place and the rest is stored."""
        good, better = memory("good"), memory("better")
        results = await backend.apply([put(good), remove(memory("never stored")), put(better)], atomic=False)
        assert isinstance(results, list)
        assert [type(result) for result in results[1:2]] == [NotFound]
        assert await backend.get([good.id, better.id], now=NOW) == [good, better]

    async def test_an_empty_call_changes_nothing(self, backend: Storage) -> None:
        """No writes, no results, no change."""
        assert await backend.apply([]) == []
        assert await backend.last_sequence() == 0


class TwinTests(Suite):
    """When a write says nothing new."""

    async def test_a_twin_is_a_duplicate(self, backend: Storage) -> None:
        """The stored memory answers; nothing is written, no change row appears."""
        [first] = await store(backend, put("one", author="Ada", payload={"n": 1, "m": [True]}))
        before = await backend.last_sequence()
        [result] = await write(backend, put("one", author="Ada", payload={"m": [True], "n": 1.0}, time=at(5)))
        assert (applied(result).outcome, applied(result).memory) == ("duplicate", first)
        assert applied(result).sequence == await backend.last_sequence() == before

    @pytest.mark.parametrize(
        "fields",
        [
            {"content": "two"},
            {"author": "Bob"},
            {"payload": {"n": True}},
            {"payload": {}},
            {"tags": ("a",)},
            {"importance": 0.75},
            {"occurred_at": at(1)},
            {"kind": "semantic"},
            {"namespace": "acme"},
            {"namespace": "acme/agent/x"},
        ],
        ids=str,
    )
    async def test_a_field_that_differs_makes_no_twin(self, backend: Storage, fields: dict[str, Any]) -> None:
        """Every field that the caller gave counts, and the namespace."""
        await store(backend, put("one", author="Ada", payload={"n": 1}))
        rest = {"author": "Ada", "payload": {"n": 1}, **fields}
        [result] = await write(backend, put(rest.pop("content", "one"), **rest))
        assert applied(result).outcome == "created"

    async def test_fields_that_were_not_given_do_not_count(self, backend: Storage) -> None:
        """A bare repeat of the text is a twin of a richer memory; a richer repeat of a bare one is not."""
        [rich] = await store(backend, put("one", author="Ada", tags=("x",), occurred_at=at(-9)))
        [repeat] = await write(backend, put("one", time=at(5)))
        assert (applied(repeat).outcome, applied(repeat).memory.id) == ("duplicate", rich.id)
        await store(backend, put("two"))
        [richer] = await write(backend, put("two", author="Ada"))
        assert applied(richer).outcome == "created"

    async def test_only_the_living_have_twins(self, backend: Storage) -> None:
        """Deleted, expired and erased memories, and former versions, are no twins."""
        [deleted, _, erased, changed] = await store(
            backend, put("deleted"), put("expired", expires_at=at(1)), put("erased"), put("changed")
        )
        await store(backend, remove(deleted), erase(erased), replacing(changed, content="other"))
        results = await backend.apply(
            [put(text, time=at(2)) for text in ("deleted", "expired", "erased", "changed", "other")]
        )
        assert isinstance(results, list)
        assert [applied(result).outcome for result in results] == ["created"] * 4 + ["duplicate"]

    async def test_without_dedupe_a_twin_is_stored_again(self, backend: Storage) -> None:
        """The caller may want both."""
        [first] = await store(backend, put("one"))
        [second] = await store(backend, put("one", dedupe=False))
        assert first.id != second.id
        assert len(await backend.get([first.id, second.id], now=NOW)) == 2

    async def test_a_taken_id_of_a_twin_is_a_duplicate(self, backend: Storage) -> None:
        """Sending the same memory with its id again is no conflict."""
        id = new_id()
        await store(backend, put("one", dedupe=False))
        [first] = await store(backend, put("one", id=id, dedupe=False))
        [result] = await write(backend, put("one", id=id))
        assert (applied(result).outcome, applied(result).memory) == ("duplicate", first)

    async def test_a_twin_comes_before_the_coordinate(self, backend: Storage) -> None:
        """The same content at the same place is a duplicate, not a version."""
        [first] = await store(backend, put("one", coordinate=(0.0, 1.0)))
        [result] = await write(backend, put("one", coordinate=(-0.0, 1.0)))
        assert (applied(result).outcome, applied(result).memory) == ("duplicate", first)


class ReplaceTests(Suite):
    """New versions of a memory."""

    async def test_a_replaced_memory_has_its_next_version(self, backend: Storage) -> None:
        """The new version is read, with its change, and the former one is history."""
        [first] = await store(backend, put("one"))
        [result] = await write(backend, replacing(first, content="two", tags=("x",)))
        second = applied(result).memory
        assert (applied(result).outcome, second.version, second.content) == ("versioned", 2, "two")
        assert await backend.get([first.id], now=at(2)) == [second]
        [change] = await backend.changes(HERE, after=applied(result).sequence - 1, limit=9)
        assert (change.type, change.version) == ("memory.updated", 2)

    async def test_a_stale_version_is_refused(self, backend: Storage) -> None:
        """The error names the stored version; nothing changes, for replace, remove and erase."""
        [first] = await store(backend, put("one"))
        [second] = await store(backend, replacing(first, content="two"))
        for refused in (replacing(first, content="three"), remove(first, expected=1), erase(first, expected=1)):
            with pytest.raises(StaleVersion) as caught:
                await backend.apply([refused])
            assert caught.value.current == 2
        assert await backend.get([first.id], now=NOW) == [second]

    async def test_only_the_living_are_replaced(self, backend: Storage) -> None:
        """Unknown, deleted, expired and erased memories are not found."""
        deleted, expired, erased = memory("deleted"), memory("expired", expires_at=at(1)), memory("erased")
        await store(backend, put(deleted), put(expired), put(erased))
        await store(backend, remove(deleted), erase(erased))
        unknown = replacing(memory("unknown"), content="x")
        late = [replacing(one, content="x", time=at(5)) for one in (expired, erased, replace(deleted, version=2))]
        for refused in (unknown, *late):
            with pytest.raises(NotFound):
                await backend.apply([refused])

    async def test_a_tombstone_is_restored_on_request(self, backend: Storage) -> None:
        """`revive` brings back a tombstone, or an expired memory, as a new version; the change says restored."""
        [first, fading] = await store(backend, put("one"), put("fading", expires_at=at(1)))
        await store(backend, remove(first))
        tombstone = replacing(first, content="again", expected=2, outcome="restored", revive=True, time=at(3))
        faded = replacing(fading, expires_at=None, outcome="restored", revive=True, time=at(3))
        results = await backend.apply([tombstone, faded])
        assert isinstance(results, list)
        assert [applied(result).outcome for result in results] == ["restored", "restored"]
        found = await backend.get([first.id, fading.id], now=at(4))
        assert [(one.version, one.content) for one in found if one] == [(3, "again"), (2, "fading")]
        changes = await backend.changes(HERE, after=applied(results[0]).sequence - 1, limit=9)
        assert [change.type for change in changes] == ["memory.restored"] * 2

    async def test_replacing_keeps_coordinates_apart(self, backend: Storage) -> None:
        """A held coordinate is a conflict, the own one is kept, a left one is free."""
        [one, two] = await store(backend, put("one", coordinate=(1.0,)), put("two", coordinate=(2.0,)))
        with pytest.raises(Conflict):
            await backend.apply([replacing(two, coordinate=(1.0,))])
        [kept] = await store(backend, replacing(one, content="still here"))
        assert await backend.at_coordinate(HERE.namespace, (1.0,), now=at(2)) == kept
        [_, moved] = await store(backend, replacing(kept, coordinate=None), replacing(two, coordinate=(1.0,)))
        assert await backend.at_coordinate(HERE.namespace, (1.0,), now=at(2)) == moved
        assert await backend.at_coordinate(HERE.namespace, (2.0,), now=at(2)) is None
