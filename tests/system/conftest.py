"""The whole system in process, on the backends of the test mode and of the development mode."""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from sfm_core import open_memory
from sfm_core.memory import AgentMemory
from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import API_VERSION, PluginInfo
from sfm_core.services.idempotency import IdempotencyKey
from sfm_core.services.wiring import wire
from sfm_core.testing.fakes import SettableClock

OURS = ("SFM_", "MEMORY_", "EVENTING_", "UVICORN_", "OTEL_", "SOMA_")

Opened = AbstractAsyncContextManager[AgentMemory]


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine and no `.env` file reaches a test."""
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)


@pytest.fixture(params=["test", "development"])
def mode(request: pytest.FixtureRequest) -> str:
    """The mode of the memory."""
    return str(request.param)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Where the development mode keeps its data."""
    return tmp_path / "data"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SettableClock:
    """The clock of every memory that is opened in this process."""
    clock = SettableClock()

    def ticking() -> Any:
        clock.advance(0.001)
        return clock()

    monkeypatch.setattr("sfm_core.runtime.wire", functools.partial(wire, clock=ticking))
    return clock


@pytest.fixture
def opening(mode: str, data_dir: Path, clock: SettableClock) -> Callable[..., Opened]:
    """Opens the memory of this test; a second time in development mode it is the same one."""

    def open_one(**options: Any) -> Opened:
        settings = {"data_dir": data_dir, **options.pop("settings", {})}
        return open_memory(mode=options.pop("mode", mode), settings=settings, **options)

    return open_one


@pytest.fixture
async def memory(opening: Callable[..., Opened]) -> AsyncIterator[AgentMemory]:
    """An empty memory."""
    async with opening() as opened:
        yield opened


@pytest.fixture
def key() -> Callable[..., IdempotencyKey]:
    """Makes idempotency keys; the request is told by its words."""

    def make(name: str = "k1", request: str = "one", scope: str = "me POST") -> IdempotencyKey:
        return IdempotencyKey(scope, name, request.encode())

    return make


@pytest.fixture
def hooked() -> Callable[..., object]:
    """Makes a plugin out of operation hooks given by name."""

    def make(name: str = "hooked", **hooks: Callable[..., object]) -> object:
        class Plugin:
            @hookimpl
            def sfm_plugin_info(self) -> PluginInfo:
                return PluginInfo(name=name, version="1", api=API_VERSION)

        plugin = Plugin()
        for hook, function in hooks.items():
            setattr(plugin, hook, hookimpl(function))
        return plugin

    return make
