"""The chooser: which suites a plugin's backends must pass, made into test classes, and a check that none is left out."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from sfm_core.errors import PluginError
from sfm_core.plugins.types import BackendSpec, Port
from sfm_core.ports.cache import CacheCapability
from sfm_core.ports.embedding import EmbeddingCapability
from sfm_core.ports.events import EventsCapability
from sfm_core.ports.storage import StorageCapability
from sfm_core.ports.vectors import VectorsCapability
from sfm_core.testing.cache import CacheSuite, SharedCacheSuite
from sfm_core.testing.embedding import TextEmbeddingSuite, WordVectorsSuite
from sfm_core.testing.events import DeadLettersSuite, DurableEventsSuite, EventsSuite, SharedEventsSuite
from sfm_core.testing.opener import specs_of
from sfm_core.testing.refusals import REFUSALS
from sfm_core.testing.storage import StorageSuite
from sfm_core.testing.storage_keys import ApiKeysSuite
from sfm_core.testing.storage_lasting import DurableStorageSuite, SharedStorageSuite
from sfm_core.testing.storage_leases import LeasesSuite
from sfm_core.testing.storage_ranking import MatchingSuite
from sfm_core.testing.storage_words import FullTextSuite, VocabularySuite
from sfm_core.testing.suite import Suite
from sfm_core.testing.vectors import ExactVectorsSuite, VectorsAmongSuite, VectorsFilterSuite, VectorsSuite
from sfm_core.testing.vectors_lasting import DurableVectorsSuite, SharedVectorsSuite
from sfm_core.testing.vectors_words import VectorsFullTextSuite

__all__ = ["CAPABILITIES", "SUITES", "SpecSuite", "conformance", "missing", "required"]

SUITES: tuple[type[Suite], ...] = (
    StorageSuite,
    FullTextSuite,
    VocabularySuite,
    MatchingSuite,
    LeasesSuite,
    ApiKeysSuite,
    DurableStorageSuite,
    SharedStorageSuite,
    VectorsSuite,
    VectorsAmongSuite,
    VectorsFilterSuite,
    ExactVectorsSuite,
    VectorsFullTextSuite,
    DurableVectorsSuite,
    SharedVectorsSuite,
    CacheSuite,
    SharedCacheSuite,
    EventsSuite,
    DurableEventsSuite,
    SharedEventsSuite,
    DeadLettersSuite,
    TextEmbeddingSuite,
    WordVectorsSuite,
)
"""One suite per port and one per capability."""

CAPABILITIES: Mapping[Port, type[Any]] = {
    Port.STORAGE: StorageCapability,
    Port.VECTORS: VectorsCapability,
    Port.CACHE: CacheCapability,
    Port.EVENTS: EventsCapability,
    Port.EMBEDDING: EmbeddingCapability,
}


class SpecSuite(Suite):
    """What every `BackendSpec` must be."""

    async def test_a_backend_declares_capabilities_of_its_port(self) -> None:
        """Nothing that the port does not know; an embedding has at least one."""
        assert [one for one in self.spec.capabilities if not isinstance(one, CAPABILITIES[self.spec.port])] == []
        assert self.spec.capabilities or self.spec.port != Port.EMBEDDING

    async def test_a_config_is_frozen_and_closed(self) -> None:
        """Fields cannot be changed, unknown ones are refused, and the well-known variables fill fields that exist."""
        config = self.spec.config
        assert config.__struct_config__.frozen
        assert config.__struct_config__.forbid_unknown_fields
        assert set(self.spec.env.values()) <= {field.name for field in msgspec.structs.fields(config)}


def required(spec: BackendSpec) -> list[type[Suite]]:
    """Return every suite that a backend must pass: its port's, those of what it declares, refusals for what it lacks."""
    suites = [suite for suite in SUITES if suite.port == spec.port]
    proven = [suite for suite in suites if suite.capability is None or suite.capability in spec.capabilities]
    refused = [suite for suite in REFUSALS if suite.port == spec.port and suite.lacks not in spec.capabilities]
    return [SpecSuite, *proven, *refused]


def conformance(
    plugin: str,
    *,
    fixtures: Mapping[Port, type[Any]] | None = None,
    known_gaps: Mapping[str, str] | None = None,
) -> dict[str, type[Suite]]:
    """Return test classes for every backend of a plugin, by name, to be put into a test module's globals.

    ```python
    globals().update(conformance("sfm_postgres.plugin", fixtures={Port.STORAGE: PostgresFixtures}))
    ```

    Args:
        plugin: dotted name of the module with the registration hooks.
        fixtures: per port a plain class whose fixtures (`config`, `context`, `held`, `wait`) and attributes (`quiet`,
            `settle`, `patience`, `ttl`, `brief`, `kills`) replace the kit's.
        known_gaps: names of tests that are known to fail -> why; they must fail, in every suite that has them.
    """
    made: dict[str, type[Suite]] = {}
    for spec in specs_of(importlib.import_module(plugin)):
        own = (fixtures or {}).get(spec.port, _NoFixtures)
        for suite in required(spec):
            short = f"Spec{spec.port.title()}" if suite is SpecSuite else suite.__name__.removesuffix("Suite")
            name = f"Test{spec.name.title()}{short}"
            gaps = {test: why for test, why in (known_gaps or {}).items() if hasattr(suite, test)}
            body = {"spec": spec, "plugin": plugin, "known_gaps": gaps, "__doc__": suite.__doc__, "__module__": plugin}
            made[name] = cast("type[Suite]", type(name, (own, suite), body))
    unused = set(known_gaps or {}) - {test for suite in made.values() for test in suite.known_gaps}
    if unused:
        raise PluginError(f"known_gaps of {plugin} name no test: {', '.join(sorted(unused))}")
    return made


def missing(plugin: str, classes: Iterable[object]) -> list[str]:
    """Return, as `backend: suite`, what a test module with `classes` does not run although the plugin must pass it."""
    run = [one for one in classes if isinstance(one, type) and issubclass(one, Suite) and hasattr(one, "spec")]
    left: list[str] = []
    for spec in specs_of(importlib.import_module(plugin)):
        mine = [one for one in run if (one.spec.port, one.spec.name) == (spec.port, spec.name)]
        needed = (suite for suite in required(spec) if not any(issubclass(one, suite) for one in mine))
        left += [f"{spec.port}/{spec.name}: {suite.__name__}" for suite in needed]
    return left


class _NoFixtures:
    """Nothing is replaced."""
