"""The hooks. The registration hooks are called once, at start; the operation hooks once per operation when implemented.

A plugin module implements the hooks it has something for, marked with `hookimpl`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

from sfm_core.model.memory import Memory
from sfm_core.model.query import Answer, RecallQuery
from sfm_core.plugins.types import BackendSpec, PluginInfo

if TYPE_CHECKING:
    from sfm_core.services.principal import Principal

__all__ = ["PROJECT", "hookimpl", "hookspec"]

PROJECT = "sfm"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def sfm_plugin_info() -> PluginInfo:  # type: ignore[empty-body]
    """Say who the plugin is. Called once, first; required."""


@hookspec
def sfm_storage() -> Sequence[BackendSpec]:  # type: ignore[empty-body]
    """Return the storage backends of this plugin. Called once, at start."""


@hookspec
def sfm_vectors() -> Sequence[BackendSpec]:  # type: ignore[empty-body]
    """Return the vector search backends of this plugin. Called once, at start."""


@hookspec
def sfm_cache() -> Sequence[BackendSpec]:  # type: ignore[empty-body]
    """Return the cache backends of this plugin. Called once, at start."""


@hookspec
def sfm_events() -> Sequence[BackendSpec]:  # type: ignore[empty-body]
    """Return the event bus backends of this plugin. Called once, at start."""


@hookspec
def sfm_embedding() -> Sequence[BackendSpec]:  # type: ignore[empty-body]
    """Return the embedding backends (of texts or of words) of this plugin. Called once, at start."""


@hookspec
def sfm_remembering(memory: Memory, principal: Principal) -> Memory | None:
    """Called before a memory is stored (new, updated, restored or imported); may return another memory, or None for as is.

    Implementations run one after the other, each on the result of the one before. `id`, `namespace` and `version` must
    stay. Raising refuses the write: nothing is stored; a `SfmError` reaches the caller as it is, another exception as a
    `PluginError`.
    """


@hookspec
def sfm_remembered(memory: Memory, principal: Principal) -> None:
    """Called after a memory was acknowledged. An exception is logged and counted; the write stands."""


@hookspec
def sfm_recalling(query: RecallQuery, principal: Principal) -> RecallQuery | None:
    """Called before a recall; may return another query, or None for as is. Raising refuses the recall."""


@hookspec
def sfm_recalled(answer: Answer, principal: Principal) -> Answer | None:
    """Called with the answer of a recall; may return another answer (fewer hits), or None. Raising fails the recall."""


@hookspec
def sfm_forgetting(memory_ids: Sequence[str], principal: Principal, erase: bool) -> None:
    """Called before memories are deleted or erased. Raising refuses it: nothing is deleted (legal holds)."""
