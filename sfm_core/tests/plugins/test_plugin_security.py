"""What a mode demands of the way to every server."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from msgspec import Struct
from msgspec.structs import replace

from sfm_core.config.modes import make_plan
from sfm_core.config.settings import Settings
from sfm_core.errors import ConfigError
from sfm_core.plugins.registry import LoadedPlugin, Registry
from sfm_core.plugins.security import require_security
from sfm_core.plugins.types import BackendSpec, Port, Security, Slot


class Config(Struct, frozen=True, kw_only=True):
    tls: bool = False
    password: str | None = None


def lacking(config: Config) -> Security:
    return Security(
        tls=None if config.tls else "SFM_X__TLS: false, allowed: true",
        credentials=None if config.password else "SFM_X__PASSWORD: not set, allowed: a password",
    )


@asynccontextmanager
async def never(config, context):
    raise AssertionError("nothing is opened")
    yield


def demand(config: Config, *, security=lacking, mode: str = "cloud_managed") -> None:
    """Check a plan whose storage and cache are both a server configured so."""
    slots = {
        name: Slot(name=name, port=port, plugin="x", backend="x")
        for name, port in (("storage", Port.STORAGE), ("cache", Port.CACHE))
    }
    plan = replace(make_plan(Settings(mode=mode, workers=1), "service"), slots=slots)
    specs = [
        BackendSpec(port=slot.port, name="x", config=Config, open=never, security=security) for slot in slots.values()
    ]
    loaded = LoadedPlugin(name="x", distribution=None, version="1", api="1.0", summary="", backends=())
    require_security(plan, Registry([(loaded, specs)]), dict.fromkeys(slots, config))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (Config(), ["SFM_X__TLS", "SFM_X__PASSWORD"]),
        (Config(tls=True), ["SFM_X__PASSWORD"]),
        (Config(password="secret"), ["SFM_X__TLS"]),
    ],
)
def test_cloud_managed_demands_tls_and_credentials_of_every_server(config: Config, told: list[str]):
    """All that is lacking is told at once, for each server, and no value of a secret."""
    with pytest.raises(ConfigError) as refused:
        demand(config)
    text = str(refused.value)
    assert "cloud_managed" in text
    assert [word for word in ("SFM_X__TLS", "SFM_X__PASSWORD") if text.count(word) == 2] == told
    assert "secret" not in text


def test_a_safe_way_is_let_through():
    """Nothing lacks."""
    demand(Config(tls=True, password="secret"))


def test_other_modes_demand_nothing():
    """A developer's servers need neither."""
    demand(Config(), mode="evented_enterprise")


def test_a_backend_without_a_server_has_nothing_to_secure():
    """An embedded one says so by leaving it out."""
    demand(Config(), security=None)
