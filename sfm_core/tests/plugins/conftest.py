"""Real distributions, written to a folder on the path as an installer would leave them."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

HEAD = """
from contextlib import asynccontextmanager
from msgspec import Struct
from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import BackendSpec, PluginInfo, Port
from sfm_core.ports.storage import StorageCapability
from sfm_core.ports.vectors import VectorsCapability

class Config(Struct, frozen=True, forbid_unknown_fields=True):
    size: int = 3

@asynccontextmanager
async def opened(config, context):
    yield object()
"""

INFO = """
@hookimpl
def sfm_plugin_info():
    return PluginInfo(name={name!r}, version="1.0", api={api!r}, summary="made by a test")
"""

CACHE = """
@hookimpl
def sfm_cache():
    return [BackendSpec(port=Port.CACHE, name={backend!r}, config=Config, open=opened)]
"""


class Site:
    """A folder on the path, into which distributions are put."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def code(self, name: str, body: str | None = None, *, api: str = "1.0") -> str:
        """Return the source of a plugin that works, with `body` in place of its cache backend."""
        hooks = CACHE.format(backend=name) if body is None else textwrap.dedent(body)
        return HEAD + INFO.format(name=name, api=api) + hooks

    def add(
        self,
        name: str,
        code: str | None = None,
        *,
        distribution: str | None = None,
        version: str = "1.0",
        requires: tuple[str, ...] = ("sfm-core",),
        below: str = "",
    ) -> str:
        """Install a distribution that registers plugin `name`, and return the name of its module."""
        distribution = distribution or f"sfm-plugin-{name}"
        module = distribution.replace("-", "_")
        folder = self.folder / below
        info = folder / f"{module}-{version}.dist-info"
        info.mkdir(parents=True)
        lines = [f"Name: {distribution}", f"Version: {version}", *(f"Requires-Dist: {text}" for text in requires)]
        (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, ""]))
        (info / "entry_points.txt").write_text(f"[sfm.plugins]\n{name} = {module}\n")
        (folder / f"{module}.py").write_text(self.code(name) if code is None else code)
        importlib.invalidate_caches()
        return module


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A folder on the path; what was imported from it is forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield Site(folder)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
