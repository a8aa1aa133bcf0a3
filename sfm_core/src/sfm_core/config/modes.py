"""Modes are data: which backend stands in which slot, and which policies hold. A plan is a mode with the settings applied."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from sfm_core.config.convert import nearest, refuse
from sfm_core.config.paths import default_data_dir
from sfm_core.config.settings import Settings
from sfm_core.errors import ConfigError, shown
from sfm_core.plugins.types import Port, Slot
from sfm_core.ports.embedding import EmbeddingCapability
from sfm_core.ports.events import EventsCapability
from sfm_core.ports.storage import StorageCapability
from sfm_core.ports.vectors import VectorsCapability

__all__ = ["MODES", "SLOTS", "Indexing", "Mode", "Plan", "Role", "SlotKind", "make_plan"]

_NONE = "none"
_NAME = re.compile(r"[a-z][a-z0-9_-]*(?::[a-z][a-z0-9_-]*)?")


class Role(StrEnum):
    """Who opens a plan: the in-process library leaves out what only a service needs."""

    LIBRARY = "library"
    SERVICE = "service"
    CONSUMER = "consumer"
    """Carries the events of the bus into the projections."""
    RELAY = "relay"
    """Hands the change log to the bus: opens nothing else."""
    KEYS = "keys"
    """Looks after the API keys: opens the storage alone."""


_OPENED = {Role.RELAY: ("storage", "events"), Role.KEYS: ("storage",)}
"""The slots of those who do not open all of them."""


class Indexing(StrEnum):
    """Where the projector runs: in the process that writes, or in a consumer of the event bus."""

    INLINE = "inline"
    CONSUMER = "consumer"


class SlotKind(Struct, frozen=True):
    """A place for one backend: the port it serves and the capabilities that the place asks of it."""

    port: Port
    needs: frozenset[StrEnum] = frozenset()
    library: bool = True


SLOTS: Mapping[str, SlotKind] = {
    "storage": SlotKind(Port.STORAGE),
    "near_words": SlotKind(Port.EMBEDDING, frozenset({EmbeddingCapability.WORDS})),
    "embedding": SlotKind(Port.EMBEDDING, frozenset({EmbeddingCapability.TEXTS})),
    "vectors": SlotKind(Port.VECTORS),
    "cache": SlotKind(Port.CACHE, library=False),
    "events": SlotKind(Port.EVENTS, library=False),
}
"""In the order in which they are opened: what embeds comes before the index of its vectors."""


class Mode(Struct, frozen=True, kw_only=True):
    """One row of the table of modes.

    Attributes:
        slots: the backend of each slot; a slot that is absent stays empty.
        indexing: where the projector runs while eventing is enabled.
        workers: worker processes of the service by default.
        most_workers: more are refused; None for no limit.
        has_data_dir: whether there is a data directory when none is set.
        create_schema: whether schema may be created or migrated at start.
        require_tls: every server must be spoken to over TLS.
        require_credentials: every server must be given credentials.
        require_keys: the API answers to API keys only, whatever the settings say.
    """

    slots: Mapping[str, str]
    indexing: Indexing = Indexing.INLINE
    workers: int = 1
    most_workers: int | None = None
    has_data_dir: bool = False
    create_schema: bool = True
    require_tls: bool = False
    require_credentials: bool = False
    require_keys: bool = False


_SERVERS = {
    "storage": "postgres",
    "vectors": "qdrant",
    "cache": "redis",
    "events": "kafka",
    "embedding": "minilm",
    "near_words": "nearwords",
}

MODES: Mapping[str, Mode] = {
    "development": Mode(
        slots={
            "storage": "sqlite",
            "vectors": "sqlite",
            "cache": "inmemory",
            "events": "inmemory",
            "near_words": "nearwords",
        },
        has_data_dir=True,
    ),
    "test": Mode(
        slots={"storage": "inmemory", "vectors": "inmemory", "cache": "inmemory", "events": "inmemory"},
        most_workers=1,
    ),
    "evented_enterprise": Mode(slots=_SERVERS, indexing=Indexing.CONSUMER, workers=4),
    "cloud_managed": Mode(
        slots=_SERVERS,
        indexing=Indexing.CONSUMER,
        workers=4,
        create_schema=False,
        require_tls=True,
        require_credentials=True,
        require_keys=True,
    ),
}


class Plan(Struct, frozen=True, kw_only=True):
    """What is to be loaded and opened. `slots` holds the filled ones only, in the order in which they are opened.

    `has_vectors` is False when nothing embeds: there is no vector arm then. `lexical` names the slot that is asked for words.
    `plugins` names all plugins to load, those of
    the slots first. `require_keys` is None where the API asks for API keys as soon as one was made. The other fields are
    those of `Mode`, with the settings applied.
    """

    mode: str
    role: Role
    slots: Mapping[str, Slot]
    plugins: tuple[str, ...]
    indexing: Indexing
    workers: int
    data_dir: Path | None = None
    has_vectors: bool = False
    lexical: str = "storage"
    create_schema: bool = True
    require_tls: bool = False
    require_credentials: bool = False
    require_keys: bool | None = None


def _filled(mode: Mode, settings: Settings, role: Role, embed: bool) -> dict[str, str]:
    """Return the value of each slot that is to be filled, in order."""
    filled = {}
    for name, kind in SLOTS.items():
        if name not in _OPENED.get(role, SLOTS):
            continue
        given = getattr(settings, name)
        if given is None and (kind.library or role is not Role.LIBRARY):
            given = mode.slots.get(name)
        if given is not None and given != _NONE:
            filled[name] = given
    if embed:
        filled.pop("embedding", None)
    elif "embedding" not in filled and settings.lexical != "vectors":
        filled.pop("vectors", None)
    if not settings.eventing_enabled:
        filled.pop("events", None)
    return filled


def _needs(
    name: str,
    filled: Mapping[str, str],
    settings: Settings,
    indexing: Indexing,
    role: Role,
    workers: int,
    require_keys: bool | None,
) -> Iterator[StrEnum]:
    """Name the capabilities that the plan as a whole asks of the backend in slot `name`."""
    apart = role in (Role.CONSUMER, Role.RELAY) or (role is Role.SERVICE and indexing is Indexing.CONSUMER)
    yield from SLOTS[name].needs
    match name:
        case "storage":
            yield StorageCapability.FULL_TEXT
            if role is Role.KEYS or (role is Role.SERVICE and require_keys):
                yield StorageCapability.API_KEYS
            if "near_words" in filled:
                yield StorageCapability.VOCABULARY
            if workers > 1 or apart:
                yield StorageCapability.SHARED
        case "vectors":
            if settings.lexical == "vectors":
                yield VectorsCapability.FULL_TEXT
            if workers > 1 or apart:
                yield VectorsCapability.SHARED
        case "events" if apart or indexing is Indexing.CONSUMER:
            yield EventsCapability.SHARED


def _slot(name: str, value: str, needs: Iterable[StrEnum]) -> Slot:
    plugin, _, backend = value.partition(":")
    return Slot(name, SLOTS[name].port, plugin, backend or plugin, frozenset(needs))


def _contradictions(
    settings: Settings, mode: Mode, plan: Plan, filled: Mapping[str, str], embed: bool
) -> Iterator[str]:
    for name, value in filled.items():
        if not _NAME.fullmatch(value):
            yield f"SFM_{name.upper()}: got {shown(value)}, allowed: <plugin>, <plugin>:<backend> or none"
    for name in settings.plugins:
        if not _NAME.fullmatch(name) or ":" in name:
            yield f"SFM_PLUGINS: got {shown(name)}, allowed: names of plugins with commas between"
    if "storage" not in filled:
        yield "SFM_STORAGE: got 'none', allowed: <plugin> or <plugin>:<backend>; everything is kept there"
    if "vectors" not in filled and (embed or "embedding" in filled):
        yield "SFM_VECTORS: got 'none', allowed: <plugin> or <plugin>:<backend>, because an embedding is given"
    if settings.lexical == "vectors" and "vectors" not in filled and plan.role not in _OPENED:
        yield "SFM_LEXICAL: got 'vectors', allowed: storage, because SFM_VECTORS names no vector search"
    if mode.require_keys and settings.require_keys is False:
        yield f"SFM_REQUIRE_KEYS: got false, allowed: true, because mode {plan.mode} answers to API keys only"
    if plan.role in (Role.LIBRARY, Role.KEYS):
        return
    if plan.role is Role.CONSUMER and plan.indexing is Indexing.INLINE:
        yield (
            f"MEMORY_MODE, EVENTING_ENABLED: got {plan.mode}, {str(settings.eventing_enabled).lower()}, allowed: a mode that "
            "indexes in a consumer, with eventing; here the service indexes by itself"
        )
    elif plan.role is Role.RELAY and "events" not in filled:
        yield "SFM_EVENTS, EVENTING_ENABLED: got no event bus, allowed: one that a relay can hand changes to"
    elif plan.indexing is Indexing.CONSUMER and "events" not in filled:
        yield (
            f"SFM_EVENTS: got 'none', allowed: an event bus, because mode {plan.mode} indexes in a consumer "
            "(EVENTING_ENABLED=false does not)"
        )
    if mode.most_workers is not None and plan.workers > mode.most_workers:
        yield f"UVICORN_WORKERS: got {plan.workers}, allowed: {mode.most_workers} in mode {plan.mode}"


def make_plan(settings: Settings, role: Role, *, embed: bool = False) -> Plan:
    """Return what `settings` ask for.

    Args:
        settings: as loaded.
        role: the library opens cache and event bus only when a setting names them.
        embed: an embedding function is given by the program; it stands in for the embedding slot.

    Raises:
        ConfigError: the mode is unknown, or settings contradict each other; all in one message.
    """
    mode = MODES.get(settings.mode)
    if mode is None:
        raise ConfigError(
            f"MEMORY_MODE: got {shown(settings.mode)}, allowed: {', '.join(MODES)}{nearest(settings.mode, MODES)}"
        )
    filled = _filled(mode, settings, role, embed)
    indexing = mode.indexing if settings.eventing_enabled else Indexing.INLINE
    workers = (settings.workers or mode.workers) if role is Role.SERVICE else 1
    require_keys = mode.require_keys or settings.require_keys
    slots = {
        name: _slot(name, value, _needs(name, filled, settings, indexing, role, workers, require_keys))
        for name, value in filled.items()
    }
    plan = Plan(
        mode=settings.mode,
        role=role,
        slots=slots,
        plugins=tuple(dict.fromkeys([*(slot.plugin for slot in slots.values()), *settings.plugins])),
        indexing=indexing,
        workers=workers,
        data_dir=settings.data_dir or (default_data_dir() if mode.has_data_dir else None),
        has_vectors="vectors" in slots and (embed or "embedding" in slots),
        lexical=settings.lexical,
        create_schema=mode.create_schema,
        require_tls=mode.require_tls,
        require_credentials=mode.require_credentials,
        require_keys=require_keys,
    )
    refuse(list(_contradictions(settings, mode, plan, filled, embed)))
    return plan
