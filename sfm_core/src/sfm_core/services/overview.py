"""What is stored where, what is loaded, and what it can do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Struct

from sfm_core.plugins.registry import LoadedPlugin
from sfm_core.ports.storage import NamespaceStats, Storage
from sfm_core.services.changes import readable
from sfm_core.services.clock import Clock
from sfm_core.services.limits import Limits
from sfm_core.services.principal import Principal

__all__ = ["Capabilities", "Overview", "SlotCapabilities", "Stats"]


class Stats(Struct, frozen=True, kw_only=True):
    """Counts over all namespaces asked for; `indexed_sequence` tells how far the projections have come."""

    namespaces: int
    memories: int
    deleted: int
    versions: int
    links: int
    last_sequence: int
    indexed_sequence: int


class SlotCapabilities(Struct, frozen=True):
    """What fills a slot of the plan, and what it can do."""

    plugin: str
    backend: str
    capabilities: tuple[str, ...]


class Capabilities(Struct, frozen=True, kw_only=True):
    """The plan in force: mode, how indexing runs, each slot (None when empty), the arms of recall, and
    the limits. `lexical` names the slot that is asked for words."""

    mode: str
    indexing: str
    slots: dict[str, SlotCapabilities | None]
    arms: tuple[str, ...]
    lexical: str
    limits: Limits


class Overview:
    """Answers what there is."""

    def __init__(
        self,
        storage: Storage,
        capabilities: Capabilities,
        plugins: tuple[LoadedPlugin, ...],
        position: Callable[[int], Awaitable[int]],
        clock: Clock,
    ) -> None:
        """`position` gives, for the log's newest sequence, how far the projections have come; `clock` judges expiry."""
        self._storage = storage
        self._capabilities = capabilities
        self._plugins = plugins
        self._position = position
        self._clock = clock

    async def namespaces(self, principal: Principal, *, namespace: str | None = None) -> tuple[NamespaceStats, ...]:
        """Return the namespaces that hold anything, with counts: one, a subtree, or all that the principal may read."""
        now = self._clock()
        found: dict[str, NamespaceStats] = {}
        for scope in readable(principal, namespace):
            found |= {stats.namespace: stats for stats in await self._storage.namespaces(scope, now=now)}
        return tuple(found[name] for name in sorted(found))

    async def stats(self, principal: Principal, *, namespace: str | None = None) -> Stats:
        """Return the sums over the same namespaces."""
        found = await self.namespaces(principal, namespace=namespace)
        last = await self._storage.last_sequence()
        return Stats(
            namespaces=len(found),
            memories=sum(s.memories for s in found),
            deleted=sum(s.deleted for s in found),
            versions=sum(s.versions for s in found),
            links=sum(s.links for s in found),
            last_sequence=last,
            indexed_sequence=await self._position(last),
        )

    async def plugins(self, principal: Principal) -> tuple[LoadedPlugin, ...]:
        """Return what is loaded, from which distribution and version."""
        return self._plugins

    async def capabilities(self, principal: Principal) -> Capabilities:
        """Return the plan in force and what it can do."""
        return self._capabilities
