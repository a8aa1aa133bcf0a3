"""The configuration of plugins: from `SFM_<PLUGIN>__<FIELD>` and the well-known names into each backend's own Struct."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import structs

from sfm_core.config.convert import allowed, nearest, read_field, refuse
from sfm_core.config.env import Environment
from sfm_core.config.modes import Plan
from sfm_core.config.settings import PREFIX
from sfm_core.errors import ConfigError
from sfm_core.plugins.discovery import installed
from sfm_core.plugins.registry import Registry
from sfm_core.plugins.types import BackendSpec

__all__ = ["plan_configs", "plugin_config", "plugin_prefix"]

_FILE = "_FILE"


def plugin_prefix(plugin: str) -> str:
    """Return what the variables of `plugin` start with: `SFM_<PLUGIN>__`."""
    return f"{PREFIX}{plugin.upper().replace('-', '_')}__"


def _config(plugin: str, spec: BackendSpec, environment: Environment, problems: list[str]) -> Any:
    """Return the configuration, or None after adding to `problems`."""
    values: dict[str, Any] = {}
    before = len(problems)
    for field in structs.fields(spec.config):
        own = plugin_prefix(plugin) + field.name.upper()
        known = [name for name, target in spec.env.items() if target == field.name]
        try:
            value = read_field(environment, own, field.type)
            for name in known:
                if value is msgspec.UNSET:
                    value = read_field(environment, name, field.type, from_file=True)
        except ConfigError as error:
            problems.append(str(error))
            continue
        if value is not msgspec.UNSET:
            values[field.name] = value
        elif field.required:
            names = " or ".join([own, *known])
            problems.append(f"{names}: not set, allowed: {allowed(field.type)}; {plugin}/{spec.port} needs it")
    if len(problems) > before:
        return None
    try:
        return spec.config(**values)
    except (TypeError, ValueError) as error:
        problems.append(f"{plugin_prefix(plugin)}*: {error}")
        return None


def plugin_config(plugin: str, spec: BackendSpec, environment: Environment) -> Any:
    """Return the configuration of one backend.

    A field comes from `SFM_<PLUGIN>__<FIELD>`, else from a well-known variable that the backend declares, else it has its
    default. A `Secret` field and a well-known variable may come from a file (`<NAME>_FILE`).

    Args:
        plugin: the plugin's name.
        spec: its backend.
        environment: the variables.

    Raises:
        ConfigError: values that cannot be used and required ones that are missing, all in one message.
    """
    problems: list[str] = []
    config = _config(plugin, spec, environment, problems)
    refuse(problems)
    return config


def _fields(specs: Iterable[BackendSpec]) -> set[str]:
    return {field.name for spec in specs for field in structs.fields(spec.config)}


def _unknown(environment: Environment, registry: Registry) -> Iterator[str]:
    """Say which `SFM_...__...` variables belong to no installed plugin, or to no field of a loaded one."""
    loaded = {plugin_prefix(info.name): registry.specs(info.name) for info in registry.infos}
    others: set[str] | None = None
    for name in environment:
        prefix = name[: name.find("__") + 2]
        if "__" not in name or not name.startswith(PREFIX) or prefix == PREFIX + "LIMITS__":
            continue
        if prefix in loaded:
            known = {prefix + field.upper() for field in _fields(loaded[prefix])}
            if name not in known and name.removesuffix(_FILE) not in known:
                listed = ", ".join(sorted(known)) or "none, it has no settings"
                yield f"{name}: no such setting, allowed: {listed}{nearest(name, known)}"
            continue
        if others is None:
            others = {plugin_prefix(plugin.name) for plugin in installed()}
        if prefix not in others:
            yield f"{name}: no plugin of that name is installed{nearest(prefix, [*loaded, *others])}"


def plan_configs(plan: Plan, registry: Registry, environment: Environment) -> dict[str, Any]:
    """Return the configuration of the backend in each filled slot of `plan`, by slot.

    Raises:
        ConfigError: values that cannot be used, required ones that are missing, and variables of plugins that nothing
            declares, all in one message. Variables of a plugin that is installed and not loaded are passed over.
    """
    problems = list(_unknown(environment, registry))
    configs = {
        slot.name: _config(slot.plugin, registry.backend(slot.port, slot.backend), environment, problems)
        for slot in plan.slots.values()
    }
    # Two slots of one plugin find the same faults.
    refuse(list(dict.fromkeys(problems)))
    return configs
