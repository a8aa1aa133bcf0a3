"""What a storage with full text tells about memories for ranking: neighbours, authors, periods; and capability MATCHING."""

from __future__ import annotations

from typing import Any, Protocol

from hypothesis import given

from sfm_core.model.filter import Filter, parse_filter
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import ALL, Scope
from sfm_core.plugins.types import Port
from sfm_core.ports.storage import Candidate, FullText, Matching, Storage, StorageCapability
from sfm_core.testing.build import HERE, NOW, at, erase, ids_of, new_id, put, remove, store
from sfm_core.testing.filter_cases import FILTER_MEMORIES, wrong_answers
from sfm_core.testing.opener import Opener
from sfm_core.testing.storage_isolation import QUIET, namespaces
from sfm_core.testing.suite import Suite

__all__ = ["MatchingSuite", "RankingTests"]


class _Searching(Storage, FullText, Protocol):
    """A storage with full text."""


class _Matching(Storage, Matching, Protocol):
    """A storage that names what passes a filter."""


async def thread(backend: Storage, positions: list[int | None], **fields: Any) -> list[Memory]:
    """Store a thread with memories at these positions."""
    return await store(backend, *(put(f"turn {new_id()}", position=p, **{"thread": "t", **fields}) for p in positions))


class RankingTests(Suite):
    """Facts for ranking."""

    async def test_a_candidate_holds_what_ranking_needs(self, backend: _Searching) -> None:
        """Facts of the memory and of its text, nothing of unknown ones."""
        write = put("did it take hours yesterday?", author="Ada", importance=0.75, occurred_at=at(-5), time=at(-1))
        [one] = await store(backend, write)
        found = await backend.candidates([one.id, new_id()], now=NOW)
        assert found == {
            one.id: Candidate(
                id=one.id,
                version=1,
                namespace=one.namespace,
                author="Ada",
                thread=None,
                position=None,
                occurred_at=at(-5),
                importance=0.75,
                created_at=at(-1),
                length=5,
                asks=1.0,
                time=True,
                duration=True,
            )
        }

    async def test_neighbours_are_the_nearest_two_on_each_side(self, backend: _Searching) -> None:
        """By position, gaps or not, nearest first; at the ends fewer."""
        turns = await thread(backend, [50, 10, 40, 20, 30, None])
        line = sorted(turns[:5], key=lambda one: one.position or 0)
        ids = ids_of(line)
        found = await backend.candidates([*ids, turns[5].id], now=NOW)
        around = [(found[id].before, found[id].after) for id in ids]
        assert around == [
            ((), (ids[1], ids[2])),
            ((ids[0],), (ids[2], ids[3])),
            ((ids[1], ids[0]), (ids[3], ids[4])),
            ((ids[2], ids[1]), (ids[4],)),
            ((ids[3], ids[2]), ()),
        ]
        assert (found[turns[5].id].before, found[turns[5].id].after) == ((), ())

    async def test_neighbours_come_along(self, backend: _Searching) -> None:
        """As candidates of their own with no neighbours; not when not asked for."""
        turns = await thread(backend, [1, 2, 3, 4, 5, 6])
        ids = ids_of(turns)
        found = await backend.candidates([ids[2]], now=NOW)
        assert set(found) == set(ids[:5])
        assert (found[ids[2]].before, found[ids[2]].after) == ((ids[1], ids[0]), (ids[3], ids[4]))
        assert all(found[id].before == found[id].after == () for id in ids[:2] + ids[3:5])
        assert [found[id].position for id in ids[:5]] == [1, 2, 3, 4, 5]
        alone = await backend.candidates([ids[2]], now=NOW, around=False)
        assert set(alone) == {ids[2]}

    async def test_only_live_memories_of_the_thread_are_neighbours(self, backend: _Searching) -> None:
        """Deleted, expired and erased ones are stepped over; other threads and namespaces are other lines."""
        turns = await thread(backend, [1, 3, 5, 6])
        [gone, erased] = await thread(backend, [2, 2])
        [faded] = await thread(backend, [4], expires_at=at(1))
        await thread(backend, [2, 4], namespace="acme/agent-7")
        await thread(backend, [2, 4], thread="u")
        await store(backend, remove(gone), erase(erased))
        ids = ids_of(turns)
        found = await backend.candidates([ids[1], gone.id, faded.id, erased.id], now=at(2))
        assert set(found) == set(ids)
        assert (found[ids[1]].before, found[ids[1]].after) == ((ids[0],), (ids[2], ids[3]))

    async def test_neighbours_pass_the_filter(self, backend: _Searching) -> None:
        """Those that do not pass do not come along; what was asked for does."""
        turns = await thread(backend, [1, 2])
        [tagged] = await thread(backend, [3], tags=("x",))
        has = parse_filter({"field": "tags", "op": "contains", "value": "x"})
        found = await backend.candidates([turns[1].id], now=NOW, filter=has)
        assert set(found) == {turns[1].id, tagged.id}

    async def test_authors_are_found_by_their_key(self, backend: _Searching) -> None:
        """All spellings of live memories of the scope, nothing for unknown keys."""
        one, two, *_ = await store(
            backend,
            put("a", author="Ada"),
            put("b", author="ADA"),
            put("c", author="Ada"),
            put("d", author="Bob"),
            put("e", author="Cyd", namespace="acme/agent-7"),
            put("f"),
        )
        found = await backend.authors(HERE, ["ada", "cyd", "dan", ""])
        assert {key: sorted(names) for key, names in found.items()} == {"ada": ["ADA", "Ada"]}
        await store(backend, remove(two))
        assert [list(names) for names in (await backend.authors(HERE, ["ada"])).values()] == [["Ada"]]
        assert one.author == "Ada"

    async def test_a_period_is_half_open(self, backend: _Searching) -> None:
        """Its first instant is in, its last is out; newest first; live ones only; filtered and cut."""
        stored = await store(backend, *(put(f"n {n}", occurred_at=at(n), tags=(f"{n % 2}",)) for n in range(8)))
        gone, _ = await store(
            backend, put("gone", occurred_at=at(3)), put("faded", occurred_at=at(3), expires_at=at(4))
        )
        await store(backend, remove(gone), put("elsewhere", occurred_at=at(3), namespace="acme"))
        odd = parse_filter({"field": "tags", "op": "contains", "value": "1"})
        ids = ids_of(stored)
        assert await backend.in_period(HERE, at(2), at(6), filter=None, limit=9, now=at(9)) == ids[5:1:-1]
        assert await backend.in_period(HERE, at(2), at(6), filter=None, limit=2, now=at(9)) == ids[5:3:-1]
        assert await backend.in_period(HERE, at(0), at(8), filter=odd, limit=3, now=at(9)) == [ids[7], ids[5], ids[3]]

    async def test_a_period_passes_the_filter_table(self, backend: _Searching) -> None:
        """Every line of the filter language holds for the time arm."""
        await store(backend, *(put(one, dedupe=False) for one in FILTER_MEMORIES.values()))

        async def ask(filter: Filter) -> list[str]:
            return await backend.in_period(ALL, at(-1), at(99), filter=filter, limit=99, now=NOW)

        assert await wrong_answers(ask) == {}


