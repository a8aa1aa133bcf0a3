"""Loads the plugins that a plan names: one typed facade over pluggy, with every check before anything is opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import pluggy

from sfm_core.config.convert import nearest
from sfm_core.errors import PluginError
from sfm_core.plugins import specs as hook_specs
from sfm_core.plugins.admission import Source, admit, cause
from sfm_core.plugins.discovery import Found, InstalledPlugin, check_core, find, installed
from sfm_core.plugins.hooks import OPERATION_HOOKS, Implementation, OperationHooks
from sfm_core.plugins.registry import LoadedPlugin, Registry
from sfm_core.plugins.specs import PROJECT
from sfm_core.plugins.types import BackendSpec, Slot

__all__ = ["PluginHost"]

_Admitted = tuple[LoadedPlugin, tuple[BackendSpec, ...]]


def _import(found: Found) -> Source:
    """Check the metadata of a named plugin, then import it."""
    source = Source(None, found.info)
    try:
        check_core(found.distribution)
    except PluginError as error:
        raise PluginError(f"{source.label}: {error}") from error
    try:
        return Source(found.entry.load(), found.info)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a foreign module may raise anything, SystemExit included; it is told by its name
        raise PluginError(f"{source.label}: cannot be imported, {cause(error)}") from error


def _resolve(name: str, candidates: Sequence[Found]) -> Source:
    """Return the one plugin called `name`, imported."""
    if not candidates:
        known = sorted({plugin.name for plugin in installed()})
        raise PluginError(
            f"plugin {name!r} is not installed (pip install sfm-plugin-{name}), installed: {', '.join(known) or 'none'}"
            f"{nearest(name, known)}"
        )
    if len(candidates) > 1:
        twice = " and ".join(f"{found.info.distribution} {found.info.version}" for found in candidates)
        raise PluginError(f"plugin {name!r} is registered twice, by the distributions {twice}: uninstall one of them")
    return _import(candidates[0])


def _refuse(gaps: Sequence[str]) -> None:
    if len(gaps) == 1:
        raise PluginError(gaps[0])
    if gaps:
        raise PluginError("\n".join([f"{len(gaps)} plugins cannot be used:", *(f"- {gap}" for gap in gaps)]))


def _repeated(admitted: Iterable[_Admitted]) -> list[str]:
    """Say which plugin names and which backends of a port come twice."""
    admitted = list(admitted)
    names = Counter(info.name for info, _ in admitted)
    gaps = [f"plugin {name!r} is handed in {count} times, allowed: once" for name, count in names.items() if count > 1]
    owners: dict[tuple[str, str], list[str]] = {}
    for info, specs in admitted:
        for spec in specs:
            owners.setdefault((spec.port, spec.name), []).append(info.name)
    for (port, backend), plugins in owners.items():
        if len(plugins) > 1 and names.total() == len(names):
            listed = " and ".join(repr(name) for name in plugins)
            gaps.append(
                f"the {port} backend {backend!r} is offered {len(plugins)} times, by plugin {listed}, allowed: once"
            )
    return gaps


def _operation_hooks(manager: pluggy.PluginManager, names: dict[str, str]) -> OperationHooks:
    """Put the implementations in the order in which pluggy would call them: last in its list first."""
    return OperationHooks(
        {
            hook: [
                Implementation(names[found.plugin_name], hook, found.function, found.argnames)
                for found in reversed(getattr(manager.hook, hook).get_hookimpls())
                if found.plugin_name in names
            ]
            for hook in OPERATION_HOOKS
        }
    )


class PluginHost:
    """Finds, checks and loads plugins. Hooks are registered with pluggy and called at start only."""

    def installed(self) -> tuple[InstalledPlugin, ...]:
        """Return every installed plugin by its metadata; nothing is imported."""
        return installed()

    def load(self, names: Iterable[str], *, objects: Sequence[object] = (), slots: Iterable[Slot] = ()) -> Registry:
        """Load the plugins that are named, and no other.

        Args:
            names: of entry points of the group `sfm.plugins`.
            objects: plugins that the program hands in (modules or instances). One stands in for the entry point of its
                name; all are loaded, named or not.
            slots: the places of the plan; each must find its backend here.

        Raises:
            PluginError: a plugin is missing, registered twice, broken, written for another core or plugin API, or not what
                it says, or a backend is missing; one message tells all of it, by name.
            CapabilityNotSupported: a backend does not declare what its place needs; tells all of it.
        """
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(hook_specs)
        gaps: list[str] = []
        # pluggy calls the last registered first: registering in reverse lets the first named run first.
        handed = self._admit(manager, [(f"object {i}", Source(item)) for i, item in enumerate(objects)], gaps)
        wanted = [name for name in dict.fromkeys(names) if name not in {info.name for info, _ in handed.values()}]
        named = self._admit(manager, self._named(wanted, gaps), gaps)
        admitted = {**named, **handed}
        gaps += _repeated(admitted.values())
        hooks = _operation_hooks(manager, {key: info.name for key, (info, _) in admitted.items()})
        registry = Registry(admitted.values(), hooks)
        slots = list(slots)
        _refuse([*gaps, *registry.gaps(slots)])
        registry.require(slots)
        return registry

    def _named(self, names: Sequence[str], gaps: list[str]) -> list[tuple[str, Source]]:
        candidates = find(frozenset(names)) if names else {}
        sources = []
        for name in names:
            try:
                sources.append((name, _resolve(name, candidates[name])))
            except PluginError as error:
                gaps.append(str(error))
        return sources

    def _admit(
        self, manager: pluggy.PluginManager, sources: Sequence[tuple[str, Source]], gaps: list[str]
    ) -> dict[str, _Admitted]:
        admitted: dict[str, _Admitted] = {}
        for key, source in reversed(sources):
            try:
                admitted[key] = admit(manager, key, source)
            except PluginError as error:
                gaps.append(str(error))
        return dict(reversed(admitted.items()))
