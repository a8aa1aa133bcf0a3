"""What a port and each of its capabilities ask of a backend, for the checks at start. Behaviour is proven by the kit."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from enum import StrEnum

from sfm_core.plugins.types import Port
from sfm_core.ports.cache import Cache, CacheCapability
from sfm_core.ports.embedding import Embedding, EmbeddingCapability, WordVectors
from sfm_core.ports.events import DeadLetters, Events, EventsCapability
from sfm_core.ports.storage import ApiKeys, FullText, Leases, Matching, Storage, StorageCapability, Vocabulary
from sfm_core.ports.vectors import LexicalVectors, Vectors, VectorsCapability

__all__ = ["CAPABILITIES", "missing_members", "protocols_of"]

CAPABILITIES: Mapping[Port, type[StrEnum]] = {
    Port.STORAGE: StorageCapability,
    Port.VECTORS: VectorsCapability,
    Port.CACHE: CacheCapability,
    Port.EVENTS: EventsCapability,
    Port.EMBEDDING: EmbeddingCapability,
}

_PORTS: Mapping[Port, type] = {
    Port.STORAGE: Storage,
    Port.VECTORS: Vectors,
    Port.CACHE: Cache,
    Port.EVENTS: Events,
}

# By port: members of two enums with equal values are equal keys.
_ABILITIES: Mapping[Port, Mapping[StrEnum, type]] = {
    Port.STORAGE: {
        StorageCapability.API_KEYS: ApiKeys,
        StorageCapability.FULL_TEXT: FullText,
        StorageCapability.LEASES: Leases,
        StorageCapability.MATCHING: Matching,
        StorageCapability.VOCABULARY: Vocabulary,
    },
    Port.VECTORS: {VectorsCapability.FULL_TEXT: LexicalVectors},
    Port.CACHE: {},
    Port.EVENTS: {EventsCapability.DEAD_LETTERS: DeadLetters},
    Port.EMBEDDING: {EmbeddingCapability.TEXTS: Embedding, EmbeddingCapability.WORDS: WordVectors},
}


def protocols_of(port: Port, capabilities: frozenset[StrEnum]) -> Iterator[tuple[str, type]]:
    """Yield what a backend of `port` with `capabilities` has to have: a name for it, and the Protocol."""
    if port in _PORTS:
        yield f"port {port}", _PORTS[port]
    for member, protocol in _ABILITIES[port].items():
        if member in capabilities:
            yield f"capability {member}", protocol


def _accepts(method: object, asked: object) -> bool:
    """Tell whether `method` (bound) takes the arguments that `asked` (a function of a Protocol) declares."""
    if not callable(method) or not callable(asked):
        return False
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):
        # Some callables of extension modules tell no signature.
        return True
    parameters = list(inspect.signature(asked).parameters.values())[1:]
    positional = [None for item in parameters if item.kind is not item.KEYWORD_ONLY]
    by_name = {item.name: None for item in parameters if item.kind is item.KEYWORD_ONLY}
    try:
        signature.bind(*positional, **by_name)
    except TypeError:
        return False
    return True


def missing_members(protocol: type, backend: object) -> list[str]:
    """Return the public members of `protocol` that `backend` lacks, or whose arguments it does not take."""
    missing = []
    for name, member in vars(protocol).items():
        if name.startswith("_"):
            continue
        value = getattr(backend, name, None)
        if value is None or (inspect.isfunction(member) and not _accepts(value, member)):
            missing.append(name)
    return missing
