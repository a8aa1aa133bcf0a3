"""What every distribution carries, and what the repository must not hold."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.architecture.workspace import (
    CORE,
    PACKAGED,
    PLUGINS,
    ROOT,
    ROOT_DISTRIBUTION,
    Distribution,
    distributions,
    normal,
    required,
)

OWN = {normal(distribution.name) for distribution in distributions()}
SHARED_FIELDS = ("version", "requires-python", "license", "license-files", "classifiers", "authors")


def named(distribution: Distribution) -> str:
    return distribution.name


each = pytest.mark.parametrize("distribution", distributions(), ids=named)
each_package = pytest.mark.parametrize("distribution", PACKAGED, ids=named)
each_plugin = pytest.mark.parametrize("distribution", PLUGINS, ids=named)


@each
@pytest.mark.parametrize("field", SHARED_FIELDS)
def test_distributions_agree(distribution: Distribution, field: str) -> None:
    """One version, one licence, one range of Pythons."""
    assert distribution.project[field] == ROOT_DISTRIBUTION.project[field]


@each
def test_own_distributions_are_required_in_the_same_version(distribution: Distribution) -> None:
    """What is shipped together is installed together; a test group may leave the version to the workspace."""
    extras = distribution.project.get("optional-dependencies", {}).values()
    entries = distribution.requirements + [entry for group in extras for entry in group]
    own = [entry for entry in entries if required(entry) in OWN - {normal(distribution.name)}]
    assert [entry for entry in own if not entry.endswith(f"=={distribution.project['version']}")] == []


@each
def test_own_distributions_come_from_the_workspace(distribution: Distribution) -> None:
    """Every requirement on a sibling has a workspace source, so that an index is never asked for our names."""
    siblings = {required(entry) for entry in distribution.all_requirements} & OWN - {normal(distribution.name)}
    sources = distribution.pyproject.get("tool", {}).get("uv", {}).get("sources", {})
    assert {name for name, source in sources.items() if source == {"workspace": True}} >= siblings


@each
def test_third_party_requirements_are_bounded(distribution: Distribution) -> None:
    """A lower bound that is tested and an upper one that keeps a breaking release out."""
    loose = [
        entry
        for entry in distribution.all_requirements
        if required(entry) not in OWN and not (">=" in entry and "<" in entry.split(";")[0])
    ]
    assert loose == []


@each
def test_third_party_requirements_are_pinned_for_the_workspace(distribution: Distribution) -> None:
    """The root's constraints name them all; `python scripts/pin.py` writes them."""
    pins = {required(pin) for pin in ROOT_DISTRIBUTION.pyproject["tool"]["uv"]["constraint-dependencies"]}
    assert {required(entry) for entry in distribution.all_requirements} - OWN - pins == set()


@each
def test_extras_name_distributions_that_exist(distribution: Distribution) -> None:
    """No extra promises what is not in the workspace."""
    ours = {required(entry) for entry in distribution.all_requirements if required(entry).startswith(("sfm-", "soma"))}
    assert ours <= OWN


@each_package
def test_a_package_is_typed(distribution: Distribution) -> None:
    """`py.typed` is shipped."""
    assert (distribution.folder / "src" / distribution.package / "py.typed").is_file()


@each
@pytest.mark.parametrize("file", ["LICENSE", "NOTICE"])
def test_a_distribution_carries_the_licence(distribution: Distribution, file: str) -> None:
    """The same text everywhere: a wheel is all that some users see."""
    assert (distribution.folder / file).read_bytes() == (ROOT / file).read_bytes()


@each_package
def test_a_distribution_has_one_package_and_tests(distribution: Distribution) -> None:
    """`src/<package>` and nothing beside it."""
    packages = [path.name for path in (distribution.folder / "src").iterdir() if path.name != "__pycache__"]
    assert packages == [distribution.package]
    assert any((distribution.folder / "tests").rglob("test_*.py"))


def test_the_root_holds_no_code() -> None:
    """`somafractalmemory` names what belongs together."""
    assert not (ROOT / "src").exists()
    assert not (ROOT / "somafractalmemory").exists()


@each_plugin
def test_a_plugin_is_named_after_its_folder(distribution: Distribution) -> None:
    """Folder, distribution, package and entry point tell the same name, and the module is there."""
    name = distribution.folder.name
    assert distribution.name == f"sfm-plugin-{name}"
    assert distribution.project["entry-points"] == {"sfm.plugins": {name: f"sfm_{name}.plugin"}}
    assert (distribution.folder / "src" / distribution.package / "plugin.py").is_file()


@each_plugin
def test_a_plugin_runs_the_conformance_kit(distribution: Distribution) -> None:
    """Every plugin here proves its guarantees."""
    assert any((distribution.folder / "tests").rglob("test_conformance*.py"))


@each_plugin
def test_a_plugin_states_the_core_it_was_made_for(distribution: Distribution) -> None:
    """The handshake reads it from the wheel's metadata without importing anything."""
    assert any(required(entry) == normal(CORE.name) for entry in distribution.requirements)


@each_package
def test_tools_know_every_distribution(distribution: Distribution) -> None:
    """A new distribution is not left out of the type check or of the import order."""
    tools = ROOT_DISTRIBUTION.pyproject["tool"]
    source = (distribution.folder / "src").relative_to(ROOT).as_posix()
    assert source in tools["mypy"]["mypy_path"]
    assert source in tools["mypy"]["files"]
    assert distribution.package in tools["ruff"]["lint"]["isort"]["known-first-party"]


def test_ci_runs_the_readmes_test_command() -> None:
    """What we check is what a reader is told to run."""
    assert "uv run nox" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "uv run nox" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_changelog_speaks_of_the_next_release() -> None:
    """Keep a Changelog's heading is there to be filled."""
    assert re.search(r"^## \[Unreleased\]$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """Every file under version control."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_nothing_local_is_tracked(tracked: list[Path]) -> None:
    """Locks record where they fetched from, `.env` holds secrets, data belongs to its owner."""
    local = {"uv.lock", ".env", "poetry.lock", "pip.conf"}
    assert [path for path in tracked if path.name in local or path.suffix in {".sqlite3", ".pyc"}] == []


def test_no_file_says_where_packages_come_from(tracked: list[Path]) -> None:
    """Names and versions only: the index is the machine's business; nor does a file know this checkout's place."""
    hosts = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("registry", "npmjs", "org"))]
    options = ["-".join(parts) for parts in (("index", "url"), ("extra", "index"))]
    forbidden = [word.encode() for word in (*hosts, *options, str(ROOT))]
    found = [(path.name, word) for path in tracked for word in forbidden if word in path.read_bytes()]
    assert found == []
