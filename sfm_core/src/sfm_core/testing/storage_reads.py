"""Reading: by id, in the past, history, lists with orders and pages, and the filter table."""

from __future__ import annotations

from typing import Any

import pytest

from sfm_core.errors import InvalidInput
from sfm_core.model.filter import Filter, parse_filter
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import ALL, Scope
from sfm_core.ports.storage import Listing, Order, Storage
from sfm_core.testing.build import (
    HERE,
    NAMESPACE,
    NOW,
    at,
    erase,
    ids_of,
    memory,
    new_id,
    put,
    remove,
    replacing,
    revive,
    store,
)
from sfm_core.testing.filter_cases import FILTER_MEMORIES, wrong_answers
from sfm_core.testing.suite import Suite

__all__ = ["GetTests", "HistoryTests", "ListTests"]

ODD_IDS = ["", "no-id", "' OR 1=1 --", "%", "\x00", "é" * 300, new_id().upper()]


class GetTests(Suite):
    """By id, now and in the past."""

    async def test_get_answers_in_the_asked_order(self, backend: Storage) -> None:
        """One answer per id, repeats too, None for what is not there."""
        one, two = await store(backend, put("one"), put("two"))
        unknown = new_id()
        assert await backend.get([two.id, unknown, one.id, two.id], now=NOW) == [two, None, one, two]
        assert await backend.get([], now=NOW) == []

    @pytest.mark.parametrize("id", ODD_IDS, ids=ascii)
    async def test_an_id_that_is_none_is_not_found(self, backend: Storage, id: str) -> None:
        """Odd ids find nothing and break nothing."""
        await store(backend, put("one"))
        assert await backend.get([id], now=NOW) == [None]
        assert await backend.locate([id]) == [None]
        assert await backend.history(id, limit=9) == []
        assert await backend.links([id], relation=None, direction="both", now=NOW) == []
        assert await backend.operation(id) is None

    async def test_many_ids_are_read_at_once(self, backend: Storage) -> None:
        """Several thousand ids in one call."""
        stored = await store(backend, *(put(f"memory {number}") for number in range(1200)))
        ids = [one.id for one in stored] + [new_id() for _ in range(1800)]
        assert [one is not None for one in await backend.get(ids, now=NOW)] == [True] * 1200 + [False] * 1800

    async def test_the_past_is_read_as_it_was(self, backend: Storage) -> None:
        """`as_of` answers with the version of that instant: before the first nothing, tombstones hide, an undo shows."""
        op = new_id()
        [one] = await store(backend, put("one", time=at(10)))
        [two] = await store(backend, replacing(one, content="two", time=at(20)))
        await store(backend, remove(one, operation=op, time=at(30)))
        [back] = await store(backend, revive(one, op, time=at(40)))
        expected = {9: None, 10: one, 19.999999: one, 20: two, 29: two, 30: None, 39: None, 40: back, 99: back}
        for seconds, version in expected.items():
            assert await backend.get([one.id], now=at(100), as_of=at(seconds)) == [version], seconds

    async def test_the_past_of_a_deleted_memory_is_still_read(self, backend: Storage) -> None:
        """A tombstone hides the present, not the past."""
        [one] = await store(backend, put("one"))
        await store(backend, remove(one, time=at(30)))
        assert await backend.get([one.id], now=at(40)) == [None]
        assert await backend.get([one.id], now=at(40), as_of=at(20)) == [one]


class HistoryTests(Suite):
    """All versions."""

    async def test_history_is_newest_first_and_paged(self, backend: Storage) -> None:
        """Every version comes once, as it was stored, with rising sequences."""
        [current] = await store(backend, put("version 1"))
        versions = [current]
        for number in range(2, 8):
            [current] = await store(backend, replacing(current, content=f"version {number}", payload={"n": number}))
            versions.append(current)
        found = await backend.history(current.id, limit=99)
        assert [stored.memory for stored in found] == versions[::-1]
        assert not any(stored.deleted for stored in found)
        sequences = [stored.sequence for stored in found]
        assert sequences == sorted(set(sequences), reverse=True)
        first = await backend.history(current.id, limit=3)
        rest = await backend.history(current.id, limit=9, before=first[-1].memory.version)
        assert first + rest == found
        assert await backend.history(current.id, limit=9, before=1) == []

    async def test_history_is_of_one_memory(self, backend: Storage) -> None:
        """Unknown ids have none, others do not mix in."""
        one, two = await store(backend, put("one"), put("two"))
        await store(backend, replacing(two, content="three"))
        assert [stored.memory for stored in await backend.history(one.id, limit=9)] == [one]
        assert await backend.history(new_id(), limit=9) == []


