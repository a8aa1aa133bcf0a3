"""Every plugin that speaks to a server tells what its settings lack for modes that demand TLS and credentials."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import msgspec
import pytest

from sfm_core.config.secret import Secret
from sfm_core.plugins.types import BackendSpec, Security
from sfm_core.testing.opener import specs_of

PLUGINS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "sfm_postgres": ({"url": "postgresql://u@h/d"}, {"url": "postgresql://u:p@h/d?sslmode=verify-full"}),
    "sfm_pgvector": ({"url": "host=h sslmode=prefer"}, {"url": "host=h", "password": "p", "sslmode": "require"}),
    "sfm_redis": ({}, {"tls": True, "password": "p"}),
    "sfm_kafka": (
        {"bootstrap_servers": ["h:1"]},
        {"bootstrap_servers": ["h:1"], "tls": True, "username": "u", "password": "p"},
    ),
    "sfm_qdrant": ({}, {"tls": True, "api_key": "k"}),
}


def spec(package: str) -> BackendSpec:
    return specs_of(import_module(f"{package}.plugin"))[0]


def found(package: str, values: dict[str, Any]) -> Security:
    """Ask the plugin about settings."""
    backend = spec(package)
    assert backend.security is not None
    convert = lambda kind, value: Secret(value) if kind is Secret else value  # noqa: E731
    return backend.security(msgspec.convert(values, backend.config, dec_hook=convert))


@pytest.mark.parametrize("package", PLUGINS)
def test_what_lacks_is_named_by_its_setting(package: str) -> None:
    """Both at once, with what is allowed."""
    plain, _ = PLUGINS[package]
    lacking = found(package, plain)
    prefix = f"SFM_{package.removeprefix('sfm_').upper()}__"
    for told in (lacking.tls, lacking.credentials):
        assert told is not None
        assert told.startswith(prefix)
        assert "allowed: " in told


@pytest.mark.parametrize("package", PLUGINS)
def test_a_safe_configuration_lacks_nothing(package: str) -> None:
    """TLS and credentials are both seen."""
    _, safe = PLUGINS[package]
    assert found(package, safe) == Security()
