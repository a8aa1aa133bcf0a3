"""doctor, plugins, reconcile, reindex, migrate and the progress of long work."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from sfm_app.cli.commands.plugins import new_plugin
from sfm_core.plugins.scaffold import SCAFFOLDS

Run = Callable[..., Any]


def states(document: Any) -> dict[str, str]:
    """Return the state of each check by name."""
    return {check["name"]: check["state"] for check in document["checks"]}


def test_a_healthy_store_has_nothing_to_mend(run: Run, data_dir: Path) -> None:
    """Every check is ok: versions, settings, folder, plugins, backends, index."""
    run("--data-dir", data_dir, "remember", "x")
    done = run("--data-dir", data_dir, "--json", "doctor")
    assert (done.code, done.json["status"]) == (0, "ok")
    found = states(done.json)
    assert set(found.values()) == {"ok"}
    assert {"versions", "settings", "data directory", "plugin sqlite", "backend storage:sqlite", "index"} <= set(found)
    assert "everything is well" in run("--data-dir", data_dir, "doctor").out


def test_looking_makes_nothing(run: Run, data_dir: Path) -> None:
    """A doctor's visit before anything was stored leaves no folder behind."""
    done = run("--data-dir", data_dir, "doctor", "--json")
    assert (done.code, states(done.json)["store"]) == (0, "ok")
    assert not data_dir.exists()


def test_a_service_is_asked_for_its_readiness(run: Run, service_url: str) -> None:
    """Its backends and its plugins are told."""
    done = run("--url", service_url, "--json", "doctor")
    assert done.code == 0
    assert {"service", "backend storage:sqlite", "plugins"} <= set(states(done.json))


def test_each_plugin_that_cannot_be_used_is_named_with_its_cure(
    run: Run, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    """One missing plugin does not hide the others."""
    monkeypatch.setenv("SFM_VECTORS", "nonesuch")
    monkeypatch.setenv("SFM_EMBEDDING", "neither")
    done = run("--data-dir", data_dir, "--json", "doctor")
    assert done.code == 1
    found = states(done.json)
    assert (found["plugin nonesuch"], found["plugin neither"], found["plugin sqlite"]) == ("failed", "failed", "ok")
    assert "pip install sfm-plugin-nonesuch" in run("--data-dir", data_dir, "doctor").out


def test_a_folder_that_cannot_be_used_is_told_with_its_cure(run: Run, tmp_path: Path) -> None:
    """A file stands where the data directory should be."""
    (tmp_path / "file").write_text("x")
    done = run("--data-dir", tmp_path / "file" / "below", "--json", "doctor")
    check = next(check for check in done.json["checks"] if check["name"] == "data directory")
    assert (done.code, check["state"]) == (1, "failed")
    assert "SFM_DATA_DIR" in check["fix"]


def test_an_installed_plugin_is_checked_by_name(run: Run) -> None:
    """Distribution, version and what it offers; one that is not there is an error that lists the others."""
    told = run("plugins", "check", "sqlite", "--json").json
    assert (told["name"], told["distribution"]) == ("sqlite", "sfm-plugin-sqlite")
    assert "storage" in {backend["port"] for backend in told["backends"]}
    assert "passes the handshake" in run("plugins", "check", "sqlite").out
    missing = run("plugins", "check", "nonesuch")
    assert (missing.code, missing.out) == (1, "")
    assert "sqlite" in missing.err


def test_what_is_installed_is_listed_without_loading_it(run: Run) -> None:
    """By metadata alone."""
    names = {plugin["name"] for plugin in run("plugins", "list", "--installed", "--json").json["items"]}
    assert {"inmemory", "nearwords", "sqlite"} <= names


def test_a_new_plugin_is_written_once(run: Run, tmp_path: Path) -> None:
    """Into a folder of its name or the one given; what is there already stays."""
    told = run("plugins", "new", "mine", "--port", "cache", "--json").json
    assert "sfm-plugin-mine/pyproject.toml" in told["files"]
    assert all((tmp_path / file).is_file() for file in told["files"])
    again = run("plugins", "new", "mine", "--port", "cache")
    assert (again.code, again.out) == (1, "")
    assert run("plugins", "new", "mine", "--port", "events", "--folder", tmp_path / "else").code == 0
    assert run("plugins", "new", "Not a name", "--port", "cache").code == 1


def test_every_port_with_a_scaffold_can_be_chosen() -> None:
    """The choices are those of the core."""
    [port] = [option for option in new_plugin.params if option.name == "port"]
    assert isinstance(port.type, click.Choice)
    assert set(port.type.choices) == set(SCAFFOLDS)


@pytest.mark.parametrize(
    "command", [("reindex",), ("reconcile",), ("reconcile", "--dry-run"), ("migrate",)], ids=" ".join
)
def test_upkeep_of_a_healthy_store_changes_no_answer(run: Run, data_dir: Path, command: tuple[str, ...]) -> None:
    """What was stored is found as before, and the report is clean JSON."""
    at = ("--data-dir", data_dir)
    for text in ("Ada moved to Turin", "Bob likes bread"):
        run(*at, "remember", text)
    before = run(*at, "--json", "recall", "Where is Ada?").json["hits"]
    done = run(*at, "--json", *command)
    assert (done.code, done.err) == (0, "")
    assert done.json
    assert run(*at, *command).code == 0
    after = run(*at, "--json", "recall", "Where is Ada?").json["hits"]
    assert [hit["memory"] for hit in after] == [hit["memory"] for hit in before]


def test_migrate_makes_a_store_and_check_only_looks(run: Run, data_dir: Path) -> None:
    """--check says that there is something to do, migrate does it, --check is content."""
    check = ("--data-dir", data_dir, "migrate", "--check")
    due = run(*check)
    assert (due.code, due.out) == (1, "")
    assert "sfm migrate" in due.err
    assert run("--data-dir", data_dir, "migrate").code == 0
    assert run(*check).code == 0


@pytest.mark.parametrize("command", ["export", "import", "reindex", "reconcile"])
def test_long_work_shows_progress_when_asked(run: Run, data_dir: Path, tmp_path: Path, command: str) -> None:
    """A bar on standard error that reaches its end; by default none where there is no terminal; never with --quiet."""
    at = ("--data-dir", data_dir)
    run(*at, "remember", "x")
    file = [tmp_path / "a.ndjson"] if command in ("export", "import") else []
    if command == "import":
        run(*at, "export", *file)
    shown = run(*at, "--json", command, *file, "--progress")
    assert shown.json
    assert command in shown.err
    assert "100%" in shown.err
    assert run(*at, command, *file).err == ""
    assert run(*at, command, *file, "--progress", "--quiet").err == ""
    assert run(*at, command, *file, "--no-progress").err == ""


def test_a_taken_port_is_told_and_nothing_is_served(program: str, service_url: str, data_dir: Path) -> None:
    """serve ends with exit code 1 and one `error:` line."""
    port = service_url.rpartition(":")[2]
    environment = {**os.environ, "SFM_DATA_DIR": str(data_dir)}
    done = subprocess.run(
        [program, "serve", "--port", port], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", [("--host", "0.0.0.0"), ("--port", "70000"), ("--workers", "0")], ids=" ".join)
def test_serve_refuses_what_cannot_be_served(program: str, data_dir: Path, option: tuple[str, str]) -> None:
    """An address beyond this machine, a port that is none, no workers: exit code 1, the setting by name."""
    done = subprocess.run(
        [program, "--data-dir", str(data_dir), "serve", *option], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("error: ")
