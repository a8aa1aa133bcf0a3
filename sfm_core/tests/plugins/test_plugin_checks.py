"""Hooks that return something else than they promise, and backends that are not what they declare."""

from __future__ import annotations

import pytest

from sfm_core.errors import PluginError
from sfm_core.plugins.host import PluginHost
from sfm_core.plugins.types import OpenContext, Port
from sfm_core.ports.vectors import Space

SPEC = "BackendSpec(port=Port.STORAGE, name='odd', config=Config, open=opened)"


def hook(result: str, name: str = "sfm_storage") -> str:
    """Return the source of a hook that returns `result`."""
    return f"\n@hookimpl\ndef {name}():\n    return {result}\n"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (hook("None"), "sfm_storage returned a NoneType, allowed: a sequence of BackendSpec"),
        (hook("'storage'"), "sfm_storage returned a str"),
        (hook("7"), "sfm_storage returned a int"),
        (hook(SPEC), "sfm_storage returned a BackendSpec"),
        (hook("{'odd': 1}"), "sfm_storage returned a dict"),
        (hook(f"[{SPEC}, 'x']"), "sfm_storage returned a list of BackendSpec, str"),
        (hook("1 / 0"), "sfm_storage raised ZeroDivisionError: division by zero"),
        (hook("exit(3)"), "sfm_storage raised SystemExit: 3"),
        (hook(f"[{SPEC}]", "sfm_cache"), "sfm_cache: backend 'odd': port is 'storage', allowed: cache"),
        (hook(f"[{SPEC.replace('Port.STORAGE', repr('storage'))}]"), "port is 'storage', allowed: storage"),
        (hook(f"[{SPEC.replace(repr('odd'), '7')}]"), "backend 7: name, allowed:"),
        (hook(f"[{SPEC.replace('opened', repr('open'))}]"), "open is 'open', allowed: a function"),
        (hook(f"[{SPEC.replace('Config', 'dict')}]"), "config is not a type of msgspec.Struct"),
        (hook(f"[{SPEC.replace('Config', 'Config()')}]"), "config is not a type of msgspec.Struct"),
        (
            "class Loose(Struct, frozen=True):\n    x: int = 1\n" + hook(f"[{SPEC.replace('Config', 'Loose')}]"),
            "config Loose must be declared with frozen=True and forbid_unknown_fields=True",
        ),
        (
            "class Open(Struct, forbid_unknown_fields=True):\n    x: int = 1\n"
            + hook(f"[{SPEC.replace('Config', 'Open')}]"),
            "config Open must be declared with frozen=True",
        ),
        (
            hook(f"[{SPEC[:-1]}, capabilities=frozenset({{VectorsCapability.SHARED}}))]"),
            "capabilities holds shared, allowed: members of StorageCapability",
        ),
        (hook(f"[{SPEC[:-1]}, capabilities=frozenset({{'durable'}}))]"), "capabilities holds 'durable'"),
        (hook(f"[{SPEC[:-1]}, capabilities=['durable'])]"), "capabilities is a list, allowed: a frozenset"),
        (hook(f"[{SPEC[:-1]}, stability='solid')]"), "stability is 'solid'"),
        (
            hook(f"[{SPEC[:-1]}, env={{'ODD_HOST': 'host'}})]"),
            "env ODD_HOST fills 'host', allowed: a field of Config: size",
        ),
        (hook(f"[{SPEC[:-1]}, env=['ODD_HOST'])]"), "env is a list, allowed: a mapping"),
        (
            hook(f"[{SPEC.replace('STORAGE', 'EMBEDDING')}]", "sfm_embedding"),
            "capabilities is empty, allowed: at least one of texts and words",
        ),
        (hook(f"[{SPEC}, {SPEC}]"), "the storage backend 'odd' is offered 2 times, by plugin 'odd' and 'odd'"),
        (hook("[]", "sfm_storag"), "there is no hook sfm_storag, allowed: sfm_plugin_info, sfm_storage"),
        ("@hookimpl\nasync def sfm_storage():\n    return []", "sfm_storage is asynchronous"),
        ("@hookimpl\ndef sfm_storage():\n    yield 1", "sfm_storage is asynchronous or a generator"),
        ("@hookimpl(wrapper=True)\ndef sfm_recalled(answer):\n    return (yield)", "sfm_recalled is a hook wrapper"),
        (
            "@hookimpl\ndef sfm_remembering(record):\n    return None",
            "its hooks cannot be registered, PluginValidationError",
        ),
    ],
)
def test_a_hook_that_does_not_do_what_it_promises_is_refused_by_name(site, body, fault):
    """The message starts with plugin and distribution and says what came and what is allowed."""
    site.add("odd", site.code("odd", body))
    with pytest.raises(PluginError) as caught:
        PluginHost().load(["odd"])
    assert fault in str(caught.value)
    assert str(caught.value).startswith(
        ("plugin 'odd' (distribution sfm-plugin-odd 1.0): ", "the storage backend 'odd'")
    )


