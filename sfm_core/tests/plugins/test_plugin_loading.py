"""Which plugins are loaded, and what is said of those that cannot be."""

from __future__ import annotations

import sys
from importlib.metadata import version
from types import SimpleNamespace

import pytest

from sfm_core.errors import CapabilityNotSupported, PluginError
from sfm_core.plugins.host import PluginHost
from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import PluginInfo, Port, Slot
from sfm_core.ports.cache import CacheCapability


def failure(*names, **options) -> str:
    """Load and return the message of the refusal."""
    with pytest.raises(PluginError) as caught:
        PluginHost().load(names, **options)
    return str(caught.value)


def test_a_named_plugin_is_loaded_with_what_it_tells_of_itself(site):
    """Name, distribution, version, API, summary and backends come from the plugin and its metadata."""
    site.add("alpha", version="2.5")
    (info,) = PluginHost().load(["alpha"]).infos
    assert (info.name, info.distribution, info.version, info.api) == ("alpha", "sfm-plugin-alpha", "2.5", "1.0")
    assert info.summary == "made by a test"
    assert [(backend.port, backend.name, backend.stability) for backend in info.backends] == [
        ("cache", "alpha", "stable")
    ]


def test_plugins_stand_in_the_order_in_which_they_are_named(site):
    """The list of loaded plugins follows the plan, each once."""
    for name in ("alpha", "beta", "gamma"):
        site.add(name)
    assert [info.name for info in PluginHost().load(["gamma", "alpha", "beta", "alpha"]).infos] == [
        "gamma",
        "alpha",
        "beta",
    ]


def test_an_unnamed_plugin_is_never_imported(site):
    """A plugin that is broken in every way does no harm while nothing names it."""
    site.add("alpha")
    module = site.add("broken", "raise SystemExit(3)", requires=("sfm-core>=99",))
    site.add("broken", "raise SystemExit(3)", distribution="another-broken")
    assert [info.name for info in PluginHost().load(["alpha"]).infos] == ["alpha"]
    assert module not in sys.modules


def test_installed_plugins_are_listed_without_import(site):
    """The list is read from metadata."""
    module = site.add("broken", "raise SystemExit(3)")
    found = {plugin.name: plugin for plugin in PluginHost().installed()}
    assert (found["broken"].distribution, found["broken"].version) == ("sfm-plugin-broken", "1.0")
    assert module not in sys.modules