class ListTests(Suite):
    """Lists."""

    async def listed(self, backend: Storage, scope: Scope = HERE, **options: Any) -> Listing:
        """Return a page with the usual options."""
        usual: dict[str, Any] = {
            "filter": None,
            "order": Order.CREATED_AT,
            "limit": 100,
            "after": None,
            "now": at(1000),
        }
        return await backend.list(scope, **{**usual, **options})

    async def pages(self, backend: Storage, size: int, **options: Any) -> list[list[Memory]]:
        """Return all pages of `size`."""
        found: list[list[Memory]] = []
        after = None
        while True:
            page = await self.listed(backend, limit=size, after=after, **options)
            found.append(list(page.memories))
            if page.next is None:
                return found
            assert len(page.memories) == size
            after = page.next

    async def varied(self, backend: Storage) -> list[Memory]:
        """Store memories with ties and nulls in every order."""
        return await store(
            backend,
            *(
                put(
                    f"number {n}",
                    time=at(n // 3),
                    occurred_at=at(-(n // 2)),
                    importance=(n % 4) / 4,
                    position=n % 5 if n % 3 else None,
                )
                for n in range(12)
            ),
        )

    @pytest.mark.parametrize("order", Order)
    async def test_a_list_is_ordered_with_nulls_last_and_ties_by_id(self, backend: Storage, order: Order) -> None:
        """Both directions of every order."""
        stored = await self.varied(backend)
        name = order.value.removeprefix("-")
        having = sorted((m for m in stored if getattr(m, name) is not None), key=lambda m: m.id)
        having.sort(key=lambda m: getattr(m, name), reverse=order.value.startswith("-"))
        nulls = sorted((m for m in stored if getattr(m, name) is None), key=lambda m: m.id)
        found = await self.listed(backend, order=order)
        assert ids_of(found.memories) == ids_of(having + nulls)
        assert found.next is None

    @pytest.mark.parametrize("order", Order)
    async def test_pages_join_to_the_whole_list(self, backend: Storage, order: Order) -> None:
        """No memory is repeated or skipped at a page's edge, whatever the size."""
        await self.varied(backend)
        whole = ids_of((await self.listed(backend, order=order)).memories)
        for size in (1, 2, 5, 12):
            assert [id for page in await self.pages(backend, size, order=order) for id in ids_of(page)] == whole

    @pytest.mark.parametrize("order", Order)
    async def test_a_list_of_the_past_has_the_same_order_and_pages(self, backend: Storage, order: Order) -> None:
        """Although some of its memories were changed or deleted since."""
        stored = await self.varied(backend)
        then = ids_of((await self.listed(backend, order=order)).memories)
        changed = replacing(stored[0], importance=0.9, position=99, occurred_at=at(99), time=at(60))
        await store(backend, changed, remove(stored[5], time=at(60)))
        past: dict[str, Any] = {"order": order, "as_of": at(50)}
        assert ids_of((await self.listed(backend, **past)).memories) == then
        assert [id for page in await self.pages(backend, 5, **past) for id in ids_of(page)] == then

    async def test_paging_goes_on_while_others_write(self, backend: Storage) -> None:
        """What was there all the time comes exactly once, though memories come and go in between."""
        stored = await store(backend, *(put(f"number {n}", time=at(n)) for n in range(10)))
        first = await self.listed(backend, limit=4)
        await store(
            backend,
            *(put(f"early {n}", time=at(n + 0.5)) for n in range(3)),
            put("late", time=at(50)),
            remove(stored[3], time=at(60)),
            remove(stored[7], time=at(60)),
        )
        rest = await self.listed(backend, limit=100, after=first.next)
        kept = [one.id for one in stored if one not in (stored[3], stored[7])]
        seen = ids_of([*first.memories, *rest.memories])
        assert [id for id in seen if id in kept] == kept
        assert len(set(seen)) == len(seen)

    @pytest.mark.parametrize("after", ["", "x", "AAAA", "1", "' OR 1=1", "W10=", "bnVsbA==", "\x00", "é"], ids=ascii)
    async def test_a_malformed_position_is_refused(self, backend: Storage, after: str) -> None:
        """What no list gave is no position."""
        await store(backend, put("one"))
        with pytest.raises(InvalidInput):
            await self.listed(backend, after=after)

    async def test_a_position_of_another_order_is_refused(self, backend: Storage) -> None:
        """A cursor continues its own list only."""
        await store(backend, put("one"), put("two"))
        page = await self.listed(backend, limit=1)
        assert page.next is not None
        with pytest.raises(InvalidInput):
            await self.listed(backend, after=page.next, order=Order.IMPORTANCE)

    async def test_a_list_filters_before_it_pages(self, backend: Storage) -> None:
        """A page is full while there is anything that passes."""
        stored = await store(backend, *(put(f"n {n}", time=at(n), payload={"even": n % 2 == 0}) for n in range(20)))
        even = parse_filter({"field": "payload.even", "op": "eq", "value": True})
        pages = await self.pages(backend, 4, filter=even)
        assert [ids_of(page) for page in pages] == [
            ids_of(stored[0:8:2]),
            ids_of(stored[8:16:2]),
            ids_of(stored[16::2]),
        ]

    async def test_tombstones_are_listed_on_request(self, backend: Storage) -> None:
        """With their last version; erased ones never."""
        one, two, three = await store(backend, *(put(f"n {n}", time=at(n)) for n in range(3)))
        [gone] = await store(backend, remove(two, time=at(9)))
        await store(backend, erase(three))
        assert (await self.listed(backend)).memories == (one,)
        assert (await self.listed(backend, deleted=True)).memories == (one, gone)

    async def test_a_list_of_the_past_shows_what_was_there(self, backend: Storage) -> None:
        """The versions of that moment, those deleted since included, later ones not; filters see those versions."""
        one, two = await store(backend, put("one", tags=("old",)), put("two", time=at(1)))
        await store(backend, replacing(one, content="changed", tags=("new",), time=at(10)), remove(two, time=at(10)))
        await store(backend, put("three", time=at(10)))
        assert (await self.listed(backend, as_of=at(5))).memories == (one, two)
        assert (await self.listed(backend, as_of=at(0.5))).memories == (one,)
        old = parse_filter({"field": "tags", "op": "contains", "value": "old"})
        assert (await self.listed(backend, as_of=at(5), filter=old)).memories == (one,)
        assert (await self.listed(backend, filter=old)).memories == ()

    async def test_a_filter_passes_what_it_says(self, backend: Storage) -> None:
        """Every line of the filter language, by the one table."""
        await store(backend, *(put(one, dedupe=False) for one in FILTER_MEMORIES.values()))

        async def ask(filter: Filter) -> list[str]:
            return ids_of((await self.listed(backend, ALL, filter=filter)).memories)

        assert await wrong_answers(ask) == {}

    async def test_everything_is_a_scope(self, backend: Storage) -> None:
        """The empty scope holds nothing, the whole one all."""
        one, two = await store(backend, put("one"), put("two", namespace="other", time=at(1)))
        assert (await self.listed(backend, ALL)).memories == (one, two)
        assert (await self.listed(backend, Scope("nowhere", subtree=True))).memories == ()
        assert ids_of((await self.listed(backend, Scope("acme", subtree=True))).memories) == [one.id]
        assert one.namespace == NAMESPACE
        assert (await self.listed(backend, Scope("acme"))).memories == ()

    async def test_an_unknown_memory_is_not_listed(self, backend: Storage) -> None:
        """An empty store gives empty answers."""
        assert await self.listed(backend, ALL) == Listing((), None)
        assert await backend.namespaces(ALL, now=NOW) == []
        assert await backend.changes(ALL, after=0, limit=9) == []
        assert [batch async for batch in backend.scan(ALL, now=NOW)] == []
        assert memory().id not in ids_of(await backend.in_box(NAMESPACE, (0.0,), (1.0,), limit=9, now=NOW))
