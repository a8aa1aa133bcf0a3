"""The configuration of plugins, from variables into their Structs."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct

from sfm_core.config.backends import plan_configs, plugin_config, plugin_prefix
from sfm_core.config.convert import allowed
from sfm_core.config.env import Environment
from sfm_core.config.modes import Indexing, Plan, Role
from sfm_core.config.secret import Secret
from sfm_core.errors import ConfigError
from sfm_core.plugins.host import PluginHost
from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import BackendSpec, PluginInfo, Port, Slot

TEXT = "hunter2-of-the-test"


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    host: str
    port: Annotated[int, Meta(ge=1, le=65535)] = 6379
    password: Secret | None = None
    folder: Path | None = None
    hosts: tuple[str, ...] = ()
    options: dict[str, int] = {}
    level: Literal["low", "high"] = "low"

    def __post_init__(self) -> None:
        if self.host == "nowhere":
            raise ValueError("host and port do not fit")


class Other(Struct, frozen=True, forbid_unknown_fields=True):
    size: int = 1


@asynccontextmanager
async def opened(config, context):
    yield object()


CACHE = BackendSpec(
    port=Port.CACHE,
    name="my-store",
    config=Config,
    open=opened,
    env={"MY_HOST": "host", "MY_PORT": "port", "MY_PASSWORD": "password"},
)
EVENTS = BackendSpec(port=Port.EVENTS, name="my-store", config=Other, open=opened)


class Plugin:
    @hookimpl
    def sfm_plugin_info(self):
        return PluginInfo(name="my-store", version="1", api="1.0")

    @hookimpl
    def sfm_cache(self):
        return [CACHE]

    @hookimpl
    def sfm_events(self):
        return [EVENTS]


def config(**variables: str) -> Config:
    return plugin_config("my-store", CACHE, Environment([variables]))


def refusal(**variables: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config(**variables)
    return str(caught.value)


def plan(*slots: Slot) -> Plan:
    return Plan(
        mode="test",
        role=Role.SERVICE,
        slots={slot.name: slot for slot in slots},
        plugins=(),
        indexing=Indexing.INLINE,
        workers=1,
    )


def whole(**variables: str) -> dict[str, object]:
    """Configure cache and events of the plugin from the variables."""
    slots = [Slot(str(port), port, "my-store", "my-store") for port in (Port.CACHE, Port.EVENTS)]
    registry = PluginHost().load([], objects=[Plugin()])
    return plan_configs(plan(*slots), registry, Environment([variables]))


def test_fields_are_filled_from_the_plugins_variables():
    """Every supported type, from text; a dash in the name is an underscore in the variable."""
    assert plugin_prefix("my-store") == "SFM_MY_STORE__"
    assert config(
        SFM_MY_STORE__HOST="h",
        SFM_MY_STORE__PORT="1",
        SFM_MY_STORE__PASSWORD=TEXT,
        SFM_MY_STORE__FOLDER="/x",
        SFM_MY_STORE__HOSTS="a, b",
        SFM_MY_STORE__OPTIONS="a=1,b=2",
        SFM_MY_STORE__LEVEL="high",
    ) == Config("h", 1, Secret(TEXT), Path("/x"), ("a", "b"), {"a": 1, "b": 2}, "high")


def test_well_known_variables_fill_what_the_plugins_own_do_not():
    """The plugin's own variable wins."""
    found = config(MY_HOST="known", MY_PORT="2", SFM_MY_STORE__PORT="3")
    assert (found.host, found.port) == ("known", 3)


