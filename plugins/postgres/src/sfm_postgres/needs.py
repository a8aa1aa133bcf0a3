"""What a group of writes has to lock and to read before it can be decided."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct, field

from sfm_core.model.memory import Memory
from sfm_core.ports.writes import (
    Erase,
    Idempotency,
    ImportLink,
    ImportMemory,
    Put,
    PutLink,
    Remove,
    RemoveLink,
    Replace,
    Revive,
    StartOperation,
    Write,
)
from sfm_postgres.keys import place_key, stripe, stripe_of, twin_key
from sfm_postgres.view import LinkKey

__all__ = ["NARROWING", "Needs", "TwinTests", "needs_of"]

TwinTests = tuple[tuple[str, Any], ...]
"""Given fields that narrow the search for twins: (column, value)."""

NARROWING = ("author", "thread", "position", "occurred_at")
"""Fields that, when they are given, a twin has to share, and that are looked up with it."""


class Needs(Struct):
    """Keys of what is read and locked.

    Attributes:
        ids: memories that are written to.
        fresh: ids of new memories, which must be free.
        twins: for each set of narrowing columns the searches: twin key and values.
        places: keys of coordinates.
        revived: memories whose own coordinate is asked for.
        links: links.
        operations: operations whose figures are asked for.
        members: (operation, memory) pairs that may be members already.
        answers: idempotency keys.
        stripes: locks.
        namespaces: whose vocabulary may get new words.
        erasures: whether something is erased.
    """

    ids: set[str] = field(default_factory=set)
    fresh: set[str] = field(default_factory=set)
    twins: dict[tuple[str, ...], dict[tuple[Any, ...], None]] = field(default_factory=dict)
    places: set[str] = field(default_factory=set)
    revived: set[str] = field(default_factory=set)
    links: set[LinkKey] = field(default_factory=set)
    operations: set[str] = field(default_factory=set)
    members: set[tuple[str, str]] = field(default_factory=set)
    answers: set[tuple[str, str]] = field(default_factory=set)
    stripes: set[int] = field(default_factory=set)
    namespaces: set[str] = field(default_factory=set)
    erasures: bool = False

    def claim(self, idempotency: Idempotency) -> None:
        """Add what a claim of an idempotency key needs."""
        self.answers.add((idempotency.scope, idempotency.key))
        self.stripes.add(stripe(f"answer {idempotency.scope}\0{idempotency.key}"))

    def place(self, memory: Memory) -> None:
        """Add the place of a memory."""
        if memory.coordinate is not None:
            key = place_key(memory.namespace, memory.coordinate)
            self.places.add(key)
            self.stripes.add(stripe_of(key))

    def put(self, write: Put) -> None:
        """Add what `Put` needs."""
        memory = write.memory
        self.fresh.add(memory.id)
        if "id" in write.given:
            self.stripes.add(stripe(memory.id))
        if write.dedupe:
            key = twin_key(memory.namespace, write.digest)
            self.stripes.add(stripe_of(key))
            names = tuple(name for name in NARROWING if name in write.given)
            values = (key, *(getattr(memory, name) for name in names))
            self.twins.setdefault(names, {})[values] = None
        self.place(memory)
        self.namespaces.add(memory.namespace)

    def add(self, write: Write) -> None:
        """Add what one write needs."""
        match write:
            case Put():
                self.put(write)
            case Replace(memory=memory):
                self.ids.add(memory.id)
                self.place(memory)
                self.namespaces.add(memory.namespace)
            case Remove(id=id, operation=operation):
                self.ids.add(id)
                self.members.add((operation, id))
            case Revive(id=id, operation=operation):
                self.ids.add(id)
                self.revived.add(id)
                self.members.add((operation, id))
            case Erase(id=id, operation=operation):
                self.ids.add(id)
                self.erasures = True
                self.members.add((operation, id))
            case PutLink(link=link) | ImportLink(link=link):
                self.ids.update((link.source, link.target))
                self.links.add((link.source, link.target, link.relation))
            case RemoveLink(source=source, target=target, relation=relation):
                self.ids.update((source, target))
                self.links.add((source, target, relation))
            case StartOperation(operation=started):
                self.operations.add(started.id)
            case ImportMemory(versions=versions):
                memory = versions[-1]
                self.ids.add(memory.id)
                self.fresh.add(memory.id)
                self.stripes.add(stripe(memory.id))
                self.place(memory)
                self.namespaces.add(memory.namespace)


def needs_of(writes: Iterable[Write], claims: Iterable[Idempotency]) -> Needs:
    """Return what `writes` and `claims` need together."""
    needs = Needs()
    for write in writes:
        needs.add(write)
    for claim in claims:
        needs.claim(claim)
    return needs