@pytest.mark.parametrize(
    ("info", "fault"),
    [
        ("", "it has 0 implementations of sfm_plugin_info marked with hookimpl"),
        (hook("None", "sfm_plugin_info"), "sfm_plugin_info returned a NoneType, allowed: a PluginInfo"),
        (hook("PluginInfo(name='odd', version=1, api='1.0')", "sfm_plugin_info"), "version is 1, allowed: a text"),
        (hook("1 / 0", "sfm_plugin_info"), "sfm_plugin_info raised ZeroDivisionError"),
    ],
)
def test_a_plugin_must_say_who_it_is(site, info, fault):
    """Without a usable `sfm_plugin_info` nothing else of it is asked."""
    code = site.code("odd", info)
    start, end = code.index("\n@hookimpl\ndef sfm_plugin_info"), code.index("made by a test")
    site.add("odd", code[:start] + code[end + len('made by a test")') :])
    with pytest.raises(PluginError) as caught:
        PluginHost().load(["odd"])
    assert fault in str(caught.value)


def test_all_faults_of_a_backend_are_told_at_once(site):
    """Nobody mends one fault to be told the next."""
    body = hook(f"[{SPEC.replace('Config', 'int').replace('opened', '3')[:-1]}, stability=1)]")
    site.add("odd", site.code("odd", body))
    with pytest.raises(PluginError) as caught:
        PluginHost().load(["odd"])
    for fault in ("open is 3", "stability is 1", "config is not"):
        assert fault in str(caught.value)


class Half:
    """A cache without counters, whose `get` takes no keys."""

    async def get(self):
        return []

    async def set(self, values, *, ttl):
        return None

    async def delete(self, keys):
        return None

    async def clear(self):
        return None

    async def check(self):
        return None


def test_an_opened_backend_without_the_methods_of_its_port_is_refused(site):
    """The message names plugin, backend and the methods that are missing or take other arguments."""
    site.add("alpha")
    registry = PluginHost().load(["alpha"])
    with pytest.raises(PluginError) as caught:
        registry.verify(Port.CACHE, "alpha", Half())
    assert str(caught.value) == (
        "plugin 'alpha': the cache backend 'alpha' declares port cache and has no usable get, add, increment"
    )


class Whole(Half):
    async def get(self, keys):
        return []

    async def add(self, values, *, ttl):
        return None

    async def increment(self, key, *, ttl, by=1, step=None):
        return 1


def test_an_opened_backend_with_all_methods_is_accepted(site):
    """More arguments with defaults than the port asks for are no fault."""
    site.add("alpha")
    PluginHost().load(["alpha"]).verify(Port.CACHE, "alpha", Whole())


def test_a_backend_that_lies_about_a_capability_is_refused_by_name(site):
    """Declaring words means having the methods of word vectors."""
    body = hook(
        "[BackendSpec(port=Port.EMBEDDING, name='liar', config=Config, open=opened, "
        "capabilities=frozenset({EmbeddingCapability.WORDS}))]",
        "sfm_embedding",
    )
    site.add("liar", "from sfm_core.ports.embedding import EmbeddingCapability\n" + site.code("liar", body))
    with pytest.raises(PluginError, match="plugin 'liar': the embedding backend 'liar' declares capability words"):
        PluginHost().load(["liar"]).verify(Port.EMBEDDING, "liar", object())


@pytest.mark.parametrize("name", ["inmemory", "nearwords"])
async def test_the_plugins_of_this_project_have_what_they_declare(name, tmp_path):
    """Every backend of an installed plugin, opened, has the methods of its port and capabilities."""
    registry = PluginHost().load([name])
    for spec in registry.specs(name):
        async with spec.open(spec.config(), OpenContext(data_dir=tmp_path, space=Space(8, "test"))) as opened:
            registry.verify(spec.port, spec.name, opened)