def test_secrets_and_well_known_variables_may_come_from_files(tmp_path):
    """`<NAME>_FILE` names the file."""
    (tmp_path / "host").write_text("from-file\n")
    (tmp_path / "password").write_text(TEXT)
    found = config(MY_HOST_FILE=str(tmp_path / "host"), SFM_MY_STORE__PASSWORD_FILE=str(tmp_path / "password"))
    assert found.host == "from-file"
    assert found.password == Secret(TEXT)
    assert TEXT not in repr(found)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "SFM_MY_STORE__HOST or MY_HOST: not set, allowed: a text; my-store/cache needs it"),
        ({"MY_HOST": "h", "MY_PORT": "x"}, "MY_PORT: got 'x', allowed: an integer, at least 1, at most 65535"),
        ({"MY_HOST": "h", "SFM_MY_STORE__LEVEL": "mid"}, "SFM_MY_STORE__LEVEL: got 'mid', allowed: one of low, high"),
        (
            {"MY_HOST": "h", "SFM_MY_STORE__OPTIONS": "a=x"},
            "SFM_MY_STORE__OPTIONS: got 'a=x', allowed: name=value pairs",
        ),
        ({"MY_HOST": "h", "MY_HOST_FILE": "f"}, "MY_HOST and MY_HOST_FILE are both set"),
        ({"MY_HOST": "nowhere"}, "SFM_MY_STORE__*: host and port do not fit"),
    ],
)
def test_what_cannot_be_used_is_told(variables, message):
    """The variable, what came and what is allowed."""
    assert refusal(**variables).startswith(message)


@pytest.mark.parametrize(("kind", "words"), [(Secret, "a text, kept secret"), (Secret | None, "a text, kept secret")])
def test_types_are_told_in_plain_words(kind, words):
    """Whoever reads the message knows no class of ours."""
    assert allowed(kind) == words


def test_a_secret_is_in_no_message():
    """Even when something else of the plugin is wrong."""
    assert TEXT not in refusal(SFM_MY_STORE__PASSWORD=TEXT, MY_PORT="x")
    assert TEXT not in refusal(MY_PASSWORD=TEXT, MY_PASSWORD_FILE="/nowhere")


def test_each_slot_gets_its_own_struct():
    """Two backends of one plugin share its prefix."""
    assert whole(MY_HOST="h", SFM_MY_STORE__SIZE="5") == {"cache": Config("h"), "events": Other(5)}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "SFM_MY_STORE__HOSTT",
            "SFM_MY_STORE__HOSTT: no such setting, allowed: SFM_MY_STORE__FOLDER, SFM_MY_STORE__HOST, ",
        ),
        ("SFM_MY_STOR__HOST", "SFM_MY_STOR__HOST: no plugin of that name is installed; did you mean SFM_MY_STORE__?"),
        ("SFM_WHATEVER__X", "SFM_WHATEVER__X: no plugin of that name is installed"),
    ],
)
def test_a_variable_that_no_plugin_declares_is_refused(name, message):
    """A typing mistake in a plugin's setting must not be passed over; what it holds is not told."""
    with pytest.raises(ConfigError) as caught:
        whole(**{"MY_HOST": "h", name: TEXT})
    assert str(caught.value).startswith(message)
    assert TEXT not in str(caught.value)


def test_a_variable_of_an_installed_plugin_that_is_not_loaded_is_fine():
    """One environment may serve several modes."""
    assert whole(MY_HOST="h", SFM_SQLITE__ANYTHING="1", SFM_LIMITS__K="3")


def test_all_problems_of_a_plan_are_told_at_once_and_each_once():
    """Unknown variables and unusable values of every slot, in one message."""
    with pytest.raises(ConfigError) as caught:
        whole(SFM_MY_STORE__PORT="x", SFM_MY_STORE__SIZE="y", SFM_MY_STORE__NOPE="z")
    lines = str(caught.value).splitlines()
    assert lines[0] == "4 settings cannot be used:"
    assert [line.split(":")[0].removeprefix("- ") for line in lines[1:]] == [
        "SFM_MY_STORE__NOPE",
        "SFM_MY_STORE__HOST or MY_HOST",
        "SFM_MY_STORE__PORT",
        "SFM_MY_STORE__SIZE",
    ]
