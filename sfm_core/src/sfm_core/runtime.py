"""Plan, load, open, wire: from settings to running services. One exit stack owns every lifecycle."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

from msgspec import Struct
from msgspec.structs import replace

from sfm_core.config.backends import plan_configs
from sfm_core.config.env import Environment
from sfm_core.config.modes import Plan, Role, make_plan
from sfm_core.config.paths import prepare_data_dir
from sfm_core.config.settings import Settings, load_settings, override_variables
from sfm_core.embed_function import EmbedFunction, FunctionEmbedding
from sfm_core.errors import BackendError, SfmError
from sfm_core.memory import AgentMemory
from sfm_core.plugins.host import PluginHost
from sfm_core.plugins.registry import Registry
from sfm_core.plugins.security import require_security
from sfm_core.plugins.types import OpenContext, Port
from sfm_core.ports.cache import Cache
from sfm_core.ports.embedding import Embedding, WordVectors
from sfm_core.ports.events import Events
from sfm_core.ports.storage import Storage
from sfm_core.ports.vectors import Space, Vectors
from sfm_core.services.principal import EVERYTHING, Principal
from sfm_core.services.wiring import Ports, Services, wire

__all__ = ["Runtime", "open_memory", "open_services"]


class Runtime(Struct, frozen=True):
    """What is open: the plan, what was loaded for it, the backends, and the services over them."""

    settings: Settings
    plan: Plan
    registry: Registry
    ports: Ports
    services: Services


@asynccontextmanager
async def open_services(
    *,
    settings: Mapping[str, object] | None = None,
    role: Role = Role.LIBRARY,
    plugins: Sequence[object] = (),
    embed: EmbedFunction | None = None,
    read_only: bool = False,
    create: bool | None = None,
    rebuild: bool = False,
) -> AsyncIterator[Runtime]:
    """Open every backend of the plan that environment and `settings` ask for, and the services over them.

    Args:
        settings: overrides, by variable name or field name (`sfm_core.config.settings.override_variables`).
        role: what opens it; a service opens cache and event bus too.
        plugins: plugin objects besides the installed ones.
        embed: a function that stands in for an embedding backend.
        read_only: open for inspection; nothing is created or migrated.
        create: whether schema may be created or migrated; None as the mode says.
        rebuild: open a vector index of another embedding too; the caller goes on with `Maintenance.reindex`.

    Raises:
        ConfigError, PluginError, CapabilityNotSupported: the plan cannot be carried out; nothing stays open.
        BackendError: a backend cannot be opened.
    """
    environment = Environment.read(override_variables(settings or {}))
    loaded = load_settings(environment)
    plan = make_plan(loaded, role, embed=embed is not None)
    if create is not None:
        plan = replace(plan, create_schema=create)
    registry = PluginHost().load(plan.plugins, objects=plugins, slots=plan.slots.values())
    configs = plan_configs(plan, registry, environment)
    require_security(plan, registry, configs)
    data_dir = None if plan.data_dir is None else prepare_data_dir(plan.data_dir)
    async with AsyncExitStack() as stack:
        opener = _Opener(stack, plan, registry, configs, data_dir, read_only, rebuild)
        ports = await opener.open_all(embed)
        services = wire(loaded, plan, registry, ports, read_only=read_only)
        stack.push_async_callback(services.close)
        if not rebuild:
            await services.start()
        yield Runtime(loaded, plan, registry, ports, services)


class _Opener:
    """Opens backends slot by slot on one exit stack."""

    def __init__(
        self,
        stack: AsyncExitStack,
        plan: Plan,
        registry: Registry,
        configs: Mapping[str, Any],
        data_dir: Path | None,
        read_only: bool,
        rebuild: bool,
    ) -> None:
        self._stack = stack
        self._plan = plan
        self._registry = registry
        self._configs = configs
        self._data_dir = data_dir
        self._read_only = read_only
        self._rebuild = rebuild

    async def open_all(self, embed: EmbedFunction | None) -> Ports:
        """Open storage first, and the embedding before the vector index, which must know its space."""
        storage = await self._open("storage")
        near_words = await self._open("near_words")
        embedding: Embedding | None
        if embed is not None:
            function = FunctionEmbedding(embed)
            await function.probe()
            embedding = function
        else:
            embedding = cast("Embedding | None", await self._open("embedding"))
        space = _space(embedding, self._plan)
        return Ports(
            storage=cast(Storage, storage),
            vectors=cast("Vectors | None", await self._open("vectors", space)),
            cache=cast("Cache | None", await self._open("cache")),
            events=cast("Events | None", await self._open("events")),
            embedding=embedding,
            near_words=cast("WordVectors | None", near_words),
            space=space,
        )

    async def _open(self, name: str, space: Space | None = None) -> object | None:
        slot = self._plan.slots.get(name)
        if slot is None:
            return None
        spec = self._registry.backend(slot.port, slot.backend)
        context = OpenContext(
            data_dir=self._data_dir,
            space=space if slot.port is Port.VECTORS else None,
            create=self._plan.create_schema,
            read_only=self._read_only,
            rebuild=self._rebuild,
        )
        try:
            opened = await self._stack.enter_async_context(spec.open(self._configs[name], context))
        except SfmError:
            raise
        except Exception as error:
            # Not the driver's text: it may hold a connection string.
            cause = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
            raise BackendError(f"{slot.plugin}/{slot.port}: cannot be opened, {type(error).__name__}{cause}") from error
        self._registry.verify(slot.port, slot.backend, opened)
        return cast(object, opened)


def _space(embedding: Embedding | None, plan: Plan) -> Space | None:
    """Return what the index holds; one that is asked for words as well is another one."""
    if embedding is None:
        return None
    words = "+words" if plan.lexical == "vectors" else ""
    return Space(embedding.dimension, embedding.fingerprint + words)


@asynccontextmanager
async def open_memory(
    *,
    mode: str | None = None,
    settings: Mapping[str, object] | None = None,
    embed: EmbedFunction | None = None,
    plugins: Sequence[object] = (),
    principal: Principal = EVERYTHING,
    reindex: bool = False,
) -> AsyncIterator[AgentMemory]:
    """Open a memory in this process: `async with open_memory() as memory`.

    Args:
        mode: development (the default: one durable file in the data directory), test, ...; overrides `MEMORY_MODE`.
        settings: overrides of the environment, by variable name or field name, e.g. `{"data_dir": "..."}`.
        embed: a plain function from a list of texts to a list of vectors; turns vector search on.
        plugins: plugin objects besides the installed ones.
        principal: who asks, by default one that may do everything.
        reindex: first throw the vector index away and embed everything anew: after a change of the embedding.

    Raises:
        ConfigError, PluginError, BackendError: it cannot be opened; nothing stays open and nothing was overwritten.
    """
    overrides = dict(settings or {})
    if mode is not None:
        overrides["mode"] = mode
    async with open_services(settings=overrides, plugins=plugins, embed=embed, rebuild=reindex) as runtime:
        if reindex:
            await runtime.services.maintenance.reindex(EVERYTHING)
        yield AgentMemory(runtime.services, principal)
