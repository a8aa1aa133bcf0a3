"""What the model-based test stands on: opening, running, and comparing every read with the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis.stateful import RuleBasedStateMachine
from msgspec import Struct

from sfm_core.errors import NotFound, SfmError
from sfm_core.memory import AgentMemory
from sfm_core.model.namespace import parse_scope
from sfm_core.testing.reference import Entry, Reference, same

__all__ = ["NAMESPACES", "Comparing", "Embed", "Opening", "Setup"]

T = TypeVar("T")
Opening = Callable[[], AbstractAsyncContextManager[AgentMemory]]
Embed = Callable[[list[str]], list[list[float]]]

NAMESPACES = ("a", "a/b", "a-b", "ab", "A", "a%")


class Setup(Struct, frozen=True):
    """What a machine drives: see `drive`."""

    fresh: Callable[[], Opening]
    durable: bool
    embed: Embed | None


class Comparing(RuleBasedStateMachine):
    """Holds one opened memory and its model. A subclass gives `setup` and the rules."""

    setup: ClassVar[Setup]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.opening = self.setup.fresh()
        self.model = Reference()
        self.open()

    def open(self) -> None:
        """Open the store."""
        self.context = self.opening()
        self.memory = self.run(self.context.__aenter__())

    def close(self) -> None:
        """Close the store."""
        self.run(self.context.__aexit__(None, None, None))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out one operation."""
        return self.runner.run(work)

    def refused(self, kind: type[SfmError], work: Coroutine[Any, Any, object]) -> None:
        """Carry out an operation that must be refused."""
        with pytest.raises(kind):
            self.run(work)

    def teardown(self) -> None:
        """Compare everything once more, and close."""
        try:
            self.compare()
        finally:
            self.close()
            self.runner.close()

    def compare(self) -> None:
        """Compare every read with the model."""
        for scope in (*NAMESPACES, "a/**", "**"):
            live = self.model.live(parse_scope(scope))
            page = self.run(self.memory.list(namespace=scope, limit=1000))
            assert same({one.id: one for one in page.items}, live)
            assert len(page.items) == len(live)
            stats = self.run(self.memory.stats(namespace=scope))
            assert (stats.memories, stats.links) == (len(live), self.model.visible_links(live))
        for id, entry in self.model.entries.items():
            self.compare_memory(id, entry)
        for id in self.model.erased:
            self.refused(NotFound, self.memory.history(id))
        self.compare_log()

    def compare_memory(self, id: str, entry: Entry) -> None:
        """Compare history, coordinate and neighbours of one memory."""
        history = self.run(self.memory.history(id, limit=1000)).items
        assert same(history, [memory for memory, _ in entry.versions][::-1])
        if not entry.live:
            return self.refused(NotFound, self.memory.get(id))
        assert same(self.run(self.memory.get(id)), entry.memory)
        near = self.run(self.memory.neighbors(id, limit=1000)).items
        assert {one.memory.id for one in near} == self.model.neighbours(id)
        place = entry.memory.coordinate
        if place is not None:
            there = self.run(self.memory.at_coordinate(place, namespace=entry.memory.namespace))
            assert same(there, (entry.memory,))
        return None

    def compare_log(self) -> None:
        """Compare the change log: every change once, in rising order, with its version."""
        page = self.run(self.memory.changes(limit=1000))
        numbers = [event.data.sequence for event in page.items]
        assert numbers == sorted(set(numbers))
        told = [(event.type, event.data.memory_id, event.data.version) for event in page.items]
        assert sorted(told) == sorted(self.model.log)
