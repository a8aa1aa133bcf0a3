"""SomaFractalMemory: a durable memory for AI agents, assembled from exchangeable backends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sfm_core.memory import AgentMemory
    from sfm_core.model.filter import Filter
    from sfm_core.model.memory import Memory, NewMemory, Receipt
    from sfm_core.model.query import Answer, Hit, RecallQuery
    from sfm_core.runtime import open_memory
    from sfm_core.services.principal import Principal, Verb

__all__ = [
    "AgentMemory",
    "Answer",
    "Filter",
    "Hit",
    "Memory",
    "NewMemory",
    "Principal",
    "RecallQuery",
    "Receipt",
    "Verb",
    "open_memory",
]

_HOMES = {
    "AgentMemory": "sfm_core.memory",
    "Answer": "sfm_core.model.query",
    "Filter": "sfm_core.model.filter",
    "Hit": "sfm_core.model.query",
    "Memory": "sfm_core.model.memory",
    "NewMemory": "sfm_core.model.memory",
    "Principal": "sfm_core.services.principal",
    "RecallQuery": "sfm_core.model.query",
    "Receipt": "sfm_core.model.memory",
    "Verb": "sfm_core.services.principal",
    "open_memory": "sfm_core.runtime",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that importing the package stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
