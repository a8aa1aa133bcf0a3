"""The base of all conformance suites: how they get at a backend, and that nobody bends their tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from sfm_core.plugins.types import BackendSpec, OpenContext, Port
from sfm_core.ports.vectors import Space
from sfm_core.testing.opener import Opener

__all__ = ["KIT", "SPACE", "Suite", "files_under", "names_of_tests"]

KIT = "sfm_core.testing"
SPACE = Space(dimension=8, fingerprint="kit/8")


def names_of_tests(suite: type) -> list[str]:
    """Return the names of the tests of a suite class."""
    return sorted(name for name in dir(suite) if name.startswith("test_"))


def files_under(folder: Path | None) -> dict[str, bytes]:
    """Return the bytes of every file under `folder`; nothing when there is no folder."""
    if folder is None:
        return {}
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Suite:
    """Tests of one port or of one capability.

    A subclass gives, as class attributes:
        spec: the `BackendSpec` under test.
        plugin: the dotted name of the module whose hooks register it (needed for crash tests only: another process
            imports it).
        known_gaps: names of tests that are known to fail -> why. They must fail (strict xfail).

    and overrides fixtures where the defaults do not fit:
        config: the backend's config; must lead to an EMPTY store that belongs to this test alone. Default: `spec.config()`.
        context: the `OpenContext`. Default: the test's own `tmp_path` and a space of 8 dimensions.
        held: tells every byte that the closed store holds, by where. Default: the files in the data directory; a store on a
            server reads its tables (collections, ...) whole.

    From these come `opener` (opens the store, again, beside) and `backend` (opened, empty). Tests may not be overridden.
    """

    port: ClassVar[Port]
    capability: ClassVar[StrEnum | None] = None
    lacks: ClassVar[StrEnum | None] = None
    spec: ClassVar[BackendSpec]
    plugin: ClassVar[str] = ""
    known_gaps: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        kept = {name for base in cls.__mro__ if base.__module__.startswith(KIT) for name in names_of_tests(base)}
        bent = sorted(name for name in kept if not getattr(cls, name).__module__.startswith(KIT))
        if bent:
            raise TypeError(f"{cls.__name__} overrides {', '.join(bent)}: declare a gap in known_gaps instead")
        unknown = sorted(set(cls.known_gaps) - set(names_of_tests(cls)))
        if unknown and not cls.__module__.startswith(KIT):
            raise TypeError(f"{cls.__name__}.known_gaps names tests that it does not have: {', '.join(unknown)}")

    @pytest.fixture(autouse=True)
    def _mark_known_gap(self, request: pytest.FixtureRequest) -> None:
        reason = self.known_gaps.get(request.function.__name__)
        if reason is not None:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture
    def config(self) -> Any:
        """The backend's config."""
        return self.spec.config()

    @pytest.fixture
    def context(self, tmp_path: Path) -> OpenContext:
        """What the backend gets to know when it is opened."""
        return OpenContext(data_dir=tmp_path, space=SPACE)

    @pytest.fixture
    def held(self, context: OpenContext) -> Callable[[], Awaitable[Mapping[str, bytes]]]:
        """Tells what the closed store holds."""

        async def read() -> Mapping[str, bytes]:
            return files_under(context.data_dir)

        return read

    @pytest_asyncio.fixture
    async def opener(self, config: Any, context: OpenContext) -> AsyncIterator[Opener]:
        """What opens the store; closes all of it after the test."""
        opener = Opener(self.spec, config, context, module=self.plugin)
        try:
            yield opener
        finally:
            await opener.close()

    @pytest_asyncio.fixture
    async def backend(self, opener: Opener) -> Any:
        """The opened, empty backend."""
        return await opener.open()
