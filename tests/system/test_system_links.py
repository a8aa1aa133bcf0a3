"""Links, neighbours and cheapest paths."""

from __future__ import annotations

from typing import Any

import pytest

from sfm_core.errors import NotFound
from sfm_core.memory import AgentMemory


@pytest.fixture
async def ids(memory: AgentMemory) -> dict[str, str]:
    """Six memories, by letter."""
    return {name: (await memory.remember(f"memory {name}")).memory.id for name in "abcdef"}


async def test_a_link_is_unique_by_ends_and_relation(memory: AgentMemory, ids: dict[str, str]) -> None:
    """Created, unchanged, updated, deleted; other relations and the way back are links of their own."""
    a, b = ids["a"], ids["b"]
    made = await memory.link(a, b, metadata={"why": "x"})
    assert (made.outcome, made.link.weight, made.link.relation, made.link.namespace) == (
        "created",
        1.0,
        "related",
        "default",
    )
    assert (await memory.link(a, b, metadata={"why": "x"})).outcome == "unchanged"
    updated = await memory.link(a, b, weight=0.5)
    assert (updated.outcome, updated.link.metadata, updated.link.created_at) == ("updated", {}, made.link.created_at)
    assert (await memory.link(b, a)).outcome == "created"
    assert (await memory.link(a, b, relation="causes")).outcome == "created"
    gone = await memory.unlink(a, b)
    assert (gone.outcome, gone.link) == ("deleted", updated.link)
    with pytest.raises(NotFound):
        await memory.unlink(a, b)
    events = [e for e in (await memory.changes()).items if "link" in e.type]
    assert [(e.type, e.subject, e.data.target) for e in events] == [
        ("memory.linked", a, b),
        ("memory.linked", a, b),
        ("memory.linked", b, a),
        ("memory.linked", a, b),
        ("memory.unlinked", a, b),
    ]
    assert (await memory.get(a)).version == 1


async def test_neighbours_come_nearest_first(memory: AgentMemory, ids: dict[str, str]) -> None:
    """By hops, then the weight of the link that reached them; by direction, relation and depth; paged."""
    for source, target, options in (
        ("a", "b", {"weight": 2.0}),
        ("a", "c", {}),
        ("c", "d", {}),
        ("d", "e", {}),
        ("f", "a", {"weight": 0.5}),
        ("b", "d", {"relation": "causes"}),
        ("e", "a", {"relation": "closes", "weight": 9.0}),
    ):
        await memory.link(ids[source], ids[target], **options)
    names = {id: name for name, id in ids.items()}

    async def near(**options: Any) -> list[tuple[str, int]]:
        page = await memory.neighbors(ids["a"], **options)
        assert page.next is None
        return [(names[n.memory.id], n.depth) for n in page.items]

    assert await near() == [("f", 1), ("c", 1), ("b", 1), ("e", 1)]
    assert await near(direction="out") == [("c", 1), ("b", 1)]
    assert await near(direction="in") == [("f", 1), ("e", 1)]
    assert await near(direction="out", depth=2) == [("c", 1), ("b", 1), ("d", 2)]
    assert await near(direction="out", depth=5) == [("c", 1), ("b", 1), ("d", 2), ("e", 3)]
    assert await near(relation="causes", depth=5) == []
    assert await near(relation="closes") == [("e", 1)]
    paged = []
    cursor = None
    while True:
        page = await memory.neighbors(ids["a"], direction="out", depth=5, limit=1, cursor=cursor)
        paged += [names[n.memory.id] for n in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert paged == ["c", "b", "d", "e"]


async def test_the_cheapest_path_wins(memory: AgentMemory, ids: dict[str, str]) -> None:
    """By the sum of weights, then fewer links; along the direction; of one relation when asked."""
    for source, target, weight in (
        ("a", "b", 1.0),
        ("b", "c", 1.0),
        ("c", "d", 1.0),
        ("a", "e", 2.5),
        ("e", "d", 0.5),
        ("a", "d", 9.0),
    ):
        await memory.link(ids[source], ids[target], weight=weight)
    await memory.link(ids["a"], ids["d"], relation="direct", weight=5.0)
    names = {id: name for name, id in ids.items()}

    async def walk(source: str, target: str, **options: Any) -> tuple[str, float]:
        found = await memory.path(ids[source], ids[target], **options)
        assert [link.source for link in found.links] == [m.id for m in found.nodes[:-1]]
        assert [link.target for link in found.links] == [m.id for m in found.nodes[1:]]
        return "".join(names[m.id] for m in found.nodes), found.cost

    assert await walk("a", "d") == ("aed", 3.0)
    assert await walk("a", "c") == ("abc", 2.0)
    assert await walk("a", "d", relation="direct") == ("ad", 5.0)
    assert await walk("a", "a") == ("a", 0.0)
    for source, target, options in (("d", "a", {}), ("a", "f", {}), ("a", "c", {"relation": "direct"})):
        with pytest.raises(NotFound):
            await memory.path(ids[source], ids[target], **options)
    await memory.delete(ids["e"])
    assert await walk("a", "d") == ("abcd", 3.0)


async def test_links_share_the_fate_of_their_ends(memory: AgentMemory, ids: dict[str, str]) -> None:
    """Hidden while an end is deleted, back with it, gone for good when it is erased."""
    a, b, c = ids["a"], ids["b"], ids["c"]
    await memory.link(a, b)
    await memory.link(b, c)
    operation = str((await memory.delete(b)).operation)
    assert (await memory.neighbors(a)).items == ()
    for call in (memory.link(a, b), memory.unlink(a, b), memory.path(a, b), memory.path(a, c)):
        with pytest.raises(NotFound):
            await call
    await memory.undo(operation)
    assert (await memory.path(a, c)).cost == 2.0
    await memory.erase(b)
    assert (await memory.neighbors(c)).items == ()
    assert (await memory.stats()).links == 0