class MatchingSuite(Suite):
    """What a storage with MATCHING must do."""

    port = Port.STORAGE
    capability = StorageCapability.MATCHING

    async def test_matching_names_what_passes(self, backend: _Matching) -> None:
        """Every line of the filter language."""
        await store(backend, *(put(one, dedupe=False) for one in FILTER_MEMORIES.values()))

        async def ask(filter: Filter) -> list[str]:
            return await backend.matching(ALL, filter=filter, limit=99, now=NOW)

        assert await wrong_answers(ask) == {}

    async def test_matching_names_live_memories_of_the_scope(self, backend: _Matching) -> None:
        """Without a filter all of them; deleted, expired and erased ones never; the limit bounds it."""
        one, two, gone, faded, erased, below, away = await store(
            backend,
            put("one"),
            put("two"),
            put("gone"),
            put("faded", expires_at=at(1)),
            put("erased"),
            put("below", namespace="acme/agent/x"),
            put("away", namespace="acme/agent-7"),
        )
        await store(backend, remove(gone), erase(erased))

        async def match(scope: Scope, limit: int = 99) -> set[str]:
            found = await backend.matching(scope, filter=None, limit=limit, now=at(2))
            assert len(set(found)) == len(found) <= limit
            return set(found)

        assert await match(HERE) == {one.id, two.id}
        assert await match(Scope("acme/agent", subtree=True)) == {one.id, two.id, below.id}
        assert await match(ALL) == {one.id, two.id, below.id, away.id}
        assert len(await match(ALL, 3)) == 3
        assert faded.id not in await match(ALL)

    @QUIET
    @given(names=namespaces)
    async def test_matching_never_leaves_its_scope(self, opener: Opener, names: list[str]) -> None:
        """It names exactly the memories of the namespaces of its scope, whatever the filter lets through."""
        backend: _Matching = await opener.reopen()
        tag = new_id()
        stored = {name: (await store(backend, put(tag, namespace=name, tags=(tag,))))[0].id for name in names}
        tagged = parse_filter({"field": "tags", "op": "contains", "value": tag})
        others = parse_filter({"not": {"field": "content", "op": "eq", "value": "other"}})
        for scope in (Scope(name, sub) for name in names for sub in (False, True)):
            inside = {id for name, id in stored.items() if scope.covers(name)}
            for filter in (None, tagged, others):
                found = await backend.matching(scope, filter=filter, limit=9999, now=NOW)
                assert {id for id in found if id in stored.values()} == inside
