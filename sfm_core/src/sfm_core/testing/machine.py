"""A model-based test of the whole memory: random operations, reopenings included, against a plain dictionary model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    rule,
    run_state_machine_as_test,
)
from msgspec import Struct

from sfm_core.errors import SfmError
from sfm_core.memory import AgentMemory
from sfm_core.testing.reference import Reference

__all__ = ["MemoryMachine", "Opening", "Setup", "drive"]

T = TypeVar("T")
Opening = Callable[[], AbstractAsyncContextManager[AgentMemory]]
Embed = Callable[[list[str]], list[list[float]]]

NAMESPACES = ("a", "a/b", "a-b", "ab", "A", "a%")
WORDS = ("tea", "coffee", "rain", "turin", "bicycle", "violin")
TIMES = ("created_at", "updated_at", "occurred_at")

namespaces = st.sampled_from(NAMESPACES)
scopes = st.sampled_from([*NAMESPACES, "a/**", "a-b/**", "**"])
contents = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)
coordinates = st.none() | st.tuples(st.sampled_from([0.0, 1.0, -2.5]), st.sampled_from([0.0, 3.0]))
fields = st.fixed_dictionaries(
    {},
    optional={
        "author": st.sampled_from(["Ada", "Bob"]),
        "tags": st.lists(st.sampled_from("xyz"), max_size=2, unique=True).map(tuple),
        "importance": st.sampled_from([0.0, 0.25, 1.0]),
        "payload": st.sampled_from([{"n": 1}, {"n": True}, {"city": "Rome", "deep": {"er": [1, None]}}]),
        "kind": st.sampled_from(["episodic", "semantic"]),
        "pinned": st.booleans(),
    },
)


class Setup(Struct, frozen=True):
    """What a machine drives: see `drive`."""

    fresh: Callable[[], Opening]
    durable: bool
    embed: Embed | None


class MemoryMachine(RuleBasedStateMachine):
    """Drives one memory. A subclass gives `setup`."""

    setup: ClassVar[Setup]

    ids = Bundle("ids")
    operations = Bundle("operations")

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
            suppress_health_check=list(HealthCheck),
        ),
    )
