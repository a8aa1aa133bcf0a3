"""A model-based test of the whole memory: random operations, reopenings included, against a plain dictionary model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, consumes, initialize, multiple, precondition, rule, run_state_machine_as_test
from msgspec.structs import replace

from sfm_core.errors import Conflict, InvalidInput, NotFound
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import ALL, Scope, parse_scope
from sfm_core.testing.build import new_id
from sfm_core.testing.machine_base import NAMESPACES, Comparing, Embed, Opening, Setup
from sfm_core.testing.reference import same

__all__ = ["MemoryMachine", "drive"]

WORDS = ("tea", "coffee", "rain", "turin", "bicycle", "violin")
TIMES = ("created_at", "updated_at", "occurred_at")

namespaces = st.sampled_from(["a", "a", "a", "a", *NAMESPACES])  # one is fuller than the others: things meet there
scopes = st.sampled_from([*NAMESPACES, "a/**", "a-b/**", "**"])
contents = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)
coordinates = st.none() | st.tuples(st.sampled_from([0.0, 1.0, -2.5]), st.sampled_from([0.0, 3.0]))
payloads = st.sampled_from([{"n": 1}, {"n": True}, {"city": "Rome", "deep": {"er": [1, None]}}])
optional = {
    "author": st.sampled_from(["Ada", "Bob"]),
    "tags": st.lists(st.sampled_from("xyz"), max_size=2, unique=True).map(tuple),
    "importance": st.sampled_from([0.0, 0.25, 1.0]),
    "payload": payloads,
    "kind": st.sampled_from(["episodic", "semantic"]),
    "pinned": st.booleans(),
}
fields = st.fixed_dictionaries({}, optional=optional)
patches = st.fixed_dictionaries({"payload": payloads}) | st.fixed_dictionaries(
    {}, optional={**optional, "content": contents, "coordinate": coordinates}
)


class MemoryMachine(Comparing):
    """Every operation, as rules."""

    ids = Bundle("ids")
    operations = Bundle("operations")

    @initialize(
        target=ids, firsts=st.lists(st.tuples(namespaces, contents, coordinates, fields), min_size=4, max_size=8)
    )
    def begin(self, firsts: list[tuple[str, str, tuple[float, ...] | None, dict[str, Any]]]) -> Any:
        """Nothing interesting happens in an empty memory."""
        return multiple(*(self.remember(*first, dedupe=False) for first in firsts))

    @rule(target=ids, namespace=namespaces, content=contents, coordinate=coordinates, rest=fields, dedupe=st.booleans())
    def remember(
        self,
        namespace: str,
        content: str,
        coordinate: tuple[float, ...] | None,
        rest: dict[str, Any],
        dedupe: bool,
    ) -> str:
        """A duplicate of a twin, a version at an occupied coordinate, or a new memory."""
        given = {"content": content, **rest, **({"coordinate": coordinate} if coordinate else {})}
        twins = self.model.twins(namespace, given) if dedupe else set()
        holder = self.model.holder(namespace, coordinate)
        receipt = self.run(self.memory.remember(**given, namespace=namespace, dedupe=dedupe))
        found = receipt.memory
        if twins:
            assert (receipt.outcome, found.id in twins) == ("duplicate", True)
            assert same(found, self.model.entries[found.id].memory)
            return found.id
        former = self.model.entries[holder].memory if holder else None
        plain = Memory(id=found.id, namespace=namespace, **given, **{name: getattr(found, name) for name in TIMES})
        assert same(found, replace(plain, version=former.version + 1 if former else 1))
        assert receipt.outcome == ("versioned" if former else "created")
        if former is not None:
            assert (found.id, found.created_at) == (former.id, former.created_at)
        assert former or found.id not in self.model.entries
        self.model.write("updated" if former else "created", found)
        return found.id

    @rule(id=ids, changes=patches)
    def update(self, id: str, changes: dict[str, Any]) -> None:
        """A new version, nothing when nothing changes, a conflict at an occupied coordinate."""
        if not self.model.is_live(id):
            return self.refused(NotFound, self.memory.update(id, **changes))
        before = self.model.entries[id].memory
        expected = replace(before, **{**changes, "payload": merge(before.payload, changes.get("payload", {}))})
        if same(expected, before):
            assert self.run(self.memory.update(id, **changes)).outcome == "unchanged"
        elif self.model.holder(before.namespace, expected.coordinate) not in (None, id):
            self.refused(Conflict, self.memory.update(id, **changes))
        else:
            found = self.run(self.memory.update(id, **changes)).memory
            assert same(found, replace(expected, version=before.version + 1, updated_at=found.updated_at))
            self.model.write("updated", found)
        return None

    @rule(target=operations, id=ids)
    def delete(self, id: str) -> Any:
        """A tombstone; refused when there is none to make."""
        if not self.model.is_live(id):
            self.refused(NotFound, self.memory.delete(id))
            return multiple()
        before = self.model.entries[id].memory
        receipt = self.run(self.memory.delete(id))
        assert receipt.outcome == "deleted"
        self.buried(before, str(receipt.operation))
        return str(receipt.operation)

    def buried(self, before: Memory, operation: str) -> None:
        """Note the tombstone of a memory, as its history shows it."""
        newest = self.run(self.memory.history(before.id, limit=1)).items[0]
        assert same(newest, replace(before, version=before.version + 1, updated_at=newest.updated_at))
        self.model.remove(newest, operation)

    @rule(id=consumes(ids))
    def erase(self, id: str) -> None:
        """Gone for everything, tombstones too; a second time it is not found."""
        if id not in self.model.entries:
            return self.refused(NotFound, self.memory.erase(id))
        assert self.run(self.memory.erase(id)).outcome == "erased"
        self.model.erase(id)
        for work in (self.memory.get(id), self.memory.history(id), self.memory.erase(id), self.memory.restore(id, 1)):
            self.refused(NotFound, work)
        return None

    @rule(operation=operations)
    def undo(self, operation: str) -> None:
        """Brings back what is still hidden by it; once."""
        if operation in self.model.undone:
            return self.refused(Conflict, self.memory.undo(operation))
        back = self.model.revivable(operation)
        assert self.run(self.memory.undo(operation)).state == "undone"
        self.model.undone.add(operation)
        for id in back:
            found = self.run(self.memory.get(id))
            before = self.model.entries[id].memory
            assert same(found, replace(before, version=before.version + 1, updated_at=found.updated_at))
            self.model.write("restored", found)
        return None

    @rule(id=ids, back=st.integers(0, 4))
    def restore(self, id: str, back: int) -> None:
        """An old version as a new one; tombstone versions and unknown ones are not found."""
        entry = self.model.entries.get(id)
        versions = entry.versions if entry else []
        if entry is None or back >= len(versions) or versions[-1 - back][1]:
            version = versions[-1 - back][0].version if back < len(versions) else len(versions) + 9
            return self.refused(NotFound, self.memory.restore(id, version))
        old = versions[-1 - back][0]
        if self.model.holder(old.namespace, old.coordinate) not in (None, id):
            return self.refused(Conflict, self.memory.restore(id, old.version))
        found = self.run(self.memory.restore(id, old.version)).memory
        assert same(found, replace(old, version=entry.memory.version + 1, updated_at=found.updated_at))
        self.model.write("restored", found)
        return None

    @rule(one=ids, two=ids, relation=st.sampled_from(["related", "cites"]), weight=st.sampled_from([0.5, 2.0]))
    def link(self, one: str, two: str, relation: str, weight: float) -> None:
        """Created, updated or unchanged; both ends must be there, in one namespace, and differ."""
        work = self.memory.link(one, two, relation=relation, weight=weight)
        if one == two:
            return self.refused(InvalidInput, work)
        if not (self.model.is_live(one) and self.model.is_live(two)):
            return self.refused(NotFound, work)
        source = self.model.entries[one].memory
        if source.namespace != self.model.entries[two].memory.namespace:
            return self.refused(InvalidInput, work)
        before = self.model.links.get((one, two, relation))
        outcome = "created" if before is None else "unchanged" if before == weight else "updated"
        assert self.run(work).outcome == outcome
        self.model.links[one, two, relation] = weight
        if outcome != "unchanged":
            self.model.log.append(("memory.linked", one, source.version))
        return None

    @rule(one=ids, number=st.integers(0, 9), weight=st.sampled_from([0.5, 2.0]))
    def link_nearby(self, one: str, number: int, weight: float) -> None:
        """Two drawn at random are seldom both there, apart and in one namespace."""
        if self.model.is_live(one):
            others = sorted(self.model.live(Scope(self.model.entries[one].memory.namespace)).keys() - {one})
            if others:
                self.link(one, others[number % len(others)], "related", weight)

    @rule(one=ids, two=ids, relation=st.sampled_from(["related", "cites"]))
    def unlink(self, one: str, two: str, relation: str) -> None:
        """Removed, or not found."""
        work = self.memory.unlink(one, two, relation=relation)
        there = (one, two, relation) in self.model.links and self.model.is_live(one) and self.model.is_live(two)
        if not there:
            return self.refused(NotFound, work)
        assert self.run(work).outcome == "deleted"
        del self.model.links[one, two, relation]
        self.model.log.append(("memory.unlinked", one, self.model.entries[one].memory.version))
        return None

    @rule(target=operations, scope=scopes, tag=st.sampled_from("xyz"), dry=st.booleans())
    def forget(self, scope: str, tag: str, dry: bool) -> Any:
        """By filter: told in a dry run, hidden under one operation otherwise."""
        passing = {id: m for id, m in self.model.live(parse_scope(scope)).items() if tag in m.tags}
        has = {"field": "tags", "op": "contains", "value": tag}
        report = self.run(self.memory.forget(namespace=scope, filter=has, dry_run=dry))
        assert (set(report.items), report.count) == (set(passing), len(passing))
        if dry:
            return multiple()
        for memory in passing.values():
            self.buried(memory, str(report.operation))
        return str(report.operation)

    @rule(namespace=namespaces, erase=st.booleans())
    @precondition(lambda self: len(self.model.entries) > 8)
    def delete_namespace(self, namespace: str, erase: bool) -> None:
        """Exactly that namespace; an erasure takes tombstones too."""
        live = self.model.live(Scope(namespace))
        held = {id for id, e in self.model.entries.items() if e.memory.namespace == namespace} if erase else set(live)
        report = self.run(self.memory.delete_namespace(namespace, erase=erase))
        assert report.count == len(held)
        for id in held:
            if erase:
                self.model.erase(id)
            else:
                self.buried(live[id], str(report.operation))

    @rule(scope=scopes, words=contents)
    def recall(self, scope: str, words: str) -> None:
        """Every live memory of the scope with one of the words, and nothing from elsewhere."""
        inside = self.model.live(parse_scope(scope))
        holding = {id for id, m in inside.items() if set(words.split()) & set((m.content or "").split())}
        answer = self.run(self.memory.recall(words, namespace=scope, k=1000))
        found = [hit.memory for hit in answer.hits]
        assert holding <= {one.id for one in found} <= set(inside)
        assert all(same(one, inside[one.id]) for one in found)
        assert len({one.id for one in found}) == len(found)
        assert answer.partial == ()

    @rule(scope=scopes, words=contents)
    @precondition(lambda self: self.setup.embed is not None)
    def recall_vector(self, scope: str, words: str) -> None:
        """Every live memory of the scope comes, in its newest version, nearest first."""
        embed = self.setup.embed
        assert embed is not None
        [vector] = embed([words])
        inside = self.model.live(parse_scope(scope))
        answer = self.run(self.memory.recall_vector(vector, namespace=scope, k=1000))
        assert same({hit.memory.id: hit.memory for hit in answer.hits}, inside)
        rows = embed([hit.memory.content or "" for hit in answer.hits])
        near = [sum(a * b for a, b in zip(vector, row, strict=True)) for row in rows]
        assert near == pytest.approx(sorted(near, reverse=True), abs=1e-3)

    @rule(id=ids, back=st.integers(0, 3))
    def read_the_past(self, id: str, back: int) -> None:
        """`as_of` a version's time shows what was there then, until it is erased."""
        entry = self.model.entries.get(id)
        if entry is None:
            return self.refused(NotFound, self.memory.get(id, as_of="2999-01-01"))
        moment = entry.versions[-1 - min(back, len(entry.versions) - 1)][0].updated_at
        expected = entry.at(moment)
        if expected is None:
            return self.refused(NotFound, self.memory.get(id, as_of=moment))
        assert same(self.run(self.memory.get(id, as_of=moment)), expected)
        return None

    @rule()
    def ask_for_the_unknown(self) -> None:
        """Ids that nobody has are not found."""
        id = new_id()
        for work in (self.memory.get(id), self.memory.update(id, content="x"), self.memory.delete(id)):
            self.refused(NotFound, work)

    @rule()
    def reopen(self) -> None:
        """Everything is as it was."""
        if self.setup.durable:
            self.close()
            self.open()
        self.compare()

    @rule()
    def move_house(self) -> None:
        """An archive carries everything live, every version and every link into an empty store."""

        async def carry() -> tuple[list[Memory], int]:
            async with self.setup.fresh()() as other:
                await other.import_from([lines async for lines in self.memory.export()])
                page = await other.list(namespace="**", limit=1000)
                for id, entry in self.model.entries.items():
                    history = await other.history(id, limit=1000)
                    assert same(history.items, [memory for memory, _ in entry.versions][::-1])
                return list(page.items), (await other.stats()).links

        moved, links = self.run(carry())
        live = self.model.live(ALL)
        assert same({one.id: one for one in moved}, live)
        assert links == self.model.visible_links(live)


def merge(old: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Return what a JSON merge patch without nulls makes of `old`."""
    merged = dict(old)
    for key, value in patch.items():
        before = merged.get(key)
        merged[key] = merge(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


def drive(
    fresh: Callable[[], Opening],
    *,
    durable: bool,
    embed: Embed | None = None,
    examples: int = 20,
    steps: int = 30,
    shrink: bool = True,
) -> None:
    """Run the machine.

    Args:
        fresh: returns what opens one new, empty store each time it is called.
        durable: whether closing and opening keeps the store.
        embed: the function that was given to `open_memory`, if any; turns the vector rule on.
        examples, steps: how many runs, and how many operations in each.
        shrink: whether a failure is made smaller before it is shown, which may take minutes.
    """
    machine = type("Machine", (MemoryMachine,), {"setup": Setup(fresh, durable, embed)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
