"""Builds the services over opened backends. The application's container wires the same parts one by one."""

from __future__ import annotations

from enum import StrEnum
from typing import cast

from msgspec import Struct

from sfm_core.config.modes import SLOTS, Indexing, Plan, Role
from sfm_core.config.settings import Settings, language_of
from sfm_core.model.memory import Memory
from sfm_core.plugins.registry import Registry
from sfm_core.ports.cache import Cache, CacheCapability
from sfm_core.ports.embedding import Embedding, WordVectors
from sfm_core.ports.events import Events
from sfm_core.ports.storage import ApiKeys, Storage, StorageCapability
from sfm_core.ports.vectors import LexicalVectors, Space, Vectors
from sfm_core.ports.writes import Analysis
from sfm_core.services.authentication import Authentication
from sfm_core.services.changes import Changes
from sfm_core.services.clock import Clock, now
from sfm_core.services.commit import Committer
from sfm_core.services.copies import Copies
from sfm_core.services.forget import Forget
from sfm_core.services.health import Checked, Health
from sfm_core.services.history import History
from sfm_core.services.index_words import IndexWords
from sfm_core.services.keys import Keys
from sfm_core.services.limits import Limits
from sfm_core.services.links import Links
from sfm_core.services.maintenance import Maintenance
from sfm_core.services.overview import Capabilities, Overview, SlotCapabilities
from sfm_core.services.projection import Projection
from sfm_core.services.projector import Projector
from sfm_core.services.query_vectors import QueryVectors
from sfm_core.services.recall import Recall
from sfm_core.services.remember import Analyse, Remember
from sfm_core.services.steady import SteadyCache
from sfm_core.services.transfer import Transfer
from sfm_core.services.validate import MemoryReader
from sfm_core.text.analysis import analyse

__all__ = ["Ports", "Services", "analyser", "wire"]

_ENGLISH = "english"
_REQUIRED = {Role.CONSUMER: ("storage", "events", "vectors"), Role.RELAY: ("storage", "events")}
_HOLDERS = ("storage", "vectors")


class Ports(Struct, frozen=True, kw_only=True):
    """The opened backends; None where the plan leaves a slot empty."""

    storage: Storage
    vectors: Vectors | None = None
    cache: Cache | None = None
    events: Events | None = None
    embedding: Embedding | None = None
    near_words: WordVectors | None = None
    space: Space | None = None


class Services(Struct, frozen=True, kw_only=True):
    """Everything that callers can ask of a memory system."""

    remember: Remember
    recall: Recall
    history: History
    forget: Forget
    links: Links
    changes: Changes
    transfer: Transfer
    overview: Overview
    keys: Keys
    authentication: Authentication
    maintenance: Maintenance
    health: Health
    projector: Projector
    limits: Limits
    clock: Clock
    cache: SteadyCache | None = None
    copies: Copies | None = None

    async def start(self) -> None:
        """Bring the projections up to the log, where this process keeps them."""
        await self.projector.start()

    async def close(self) -> None:
        """Bring cursor and projections together before the backends close."""
        await self.projector.close()
        if self.copies is not None:
            await self.copies.close()


def analyser(settings: Settings) -> Analyse:
    """Return what reads index terms and ranking features off a memory, in the language of its namespace."""
    languages = settings.languages

    def read(memory: Memory) -> Analysis:
        language = language_of(languages, memory.namespace) if languages else None
        return analyse(memory.content, memory.author, language or _ENGLISH)

    return read


def wire(
    settings: Settings,
    plan: Plan,
    registry: Registry,
    ports: Ports,
    *,
    clock: Clock = now,
    read_only: bool = False,
) -> Services:
    """Return the services over `ports`.

    Args:
        settings, plan, registry: as they were opened.
        ports: the opened backends.
        clock: what tells the time.
        read_only: the projections are left as they are.
    """
    limits = settings.limits
    reader = MemoryReader(limits)
    analyse_memory = analyser(settings)
    cache = None if ports.cache is None else SteadyCache(ports.cache, patience=settings.cache_patience)
    copies = _copies(settings, plan, registry, ports.storage, cache)
    words = _index_words(plan, registry, ports)
    projection = _projection(plan, registry, ports, analyse_memory, words, copies)
    drives = plan.indexing is Indexing.INLINE and not read_only
    projector = Projector(ports.storage, projection, name=_cursor_name(ports), drives=drives)
    authentication = Authentication(_key_store(plan, registry, ports), clock)
    committer = Committer(ports.storage, projector, registry.hooks, reader, clock, limits, copies)
    return Services(
        remember=Remember(committer, reader, analyse_memory),
        recall=Recall(
            ports.storage,
            _able(plan, registry, "storage"),
            vectors=ports.vectors if ports.space is not None else None,
            vectors_able=_able(plan, registry, "vectors"),
            embedding=_for_questions(plan, ports, cache),
            near_words=ports.near_words,
            words=words,
            limits=limits,
            clock=clock,
            language_of=lambda namespace: language_of(settings.languages, namespace) or _ENGLISH,
            reached=projector.reached,
            copies=copies,
            hooks=registry.hooks,
        ),
        history=History(committer, analyse_memory),
        forget=Forget(committer, ports.vectors, _stores(plan, copies), copies),
        links=Links(committer),
        changes=Changes(ports.storage, limits, source=settings.source),
        transfer=Transfer(committer, reader, analyse_memory, plan.data_dir),
        overview=Overview(
            ports.storage, _capabilities(limits, plan, registry, ports), registry.infos, projector.indexed, clock
        ),
        keys=Keys(_key_store(plan, registry, ports), authentication, clock, limits),
        authentication=authentication,
        maintenance=Maintenance(ports.storage, projection, projector, clock, ports.space),
        health=Health(_checked(plan, ports)),
        projector=projector,
        limits=limits,
        clock=clock,
        cache=cache,
        copies=copies,
    )