def test_a_missing_plugin_is_told_with_the_installed_ones_and_how_to_get_it(site):
    """The message names the plugin, what is installed, the nearest name, and the command."""
    site.add("alpha")
    message = failure("alhpa")
    assert "plugin 'alhpa' is not installed (pip install sfm-plugin-alhpa)" in message
    assert "did you mean alpha?" in message


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        ("import asyncio; raise asyncio.CancelledError()", "CancelledError"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_a_plugin_that_is_broken_on_import_is_told_by_name(site, code, cause):
    """The message names plugin, distribution, version and cause, whatever was raised."""
    site.add("broken", code, version="0.7")
    message = failure("broken")
    assert message.startswith("plugin 'broken' (distribution sfm-plugin-broken 0.7): cannot be imported")
    assert cause in message


def test_an_interrupt_during_import_is_no_fault_of_the_plugin(site):
    """KeyboardInterrupt passes through."""
    site.add("slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        PluginHost().load(["slow"])


def test_an_entry_point_to_nothing_is_told_by_name(site):
    """The module that the metadata name does not exist."""
    module = site.add("gone")
    (site.folder / f"{module}.py").unlink()
    assert "plugin 'gone' (distribution sfm-plugin-gone 1.0): cannot be imported" in failure("gone")


def test_a_plugin_of_two_distributions_is_refused_with_both_names(site):
    """Neither of the two is imported."""
    modules = [site.add("alpha"), site.add("alpha", distribution="other-alpha", version="3.0")]
    message = failure("alpha")
    assert "registered twice" in message
    assert "sfm-plugin-alpha 1.0" in message
    assert "other-alpha 3.0" in message
    assert not set(modules) & set(sys.modules)


def test_two_versions_of_one_distribution_are_registered_twice(site, monkeypatch):
    """An older copy further down the path is an ambiguity, not a fallback."""
    site.add("alpha")
    site.add("alpha", version="0.9", below="older")
    monkeypatch.syspath_prepend(site.folder / "older")
    assert "sfm-plugin-alpha 0.9 and sfm-plugin-alpha 1.0" in failure("alpha")


def test_the_same_version_in_two_places_counts_once(site, monkeypatch):
    """A path that is listed twice, or a source tree beside its installation, is no ambiguity."""
    site.add("alpha")
    site.add("alpha", below="copy")
    monkeypatch.syspath_prepend(site.folder / "copy")
    assert len(PluginHost().load(["alpha"]).infos) == 1


def test_a_plugin_for_another_core_is_refused_before_import(site):
    """The requirement in the metadata is compared with the installed core."""
    module = site.add("future", "raise SystemExit", requires=("other", "sfm_core >=99 ; python_version > '3'"))
    message = failure("future")
    assert message == (
        f"plugin 'future' (distribution sfm-plugin-future 1.0): it needs sfm-core>=99, this is sfm-core {version('sfm-core')}"
    )
    assert module not in sys.modules


@pytest.mark.parametrize(
    "requires",
    [(), ("sfm-core-extras",), ("sfm-core; extra == 'x'",), ("msgspec", "sfm_corel>=1")],
)
def test_a_plugin_that_does_not_say_which_core_it_needs_is_refused(site, requires):
    """Requirements of an extra, and of distributions with a longer name, are not the core's."""
    site.add("vague", "raise SystemExit", requires=requires)
    assert "plugin 'vague' (distribution sfm-plugin-vague 1.0): it does not say which sfm-core it needs" in failure(
        "vague"
    )


def test_a_requirement_that_cannot_be_read_is_refused(site):
    """Broken metadata are told by name."""
    site.add("odd", requires=("sfm-core >=",))
    assert "plugin 'odd' (distribution sfm-plugin-odd 1.0): its requirement of sfm-core cannot be read" in failure(
        "odd"
    )


@pytest.mark.parametrize(
    "requirement", ["sfm-core", "SFM_Core>=0.0.1", f"sfm-core=={version('sfm-core')}", "sfm-core[testing]"]
)
def test_a_requirement_that_holds_is_accepted(site, requirement):
    """However the name is written."""
    site.add("alpha", requires=(requirement,))
    assert PluginHost().load(["alpha"]).infos


@pytest.mark.parametrize("api", ["2.0", "0.9", "", "one"])
def test_another_plugin_api_is_refused(site, api):
    """The major number must be that of the core."""
    site.add("old", site.code("old", api=api))
    message = failure("old")
    assert message.startswith("plugin 'old' (distribution sfm-plugin-old 1.0): it is written for plugin API")
    assert repr(api) in message


def test_a_later_minor_plugin_api_is_accepted(site):
    """Only the major number counts."""
    site.add("alpha", site.code("alpha", api="1.7"))
    assert PluginHost().load(["alpha"]).infos[0].api == "1.7"


def test_a_plugin_that_calls_itself_otherwise_is_refused(site):
    """The entry point's name is the plugin's name."""
    site.add("alpha", site.code("beta"))
    assert "name is 'beta', allowed: the entry point's name 'alpha'" in failure("alpha")


def test_all_gaps_of_a_plan_are_told_in_one_message(site):
    """Missing, broken, foreign and doubled plugins and a missing backend, in the order of the plan."""
    site.add("alpha")
    site.add("broken", "1 / 0")
    site.add("future", requires=("sfm-core>=99",))
    site.add("twice")
    site.add("twice", distribution="another")
    slot = Slot("cache", Port.CACHE, "alpha", "fast")
    message = failure("absent", "broken", "future", "twice", "alpha", slots=[slot])
    lines = message.splitlines()
    assert lines[0] == "5 plugins cannot be used:"
    for line, text in zip(
        lines[1:], ["'absent'", "'broken'", "'future'", "'twice'", "no cache backend 'fast'"], strict=True
    ):
        assert text in line


def test_a_backend_that_the_plugin_lacks_is_told_with_those_it_has(site):
    """The message names the variable that asks for it."""
    site.add("alpha")
    message = failure("alpha", slots=[Slot("storage", Port.STORAGE, "alpha", "alpha")])
    assert message == "plugin 'alpha' has no storage backend 'alpha' (for SFM_STORAGE), it has: cache 'alpha'"


def test_a_backend_offered_by_two_plugins_is_refused(site):
    """A name is unique within its port."""
    site.add("alpha")
    site.add("beta", site.code("beta").replace("name='beta', config", "name='alpha', config"))
    assert "the cache backend 'alpha' is offered 2 times, by plugin 'alpha' and 'beta'" in failure("alpha", "beta")


def test_a_capability_that_a_place_needs_and_the_backend_lacks_is_refused_by_name(site):
    """The error names plugin, port, capability and variable."""
    site.add("alpha")
    slot = Slot("cache", Port.CACHE, "alpha", "alpha", frozenset({CacheCapability.SHARED}))
    with pytest.raises(CapabilityNotSupported, match=r"^alpha/cache: backend 'alpha' lacks shared, .* SFM_CACHE$"):
        PluginHost().load(["alpha"], slots=[slot])


def test_an_unknown_backend_is_told_with_the_known_ones(site):
    """Asking the registry for another name lists those of the port."""
    site.add("alpha")
    registry = PluginHost().load(["alpha"])
    assert registry.backend(Port.CACHE, "alpha").name == "alpha"
    assert registry.plugin_of(Port.CACHE, "alpha") == "alpha"
    with pytest.raises(PluginError, match="no loaded plugin has a cache backend 'beta', known: alpha"):
        registry.backend(Port.CACHE, "beta")


class Handed:
    """A plugin as an object."""

    def __init__(self, name: str) -> None:
        self.name = name

    @hookimpl
    def sfm_plugin_info(self) -> PluginInfo:
        return PluginInfo(name=self.name, version="7", api="1.0")


def test_a_program_hands_in_plugins_as_objects(site):
    """They come after the named ones and belong to no distribution."""
    site.add("alpha")
    infos = PluginHost().load(["alpha"], objects=[Handed("own"), Handed("other")]).infos
    assert [(info.name, info.distribution, info.version) for info in infos[1:]] == [
        ("own", None, "7"),
        ("other", None, "7"),
    ]


def test_an_object_stands_in_for_the_installed_plugin_of_its_name(site):
    """The installed one is not imported then."""
    module = site.add("alpha", "raise SystemExit")
    assert PluginHost().load(["alpha"], objects=[Handed("alpha")]).infos[0].distribution is None
    assert module not in sys.modules


@pytest.mark.parametrize(
    ("objects", "fault"),
    [
        ([Handed("own"), Handed("own")], "plugin 'own' is handed in 2 times"),
        ([Handed], "plugin object 'Handed': it is a class"),
        ([SimpleNamespace()], "plugin object 'SimpleNamespace': it has 0 implementations of sfm_plugin_info"),
        ([Handed("Not A Name")], "name is 'Not A Name'"),
        ([Handed("limits")], "name is 'limits'"),
    ],
)
def test_an_object_that_is_no_plugin_is_refused(objects, fault):
    """By the name of its type, or its own."""
    assert fault in failure(objects=objects)
