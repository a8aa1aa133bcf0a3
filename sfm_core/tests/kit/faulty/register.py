"""How a deliberately faulty backend is declared: by the one kit test that must catch it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from msgspec import Struct

from sfm_core.plugins.types import BackendSpec, Port
from sfm_core.testing.conformance import CAPABILITIES
from sfm_core.testing.suite import Suite


class Fault(NamedTuple):
    module: str
    test_class: str
    test: str
    caught: bool


class NoConfig(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Register:
    """Makes test classes of faulty backends in a module, and lists what must fail (or, for honest ones, pass)."""

    def __init__(self, module: dict[str, Any]) -> None:
        self.module = module
        self.faults: list[Fault] = []
        self.classes: dict[str, Any] = {}

    def fault(self, suite: type[Suite], *tests: str, caught: bool = True, **attributes: Any) -> Callable[[Any], Any]:
        """Register the decorated backend (a class, or a function that opens one) as failing each of `tests`."""

        def add(backend: Any) -> Any:
            module = self.module["__name__"].rsplit(".", 1)[-1]
            name = f"Test{backend.__name__}{suite.__name__.removesuffix('Suite')}"
            body = {"spec": spec_of(suite, backend), "plugin": module, **attributes}
            self.classes[name] = self.module[name] = type(name, (suite,), body)
            self.faults += [Fault(module, name, test, caught) for test in tests]
            return backend

        return add

    def specs(self, port: Port) -> list[BackendSpec]:
        """Return one spec for each backend, as a plugin's hook does: another process finds them by name."""
        return list({suite.spec.name: suite.spec for suite in self.classes.values() if suite.port == port}.values())


def spec_of(suite: type[Suite], backend: Any) -> BackendSpec:
    @asynccontextmanager
    async def opening(config: Any, context: Any) -> Any:
        opened = backend(context) if getattr(backend, "takes_context", False) else backend()
        yield opened
        close = getattr(opened, "close", None)
        if close is not None:
            close()

    able = frozenset(CAPABILITIES[suite.port]) - {suite.lacks}
    return BackendSpec(port=suite.port, name=backend.__name__, config=NoConfig, open=opening, capabilities=able)
