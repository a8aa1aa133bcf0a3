"""Whether what a plugin's registration hooks return is what they promise."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, structs

from sfm_core.errors import PluginError, shown
from sfm_core.plugins.contracts import CAPABILITIES
from sfm_core.plugins.types import API_VERSION, BackendSpec, PluginInfo, Port, Stability

__all__ = ["ALLOWED_NAME", "NAME", "RESERVED", "check_backends", "check_info"]

NAME = re.compile(r"[a-z][a-z0-9_-]*")
RESERVED = frozenset({"app", "core", "limits", "none"})
"""`sfm_app` and `sfm_core` are packages, `SFM_LIMITS__...` are settings of the core, and `none` empties a slot."""
ALLOWED_NAME = f"lower-case letters, digits, - and _, after a letter; not {', '.join(sorted(RESERVED))}"


def check_info(result: object, name: str | None) -> PluginInfo:
    """Return what `sfm_plugin_info` gave, when it can be believed.

    Args:
        result: what it gave.
        name: the entry point's name, None for a plugin that the program handed in.

    Raises:
        PluginError: it is no `PluginInfo`, the name is another, or the plugin API's major number is.
    """
    if not isinstance(result, PluginInfo):
        raise PluginError(f"sfm_plugin_info returned a {type(result).__name__}, allowed: a PluginInfo")
    for field in structs.fields(PluginInfo):
        if not isinstance(getattr(result, field.name), str):
            raise PluginError(f"sfm_plugin_info: {field.name} is {shown(getattr(result, field.name))}, allowed: a text")
    if not NAME.fullmatch(result.name) or result.name in RESERVED:
        raise PluginError(f"sfm_plugin_info: name is {result.name!r}, allowed: {ALLOWED_NAME}")
    if name is not None and result.name != name:
        raise PluginError(f"sfm_plugin_info: name is {result.name!r}, allowed: the entry point's name {name!r}")
    if result.api.partition(".")[0] != API_VERSION.partition(".")[0]:
        raise PluginError(
            f"it is written for plugin API {result.api!r}, allowed: {API_VERSION}, where the first number must be equal"
        )
    return result


def check_backends(result: object, port: Port) -> tuple[BackendSpec, ...]:
    """Return what the hook of `port` gave, when every backend is well formed.

    Raises:
        PluginError: it is no sequence of `BackendSpec`s, or some are not as they must be; all faults in one message.
    """
    if not isinstance(result, Sequence) or not all(isinstance(spec, BackendSpec) for spec in result):
        raise PluginError(f"sfm_{port} returned {_described(result)}, allowed: a sequence of BackendSpec")
    faults = [f"sfm_{port}: backend {shown(spec.name)}: {fault}" for spec in result for fault in _faults(spec, port)]
    if faults:
        raise PluginError("; ".join(faults))
    return tuple(result)


def _described(result: object) -> str:
    if isinstance(result, Sequence) and not isinstance(result, str):
        return f"a {type(result).__name__} of {', '.join(sorted({type(item).__name__ for item in result}))}"
    return f"a {type(result).__name__}"


def _faults(spec: Any, port: Port) -> Iterator[str]:
    if spec.port is not port:
        yield f"port is {shown(spec.port)}, allowed: {port}"
    if not isinstance(spec.name, str) or not NAME.fullmatch(spec.name) or spec.name in RESERVED:
        yield f"name, allowed: {ALLOWED_NAME}"
    if not callable(spec.open):
        yield f"open is {shown(spec.open)}, allowed: a function of config and context"
    if not isinstance(spec.stability, Stability):
        yield f"stability is {shown(spec.stability)}, allowed: a member of Stability"
    yield from _capability_faults(spec, port)
    yield from _config_faults(spec.config, spec.env)


def _capability_faults(spec: Any, port: Port) -> Iterator[str]:
    kind = CAPABILITIES[port]
    if not isinstance(spec.capabilities, frozenset):
        yield f"capabilities is a {type(spec.capabilities).__name__}, allowed: a frozenset"
        return
    strange = [
        shown(item) if type(item) is str else str(item) for item in spec.capabilities if not isinstance(item, kind)
    ]
    if strange:
        yield f"capabilities holds {', '.join(sorted(strange))}, allowed: members of {kind.__name__}"
    if port is Port.EMBEDDING and not spec.capabilities:
        yield "capabilities is empty, allowed: at least one of texts and words"


def _config_faults(config: Any, env: object) -> Iterator[str]:
    if not isinstance(config, type) or not issubclass(config, Struct):
        yield "config is not a type of msgspec.Struct"
        return
    settings = config.__struct_config__
    if not settings.frozen or not settings.forbid_unknown_fields:
        yield f"config {config.__name__} must be declared with frozen=True and forbid_unknown_fields=True"
    fields = {field.name for field in structs.fields(config)}
    if not isinstance(env, Mapping):
        yield f"env is a {type(env).__name__}, allowed: a mapping"
        return
    listed = ", ".join(sorted(fields)) or "none"
    for name, field in env.items():
        if field not in fields:
            yield f"env {name} fills {shown(field)}, allowed: a field of {config.__name__}: {listed}"
