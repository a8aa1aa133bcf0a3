"""What the system touches: modules, sockets, files, and what it tells of secrets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sfm_core import open_memory
from sfm_core.config.secret import Secret
from sfm_core.errors import BackendError, ConfigError
from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import API_VERSION, BackendSpec, PluginInfo, Port
from sfm_core.testing.guard import NetworkRefused, refuse_network

USE = """
import asyncio, json, sys
from sfm_core import open_memory

async def main():
    async with open_memory(mode=sys.argv[1], settings={"data_dir": sys.argv[2]}) as memory:
        await memory.remember("Ada moved to Turin", author="Ada")
        assert (await memory.recall("Where does Ada live?", k=1)).hits

asyncio.run(main())
print(json.dumps(sorted(sys.modules)))
"""
HEAVY = {"litestar", "uvicorn", "click", "rich", "dependency_injector", "structlog", "opentelemetry", "httpx", "jinja2"}
HEAVY |= {"pytest", "hypothesis", "pandas", "torch", "onnxruntime", "sfm_app", "sfm_minilm", "http", "xml"}


def modules(code: str, *arguments: str) -> list[str]:
    """Return the modules that are loaded when a fresh interpreter has run the code."""
    done = subprocess.run([sys.executable, "-I", "-c", code, *arguments], capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


def test_importing_the_core_loads_few_modules() -> None:
    """At most 150, the interpreter's own among them."""
    assert len(modules("import sfm_core, json, sys; print(json.dumps(sorted(sys.modules)))")) <= 150


def test_using_a_memory_loads_nothing_of_the_service(mode: str, data_dir: Path) -> None:
    """Nor of plugins that are not in the plan."""
    loaded = {name.split(".")[0] for name in modules(USE, mode, str(data_dir))}
    assert loaded & HEAVY == set()
    assert ("sfm_sqlite" in loaded, "sfm_inmemory" in loaded) == (mode == "development", mode == "test")


async def test_no_network_is_used(opening: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By no operation of a memory; the guard itself is proven first."""
    import socket

    refuse_network(monkeypatch)
    with socket.socket() as probe, pytest.raises(NetworkRefused):
        probe.connect(("192.0.2.1", 9))
    async with opening(embed=lambda texts: [[1.0, float(len(text))] for text in texts]) as memory:
        one = (await memory.remember("Ada moved to Turin")).memory.id
        two = (await memory.remember("Bob stays")).memory.id
        await memory.link(one, two)
        assert (await memory.recall("Where is Ada?", explain=True, expand_links=1)).hits
        assert (await memory.recall_vector([1.0, 5.0])).hits
        await memory.undo(str((await memory.delete(one)).operation))
        await memory.erase(two)
        await memory.import_from([line async for line in memory.export()])
        assert (await memory.services.health.ready()).status == "ready"


def test_no_file_is_written_outside_the_data_directory(mode: str, tmp_path: Path) -> None:
    """Home, working directory and the place for temporary files stay empty."""
    folders = {name: tmp_path / name for name in ("home", "here", "tmp", "data")}
    for folder in folders.values():
        folder.mkdir()
    environment = {"HOME": str(folders["home"]), "TMPDIR": str(folders["tmp"]), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", USE, mode, str(folders["data"])],
        cwd=folders["here"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    written = {name: sorted(path.name for path in folder.rglob("*")) for name, folder in folders.items()}
    assert bool(written.pop("data")) == (mode == "development")
    assert written == {"home": [], "here": [], "tmp": []}


@pytest.mark.parametrize("mode", ["development"], indirect=True)
async def test_data_are_for_this_user_alone(opening: Any, data_dir: Path) -> None:
    """The data directory and what is in it."""
    async with opening() as memory:
        await memory.remember("x")
        modes = {path.name: path.stat().st_mode & 0o077 for path in (data_dir, *data_dir.iterdir())}  # noqa: ASYNC240
    assert modes[data_dir.name] == 0


@pytest.mark.parametrize("mode", ["development"], indirect=True)
async def test_what_was_acknowledged_is_there_after_reopening(opening: Any) -> None:
    """Records, history, links, operations and the log."""
    async with opening() as memory:
        one = (await memory.remember("one", coordinate=[1], payload={"a": [1, 2.5, None]})).memory.id
        two = (await memory.remember("two")).memory.id
        await memory.update(one, content="changed")
        await memory.link(one, two, metadata={"k": "v"})
        operation = str((await memory.delete(two)).operation)
        before = [
            await memory.get(one),
            await memory.history(two),
            await memory.changes(),
            await memory.stats(),
            await memory.operation(operation),
        ]
    async with opening() as memory:
        after = [
            await memory.get(one),
            await memory.history(two),
            await memory.changes(),
            await memory.stats(),
            await memory.operation(operation),
        ]
        assert after == before
        await memory.undo(operation)
        assert (await memory.neighbors(one)).items[0].link.metadata == {"k": "v"}
        assert (await memory.recall("changed", k=1)).hits[0].memory.id == one


class Leaky:
    """A plugin whose backend fails to open with its password in the error."""

    @hookimpl
    def sfm_plugin_info(self) -> PluginInfo:
        return PluginInfo(name="leaky", version="1", api=API_VERSION)

    @hookimpl
    def sfm_storage(self) -> list[BackendSpec]:
        from sfm_core.ports.storage import StorageCapability

        def connect(config: Any, context: Any) -> Any:
            raise RuntimeError("cannot reach postgres://user:pa55word@host")

        from sfm_inmemory.config import InmemoryConfig

        able = frozenset({StorageCapability.FULL_TEXT})
        return [BackendSpec(port=Port.STORAGE, name="leaky", config=InmemoryConfig, open=connect, capabilities=able)]


async def test_a_backend_that_cannot_be_opened_leaks_no_secret() -> None:
    """The message names plugin, port and kind of error, not the driver's text."""
    with pytest.raises(BackendError, match="leaky/storage") as refused:
        async with open_memory(mode="test", settings={"SFM_STORAGE": "leaky"}, plugins=[Leaky()]):
            pytest.fail("opened")
    assert "RuntimeError" in str(refused.value)
    assert "pa55word" not in str(refused.value)


async def test_secrets_are_not_told(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    """By settings, errors or what is open."""
    from sfm_core.runtime import open_services

    settings = {"data_dir": data_dir, "otel_headers": Secret("authorization=pa55word")}
    async with open_services(settings={**settings, "mode": "test"}) as runtime:
        assert "pa55word" not in repr(runtime)
        assert "pa55word" not in repr(runtime.settings)
        assert "pa55word" not in repr(await runtime.services.overview.capabilities(None))  # type: ignore[arg-type]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=pa55word")
    with pytest.raises(ConfigError) as refused:
        async with open_services(settings={"mode": "no such mode"}):
            pytest.fail("opened")
    assert "pa55word" not in str(refused.value)
