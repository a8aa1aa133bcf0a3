"""A new plugin, as written, is formatted, typed, loads and keeps its guarantees."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sfm_core.errors import ConfigError, InvalidInput
from sfm_core.plugins.host import PluginHost
from sfm_core.plugins.scaffold import SCAFFOLDS, write_plugin
from sfm_core.plugins.types import OpenContext, Port
from sfm_core.ports.vectors import Space

each_port = pytest.mark.parametrize("port", sorted(SCAFFOLDS))


def run(folder: Path, *command: str) -> None:
    """Run a tool on the new plugin; its output is the message of a failure."""
    environment = {**os.environ, "PYTHONPATH": "src"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@each_port
async def test_a_new_plugin_loads_and_opens(tmp_path, monkeypatch, port):
    """It stands every check of a start."""
    write_plugin(tmp_path / "new", f"fresh-{port}", port)
    monkeypatch.syspath_prepend(tmp_path / "new" / "src")
    module = importlib.import_module(f"sfm_fresh_{port}.plugin")
    registry = PluginHost().load([], objects=[module])
    spec = registry.backend(Port(port), f"fresh-{port}")
    async with spec.open(spec.config(), OpenContext(space=Space(8, "test"))) as opened:
        registry.verify(Port(port), spec.name, opened)


@each_port
def test_a_new_plugin_is_formatted(tmp_path, port):
    """Ruff, with the plugin's own settings, has nothing to say."""
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    if ruff is None:
        pytest.skip("ruff is not installed here")
    write_plugin(tmp_path, "my-store", port)
    run(tmp_path, ruff, "check", "--no-cache", "--extend-select=I,RUF,UP,B", ".")
    run(tmp_path, ruff, "format", "--no-cache", "--check", ".")


@pytest.mark.slow
def test_new_plugins_are_typed(tmp_path):
    """Mypy, strict, has nothing to say about any of them."""
    pytest.importorskip("mypy")
    for port in SCAFFOLDS:
        write_plugin(tmp_path / port, f"fresh-{port}", port)
    sources = [str(tmp_path / port / "src") for port in SCAFFOLDS]
    run(tmp_path, sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), *sources)


@pytest.mark.slow
@each_port
def test_a_new_plugin_passes_the_conformance_kit(tmp_path, port):
    """Its own tests, as written, are green."""
    write_plugin(tmp_path, "my-store", port)
    run(tmp_path, sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider")


@pytest.mark.parametrize("name", ["", "Upper", "with space", "../out", "core", "none", "1st", "a.b"])
def test_a_name_that_no_plugin_may_have_is_refused(tmp_path, name):
    """Nothing is written."""
    with pytest.raises(InvalidInput, match=r"^name: got"):
        write_plugin(tmp_path / "new", name, Port.CACHE)
    assert not (tmp_path / "new").exists()


def test_a_port_without_a_small_backend_is_refused(tmp_path):
    """The message lists the ports that have one."""
    with pytest.raises(InvalidInput, match=r"^port: got 'storage', allowed: cache, embedding, events, vectors$"):
        write_plugin(tmp_path / "new", "mine", Port.STORAGE)


def test_a_folder_that_holds_something_is_refused(tmp_path):
    """Nothing is overwritten."""
    (tmp_path / "README.md").write_text("kept")
    with pytest.raises(ConfigError, match="holds something already"):
        write_plugin(tmp_path, "mine", Port.CACHE)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    with pytest.raises(ConfigError, match="cannot be written to"):
        write_plugin(tmp_path / "README.md", "mine", Port.CACHE)
