"""Coordinates, boxes and links."""

from __future__ import annotations

import pytest

from sfm_core.errors import NotFound
from sfm_core.model.link import Direction, Link
from sfm_core.model.namespace import ALL, Scope
from sfm_core.ports.storage import Storage
from sfm_core.ports.writes import PutLink
from sfm_core.testing.build import (
    HERE,
    NAMESPACE,
    NOW,
    applied_link,
    at,
    ids_of,
    link,
    memory,
    put,
    remove,
    store,
    tie,
    untie,
    write,
)
from sfm_core.testing.suite import Suite

__all__ = ["CoordinateTests", "LinkTests"]


class CoordinateTests(Suite):
    """Where memories are."""

    async def test_a_coordinate_is_found_exactly(self, backend: Storage) -> None:
        """By every number, in its namespace; -0.0 is 0.0."""
        places = [(0.0,), (0.0, 0.0), (0.1, -2.5e300), (1.0, 2.0, 3.0), tuple(float(n) for n in range(64))]
        stored = await store(backend, *(put(f"at {place}", coordinate=place) for place in places))
        for one, place in zip(stored, places, strict=True):
            assert await backend.at_coordinate(NAMESPACE, place, now=NOW) == one
        assert await backend.at_coordinate(NAMESPACE, (-0.0,), now=NOW) == stored[0]
        assert await backend.at_coordinate(NAMESPACE, (0.1,), now=NOW) is None
        assert await backend.at_coordinate(NAMESPACE, (0.1 + 2**-54, -2.5e300), now=NOW) in (None, stored[2])
        assert await backend.at_coordinate("acme", (0.0,), now=NOW) is None

    async def test_a_box_holds_its_bounds_and_its_dimension(self, backend: Storage) -> None:
        """Inclusive on every side, ordered by coordinate; other dimensions, namespaces and places are out."""
        inside = [(-1.0, 5.0), (-1.0, 10.0), (0.0, 7.5), (2.0, 5.0), (2.0, 10.0)]
        outside = [(-1.1, 5.0), (2.1, 6.0), (0.0, 4.9), (0.0, 10.1), (0.0,), (0.0, 6.0, 0.0)]
        await store(backend, *(put(f"at {place}", coordinate=place) for place in [*reversed(inside), *outside]))
        await store(backend, put("elsewhere", coordinate=(0.0, 6.0), namespace="acme"), put("nowhere"))
        found = await backend.in_box(NAMESPACE, (-1.0, 5.0), (2.0, 10.0), limit=99, now=NOW)
        assert [one.coordinate for one in found] == inside
        few = await backend.in_box(NAMESPACE, (-1.0, 5.0), (2.0, 10.0), limit=2, now=NOW)
        assert [one.coordinate for one in few] == inside[:2]

    async def test_an_empty_box_holds_nothing(self, backend: Storage) -> None:
        """Upside down or far away."""
        await store(backend, put("one", coordinate=(1.0,)))
        assert await backend.in_box(NAMESPACE, (2.0,), (0.0,), limit=9, now=NOW) == []
        assert await backend.in_box(NAMESPACE, (5.0,), (6.0,), limit=9, now=NOW) == []


