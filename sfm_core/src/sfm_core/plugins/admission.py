"""Takes one imported plugin in: registers its hooks with pluggy and calls those that say what it is and offers."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pluggy
from msgspec import Struct

from sfm_core.errors import PluginError
from sfm_core.plugins.checks import check_backends, check_info
from sfm_core.plugins.discovery import InstalledPlugin
from sfm_core.plugins.hooks import OPERATION_HOOKS
from sfm_core.plugins.registry import LoadedBackend, LoadedPlugin
from sfm_core.plugins.types import BackendSpec, PluginInfo, Port

__all__ = ["Source", "admit", "cause"]

_SHOWN = 300
_INFO = "sfm_plugin_info"
_PORTS = {f"sfm_{port}": port for port in Port}


class Source(Struct, frozen=True):
    """A plugin that was imported, or handed in by the program (`found` is None then)."""

    module: object
    found: InstalledPlugin | None = None

    @property
    def label(self) -> str:
        """How messages call it."""
        if self.found is None:
            name = getattr(self.module, "__name__", None) or type(self.module).__name__
            return f"plugin object {name!r}"
        return f"plugin {self.found.name!r} (distribution {self.found.distribution} {self.found.version})"


def cause(error: BaseException) -> str:
    """Return what an error at start was, in one bounded text."""
    return f"{type(error).__name__}: {error}"[:_SHOWN]


def _implementations(manager: pluggy.PluginManager, source: Source) -> dict[str, list[pluggy.HookImpl]]:
    """Return the plugin's implementations by hook, after refusing those that could not work."""
    found: dict[str, list[pluggy.HookImpl]] = {}
    for caller in manager.get_hookcallers(source.module) or ():
        for implementation in caller.get_hookimpls():
            if implementation.plugin is source.module:
                _refuse(caller, implementation)
                found.setdefault(caller.name, []).append(implementation)
    return found


def _refuse(caller: pluggy.HookCaller, implementation: pluggy.HookImpl) -> None:
    if caller.spec is None and not implementation.optionalhook:
        raise PluginError(f"there is no hook {caller.name}, allowed: {', '.join([_INFO, *_PORTS, *OPERATION_HOOKS])}")
    if implementation.wrapper or implementation.hookwrapper:
        raise PluginError(f"{caller.name} is a hook wrapper, allowed: a plain implementation")
    if inspect.iscoroutinefunction(implementation.function) or inspect.isgeneratorfunction(implementation.function):
        raise PluginError(f"{caller.name} is asynchronous or a generator, allowed: a plain function")


def _called(implementation: pluggy.HookImpl, hook: str) -> object:
    try:
        return implementation.function()
    except (Exception, SystemExit) as error:
        raise PluginError(f"{hook} raised {cause(error)}") from error


def _info(implementations: dict[str, list[pluggy.HookImpl]], name: str | None) -> PluginInfo:
    given = implementations.get(_INFO, [])
    if len(given) != 1:
        raise PluginError(f"it has {len(given)} implementations of {_INFO} marked with hookimpl, allowed: exactly one")
    return check_info(_called(given[0], _INFO), name)


def _specs(implementations: dict[str, list[pluggy.HookImpl]]) -> Iterator[BackendSpec]:
    for hook, port in _PORTS.items():
        for implementation in implementations.get(hook, ()):
            yield from check_backends(_called(implementation, hook), port)


def _admitted(manager: pluggy.PluginManager, key: str, source: Source) -> tuple[LoadedPlugin, tuple[BackendSpec, ...]]:
    if isinstance(source.module, type):
        raise PluginError("it is a class, allowed: a module or an instance")
    try:
        manager.register(source.module, name=key)
    except (Exception, SystemExit) as error:
        raise PluginError(f"its hooks cannot be registered, {cause(error)}") from error
    implementations = _implementations(manager, source)
    info = _info(implementations, source.found.name if source.found else None)
    specs = tuple(_specs(implementations))
    loaded = LoadedPlugin(
        name=info.name,
        distribution=source.found.distribution if source.found else None,
        version=source.found.version if source.found else info.version,
        api=info.api,
        summary=info.summary,
        backends=tuple(
            LoadedBackend(str(spec.port), spec.name, tuple(sorted(map(str, spec.capabilities))), str(spec.stability))
            for spec in specs
        ),
        hooks=tuple(hook for hook in OPERATION_HOOKS if hook in implementations),
    )
    return loaded, specs


def admit(manager: pluggy.PluginManager, key: str, source: Source) -> tuple[LoadedPlugin, tuple[BackendSpec, ...]]:
    """Register the plugin under `key` and return what it is and offers.

    Raises:
        PluginError: it is not what it must be; starts with the plugin's label.
    """
    try:
        return _admitted(manager, key, source)
    except PluginError as error:
        raise PluginError(f"{source.label}: {error}") from error.__cause__
