"""The loaded plugins and what they offer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from sfm_core.errors import CapabilityNotSupported, PluginError
from sfm_core.plugins.contracts import missing_members, protocols_of
from sfm_core.plugins.hooks import OperationHooks
from sfm_core.plugins.types import BackendSpec, Port, Slot

__all__ = ["LoadedBackend", "LoadedPlugin", "Registry"]


class LoadedBackend(Struct, frozen=True):
    """A backend that a loaded plugin offers, opened or not."""

    port: str
    name: str
    capabilities: tuple[str, ...]
    stability: str


class LoadedPlugin(Struct, frozen=True, kw_only=True):
    """A plugin in use. `distribution` is None for one that the program handed in; `hooks` names its operation hooks."""

    name: str
    distribution: str | None
    version: str
    api: str
    summary: str
    backends: tuple[LoadedBackend, ...]
    hooks: tuple[str, ...] = ()


class Registry:
    """Backends by port and name.

    Attributes:
        infos: the loaded plugins, in the order of the plan.
        hooks: their operation hooks.
    """

    def __init__(
        self, plugins: Iterable[tuple[LoadedPlugin, Sequence[BackendSpec]]] = (), hooks: OperationHooks | None = None
    ) -> None:
        listed = list(plugins)
        self.infos = tuple(info for info, _ in listed)
        self.hooks = hooks or OperationHooks()
        self._specs = {info.name: tuple(specs) for info, specs in listed}
        self._backends = {(spec.port, spec.name): (info.name, spec) for info, specs in listed for spec in specs}

    def specs(self, plugin: str) -> tuple[BackendSpec, ...]:
        """Return the backends of a loaded plugin, () for another."""
        return self._specs.get(plugin, ())

    def _find(self, port: Port, name: str) -> tuple[str, BackendSpec]:
        found = self._backends.get((port, name))
        if found is None:
            known = sorted(backend for kind, backend in self._backends if kind is port)
            raise PluginError(f"no loaded plugin has a {port} backend {name!r}, known: {', '.join(known) or 'none'}")
        return found

    def backend(self, port: Port, name: str) -> BackendSpec:
        """Return the backend called `name`.

        Raises:
            PluginError: no loaded plugin offers it; lists those of the port.
        """
        return self._find(port, name)[1]

    def plugin_of(self, port: Port, name: str) -> str:
        """Return the name of the plugin that offers the backend.

        Raises:
            PluginError: no loaded plugin offers it.
        """
        return self._find(port, name)[0]

    def gaps(self, slots: Iterable[Slot]) -> list[str]:
        """Say which slots name a backend that their plugin, which is loaded, does not offer."""
        problems = []
        for slot in slots:
            if slot.plugin in self._specs and self._backends.get((slot.port, slot.backend), ("",))[0] != slot.plugin:
                offered = [f"{spec.port} {spec.name!r}" for spec in self._specs[slot.plugin]]
                problems.append(
                    f"plugin {slot.plugin!r} has no {slot.port} backend {slot.backend!r} (for SFM_{slot.name.upper()}), "
                    f"it has: {', '.join(offered) or 'no backend'}"
                )
        return problems

    def require(self, slots: Iterable[Slot]) -> None:
        """Compare what each slot needs with what its backend declares.

        Raises:
            CapabilityNotSupported: something is missing; names all of it.
        """
        problems = []
        for slot in slots:
            lacking = sorted(slot.needs - self.backend(slot.port, slot.backend).capabilities)
            if lacking:
                problems.append(
                    f"{slot.plugin}/{slot.port}: backend {slot.backend!r} lacks {', '.join(lacking)}, which this plan needs of "
                    f"SFM_{slot.name.upper()}"
                )
        if problems:
            raise CapabilityNotSupported("; ".join(problems))

    def verify(self, port: Port, name: str, opened: object) -> None:
        """Check that an opened backend has the methods of its port and of the capabilities it declares.

        Raises:
            PluginError: it lacks some; names plugin, capability and methods.
        """
        plugin, spec = self._find(port, name)
        for what, protocol in protocols_of(port, spec.capabilities):
            missing = missing_members(protocol, opened)
            if missing:
                raise PluginError(
                    f"plugin {plugin!r}: the {port} backend {name!r} declares {what} and has no usable {', '.join(missing)}"
                )
