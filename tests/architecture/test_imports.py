"""Who may import whom."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.architecture.allowed import BUILDS_ON
from tests.architecture.workspace import (
    APP,
    CORE,
    PACKAGED,
    PLUGINS,
    STDLIB,
    Distribution,
    Import,
    Module,
    import_name,
    required,
)

TEST_TOOLS = {"hypothesis", "numpy", "pytest", "pytest_asyncio"}

LAYERS = {
    "sfm_core.errors": set(),
    "sfm_core.model": {"sfm_core.errors"},
    "sfm_core.ports": {"sfm_core.errors", "sfm_core.model"},
}
"""The core's inner layers and what of the core each may use beside itself."""


def named(distribution: Distribution) -> str:
    return distribution.name


def offences(modules: tuple[Module, ...], allowed: set[str]) -> list[str]:
    """Return each import whose top-level package is neither the standard library's nor allowed."""
    return [
        f"{module.where}:{found.line} imports {found.name}"
        for module in modules
        for found in module.imports
        if found.top not in STDLIB | allowed
    ]


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("plugin", PLUGINS, ids=named)
def test_a_plugin_imports_the_core_and_its_own_dependencies_only(plugin: Distribution) -> None:
    """Neither the application nor another plugin nor an undeclared package."""
    allowed = {plugin.package, *plugin.declared, *plugin.optional}
    ours = {name for name in allowed if name.startswith("sfm_")}
    assert ours - {plugin.package, "sfm_core"} == BUILDS_ON.get(plugin.name, {}).keys()
    # A plugin's config is a msgspec Struct by the core's contract, so it comes with the core.
    assert offences(plugin.modules, allowed | {"msgspec"}) == []


@pytest.mark.parametrize("plugin", PLUGINS, ids=named)
def test_a_plugin_uses_public_names_of_the_core_only(plugin: Distribution) -> None:
    """No `sfm_core` module or name with a leading underscore."""
    private = [
        f"{module.where}:{found.line} imports {found.name}"
        for module in plugin.modules
        for found in module.imports
        if within(found.name, "sfm_core") and any(part.startswith("_") for part in found.name.split("."))
    ]
    assert private == []


def test_the_core_imports_neither_plugins_nor_undeclared_packages() -> None:
    """Its third-party imports are the four small declared ones."""
    assert CORE.declared == {"msgspec", "packaging", "pluggy", "Stemmer"}
    shipped = tuple(module for module in CORE.modules if not within(module.dotted, "sfm_core.testing"))
    assert offences(shipped, {"sfm_core", *CORE.declared}) == []


def test_the_kit_adds_test_tools_only() -> None:
    """`sfm_core.testing` may use pytest, hypothesis and numpy; no other part may need the kit."""
    kit = tuple(module for module in CORE.modules if within(module.dotted, "sfm_core.testing"))
    assert offences(kit, {"sfm_core", *CORE.declared, *TEST_TOOLS}) == []
    users = [
        f"{module.where}:{found.line}"
        for module in CORE.modules
        if module not in kit
        for found in module.imports
        if within(found.name, "sfm_core.testing")
    ]
    assert users == []


def test_the_extras_of_the_core_bring_what_the_kit_imports() -> None:
    """A plugin author who installs `sfm-core[testing]` has all that the kit needs."""
    extra = CORE.project["optional-dependencies"]["testing"]
    assert {import_name(required(entry)) for entry in extra} >= TEST_TOOLS


def test_the_application_imports_no_plugin() -> None:
    """Backends reach it through entry points; its third-party imports are declared."""
    # `anyio`, `click` and `rich_click` come with Litestar, whose own interface they are part of.
    assert offences(APP.modules, {"sfm_app", *APP.declared, "anyio", "click", "rich_click"}) == []


@pytest.mark.parametrize("layer", LAYERS)
def test_inner_layers_of_the_core_do_not_know_the_outer_ones(layer: str) -> None:
    """Errors know nothing, the model knows errors, the ports know the model."""
    allowed = {layer, *LAYERS[layer]}
    found = [
        f"{module.where}:{entry.line} imports {entry.name}"
        for module in CORE.modules
        if within(module.dotted, layer)
        for entry in module.imports
        if entry.top == "sfm_core" and not any(within(entry.name, name) for name in allowed)
    ]
    assert found == []


@pytest.mark.parametrize("plugin", PLUGINS, ids=named)
def test_registering_a_plugin_does_not_import_its_driver(plugin: Distribution) -> None:
    """The driver is imported inside `open()`: a process pays for the backends it opens."""
    drivers = sorted(plugin.declared - {"sfm_core", *BUILDS_ON.get(plugin.name, {})})
    code = (
        "import importlib, json, sys\n"
        f"importlib.import_module('{plugin.package}.plugin')\n"
        f"print(json.dumps([name for name in {drivers!r} if name in sys.modules]))"
    )
    assert json.loads(run(code)) == []


def test_importing_the_core_is_light() -> None:
    """At most 150 modules, interpreter start included."""
    assert int(run("import sys, sfm_core; print(len(sys.modules))")) <= 150


def run(code: str) -> str:
    """Run code in a fresh interpreter without site customisations of the caller and return what it prints."""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("distribution", PACKAGED, ids=named)
def test_imports_are_absolute(distribution: Distribution) -> None:
    """A reader sees where a name comes from."""

    def relative(found: Import) -> bool:
        return found.name.startswith(".")

    assert [
        f"{module.where}:{found.line}" for module in distribution.modules for found in module.imports if relative(found)
    ] == []