def _projection(
    plan: Plan,
    registry: Registry,
    ports: Ports,
    analyse_memory: Analyse,
    words: IndexWords | None,
    copies: Copies | None,
) -> Projection:
    return Projection(
        vectors=ports.vectors,
        embedding=ports.embedding,
        terms=None if words is None else lambda memory: analyse_memory(memory).stems,
        forget=None if copies is None else copies.forget,
    )


def _key_store(plan: Plan, registry: Registry, ports: Ports) -> ApiKeys | None:
    able = StorageCapability.API_KEYS in _able(plan, registry, "storage")
    return cast(ApiKeys, ports.storage) if able else None


def _stores(plan: Plan, copies: Copies | None) -> dict[str, str]:
    """Name the backend of each slot that holds memories."""
    holders = _HOLDERS if copies is None else (*_HOLDERS, "cache")
    return {slot: plan.slots[slot].backend for slot in holders if slot in plan.slots}


def _cursor_name(ports: Ports) -> str:
    """Name the cursor of the projections: another embedding, or words in the index, begins anew."""
    if ports.space is not None:
        return f"projector:{ports.space.fingerprint}"
    return "projector:words" if ports.vectors is None else "projector:words in the index"


def _index_words(plan: Plan, registry: Registry, ports: Ports) -> IndexWords | None:
    """Return what ranks words in the vector index, where the plan asks it and not the storage."""
    if plan.lexical != "vectors" or ports.vectors is None:
        return None
    return IndexWords(cast(LexicalVectors, ports.vectors), _able(plan, registry, "vectors"), ports.storage)


def _copies(
    settings: Settings, plan: Plan, registry: Registry, storage: Storage, cache: SteadyCache | None
) -> Copies | None:
    """Return where memories are copied to: only a shared cache, since a deletion must reach every copy."""
    if cache is None or not settings.cache_ttl or CacheCapability.SHARED not in _able(plan, registry, "cache"):
        return None
    return Copies(storage, cache, ttl=settings.cache_ttl)


def _for_questions(plan: Plan, ports: Ports, cache: SteadyCache | None) -> Embedding | None:
    """Return what embeds questions; a function of the program is known by its name alone, too little to keep its vectors."""
    if cache is None or ports.embedding is None or "embedding" not in plan.slots:
        return ports.embedding
    return QueryVectors(ports.embedding, cache)


def _capabilities(limits: Limits, plan: Plan, registry: Registry, ports: Ports) -> Capabilities:
    slots: dict[str, SlotCapabilities | None] = dict.fromkeys(SLOTS)
    for name, slot in plan.slots.items():
        spec = registry.backend(slot.port, slot.backend)
        slots[name] = SlotCapabilities(slot.plugin, slot.backend, tuple(sorted(spec.capabilities)))
    arms = ("lexical", *(["vectors"] if ports.space is not None else []), "links", "time")
    return Capabilities(
        mode=plan.mode, indexing=plan.indexing, slots=slots, arms=arms, lexical=plan.lexical, limits=limits
    )


def _checked(plan: Plan, ports: Ports) -> dict[str, Checked]:
    required = _REQUIRED.get(plan.role, ("storage",))
    backends = {"storage": ports.storage, "vectors": ports.vectors, "cache": ports.cache, "events": ports.events}
    return {
        f"{name}:{plan.slots[name].backend}": Checked(name, name in required, backend)
        for name, backend in backends.items()
        if backend is not None
    }


def _able(plan: Plan, registry: Registry, slot: str) -> frozenset[StrEnum]:
    """What the backend in `slot` declares that it can do."""
    filled = plan.slots.get(slot)
    return frozenset() if filled is None else registry.backend(filled.port, filled.backend).capabilities
