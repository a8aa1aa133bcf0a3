"""What a plugin hands to the core: who it is and which backends it offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from sfm_core.ports.vectors import Space

__all__ = ["API_VERSION", "BackendSpec", "OpenContext", "PluginInfo", "Port", "Slot", "Stability"]

API_VERSION = "1.0"
"""The plugin API of this core: a plugin's major number must be equal."""


class Port(StrEnum):
    """The five ports."""

    STORAGE = "storage"
    VECTORS = "vectors"
    CACHE = "cache"
    EVENTS = "events"
    EMBEDDING = "embedding"


class Stability(StrEnum):
    """How much a backend may still change."""

    STABLE = "stable"
    EXPERIMENTAL = "experimental"


class PluginInfo(Struct, frozen=True, kw_only=True):
    """Who a plugin is. `name` equals the entry point's name; `api` is the plugin API it was written for ("1.0")."""

    name: str
    version: str
    api: str
    summary: str = ""


class OpenContext(Struct, frozen=True, kw_only=True):
    """What a backend gets to know when it is opened.

    Attributes:
        data_dir: the only folder where files may be written (created, mode 0700); None when the plan has none.
        space: for the vectors port: what the vectors of the index must be; None with FULL_TEXT: an index of words alone.
        create: whether schema may be created or migrated at start (False in `cloud_managed`).
        read_only: whether the backend is opened for inspection.
        rebuild: for the vectors port: open an index of another space too; `Vectors.clear(space)` follows before anything else.
    """

    data_dir: Path | None = None
    space: Space | None = None
    create: bool = True
    read_only: bool = False
    rebuild: bool = False


class Security(Struct, frozen=True, kw_only=True):
    """What a configuration lacks to speak to its server safely, each as "<setting>: <given>, allowed: <what>"; None: nothing.

    Attributes:
        tls: why what is sent could be read or answered by others.
        credentials: why the server would not know who asks.
    """

    tls: str | None = None
    credentials: str | None = None


class BackendSpec(Struct, frozen=True, kw_only=True):
    """One backend of one port.

    Attributes:
        port: which port it serves.
        name: the name the plan asks for; unique per port, by default the plugin's name.
        config: a frozen `msgspec.Struct` type with `forbid_unknown_fields=True`, all fields with defaults or documented as
            required; filled from `SFM_<NAME>__<FIELD>` and from the variables in `env`.
        open: `open(config, context)` gives an async context manager that yields the opened backend; the driver is imported
            inside it, and the server's version is checked there.
        capabilities: members of the port's capability enum that the backend has; the conformance kit proves them in both
            directions.
        env: well-known environment variables that fill a config field: `{"REDIS_HOST": "host"}`.
        stability: how much it may still change.
        security: tells of a configuration what it lacks, for modes that demand TLS and credentials; None for a backend that
            speaks to no server.
    """

    port: Port
    name: str
    config: type[Any]
    open: Callable[[Any, OpenContext], AbstractAsyncContextManager[Any]]
    capabilities: frozenset[StrEnum] = frozenset()
    env: Mapping[str, str] = field(default_factory=dict)
    stability: Stability = Stability.STABLE
    security: Callable[[Any], Security] | None = None


class Slot(Struct, frozen=True):
    """A place of a plan: its name, and which backend of which plugin is to fill it, with the capabilities asked of it."""

    name: str
    port: Port
    plugin: str
    backend: str
    needs: frozenset[StrEnum] = frozenset()