class LinkTests(Suite):
    """Links."""

    async def test_a_link_is_created_updated_and_unchanged(self, backend: Storage) -> None:
        """Unique by source, target and relation; an equal one (true is not 1) writes no change row."""
        one, two = await store(backend, put("one"), put("two"))
        odd = {"note": "☕\x00", "n": [1, 2.5, None, {"k": True}]}
        first = link(one, two, weight=0.5, metadata=odd)
        [created] = await write(backend, tie(one, two, weight=0.5, metadata=odd))
        assert (applied_link(created).outcome, applied_link(created).link) == ("created", first)
        [same] = await write(backend, tie(one, two, weight=0.5, metadata=odd, time=at(5)))
        assert (applied_link(same).outcome, applied_link(same).link) == ("unchanged", first)
        assert await backend.last_sequence() == applied_link(created).sequence
        truer = {**odd, "n": [True, 2.5, None, {"k": True}]}
        [changed] = await write(backend, tie(one, two, weight=0.5, metadata=truer, time=at(7)))
        assert applied_link(changed).outcome == "updated"
        [updated] = await write(backend, tie(one, two, weight=2.0, time=at(9)))
        second = applied_link(updated).link
        assert applied_link(updated).outcome == "updated"
        assert (second.weight, second.metadata, second.created_at, second.updated_at) == (2.0, {}, NOW, at(9))
        assert await backend.links([one.id], relation=None, direction="out", now=at(9)) == [second]

    async def test_links_are_read_by_direction_and_relation(self, backend: Storage) -> None:
        """A multigraph: both ways, several relations, a loop; each link once."""
        one, two, three = await store(backend, put("one"), put("two"), put("three"))
        out, back, other, loop, far = links = [
            link(one, two),
            link(two, one, weight=2.0),
            link(one, two, relation="cites", weight=3.0),
            link(one, one, relation="self", weight=4.0),
            link(two, three, weight=5.0),
        ]
        await store(backend, *map(_tie, links))

        async def read(*ids: str, relation: str | None = None, direction: Direction = "both") -> list[Link]:
            return await backend.links(ids, relation=relation, direction=direction, now=NOW)

        assert await read(one.id, direction="out") == [out, other, loop]
        assert await read(one.id, direction="in") == [back, loop]
        assert await read(one.id) == [out, back, other, loop]
        assert await read(one.id, relation="cites") == [other]
        assert await read(one.id, two.id, three.id) == links
        assert await read(three.id, direction="out") == []
        assert await read() == []
        assert await read(three.id, direction="in") == [far]

    async def test_links_come_by_weight_then_ends_then_relation(self, backend: Storage) -> None:
        """A stable order."""
        hub, *others = await store(backend, *(put(f"n {n}") for n in range(6)))
        made = [link(hub, other, relation=name, weight=w) for other in others for name, w in (("b", 1.0), ("a", 1.0))]
        made += [
            link(hub, others[0], relation="light", weight=0.125),
            link(hub, others[1], relation="heavy", weight=9.5),
        ]
        await store(backend, *map(_tie, made))
        found = await backend.links([hub.id], relation=None, direction="both", now=NOW)
        assert found == sorted(made, key=lambda one: (one.weight, one.source, one.target, one.relation))

    async def test_a_link_needs_both_ends_alive_in_its_namespace(self, backend: Storage) -> None:
        """Unknown, deleted and expired ends, and ends elsewhere, are not found."""
        one, gone, faded, other = await store(
            backend, put("one"), put("gone"), put("faded", expires_at=at(1)), put("other", namespace="acme")
        )
        await store(backend, remove(gone))
        for bad in (memory("unknown"), gone, faded, other):
            for source, target in ((one, bad), (bad, one)):
                with pytest.raises(NotFound):
                    await backend.apply([tie(source, target, time=at(2))])
        assert await backend.links([one.id], relation=None, direction="both", now=NOW) == []

    async def test_a_removed_link_is_gone(self, backend: Storage) -> None:
        """Only that one; removing it again is not found, nor is one whose end is deleted."""
        one, two, three = await store(backend, put("one"), put("two"), put("three"))
        await store(backend, tie(one, two), tie(one, two, relation="cites"), tie(one, three))
        [result] = await write(backend, untie(one, two))
        assert (applied_link(result).outcome, applied_link(result).link) == ("deleted", link(one, two))
        left = await backend.links([one.id], relation=None, direction="out", now=at(2))
        assert {(one.target, one.relation) for one in left} == {(two.id, "cites"), (three.id, "related")}
        await store(backend, remove(three))
        for refused in (untie(one, two), untie(two, one), untie(one, three, time=at(3))):
            with pytest.raises(NotFound):
                await backend.apply([refused])

    async def test_link_changes_name_source_and_target(self, backend: Storage) -> None:
        """`memory.linked` for a new and a changed link, `memory.unlinked` for a removed one; versions stay."""
        one, two = await store(backend, put("one"), put("two"))
        await store(backend, tie(one, two), tie(one, two, weight=2.0), untie(one, two))
        rows = await backend.changes(HERE, after=2, limit=9)
        facts = [(row.type, row.memory_id, row.target, row.version) for row in rows]
        kinds = ["memory.linked", "memory.linked", "memory.unlinked"]
        assert facts == [(kind, one.id, two.id, 1) for kind in kinds]

    async def test_all_links_of_a_scope_are_paged(self, backend: Storage) -> None:
        """Each once, those of tombstones too, those of other namespaces not."""
        stored = await store(backend, *(put(f"n {n}") for n in range(5)))
        away = await store(backend, put("x", namespace="acme/agent-7"), put("y", namespace="acme/agent-7"))
        made = [link(a, b) for a in stored for b in stored if a.id != b.id]
        await store(backend, *map(_tie, made), tie(*away, namespace="acme/agent-7"), remove(stored[0]))
        for scope in (HERE, Scope(NAMESPACE, subtree=True)):
            found, after = await backend.links_in(scope, after=None, limit=7)
            assert len(found) == 7
            while after is not None:
                page, after = await backend.links_in(scope, after=after, limit=7)
                found += page
            assert len(found) == len(made)
            assert {(one.source, one.target) for one in found} == {(one.source, one.target) for one in made}
        assert len((await backend.links_in(ALL, after=None, limit=99))[0]) == len(made) + 1

    async def test_a_deleted_end_hides_a_link_until_undone(self, backend: Storage) -> None:
        """Seen from the other end as well."""
        one, two, three = await store(backend, put("one"), put("two"), put("three"))
        await store(backend, tie(one, two), tie(three, two), remove(one))
        found = await backend.links([two.id], relation=None, direction="both", now=at(2))
        assert [end.source for end in found] == [three.id]
        assert ids_of(await backend.get([two.id], now=at(2))) == [two.id]


def _tie(made: Link) -> PutLink:
    return PutLink(link=made)
