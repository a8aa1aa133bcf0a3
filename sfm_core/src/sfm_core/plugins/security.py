"""What a mode demands of the way to every server: TLS, and credentials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sfm_core.config.modes import Plan
from sfm_core.errors import ConfigError
from sfm_core.plugins.registry import Registry
from sfm_core.plugins.types import Security

__all__ = ["require_security"]


def require_security(plan: Plan, registry: Registry, configs: Mapping[str, Any]) -> None:
    """Compare what the plan's mode demands with how each backend is configured, before any is opened.

    Args:
        plan: says what is demanded.
        registry: has the plan's backends.
        configs: their configurations, by slot.

    Raises:
        ConfigError: some server would be spoken to without TLS or credentials; names every setting at fault.
    """
    gaps = list(_gaps(plan, registry, configs))
    if gaps:
        raise ConfigError(f"mode {plan.mode} demands TLS and credentials for every server: {'; '.join(gaps)}")


def _gaps(plan: Plan, registry: Registry, configs: Mapping[str, Any]) -> Iterator[str]:
    for name, slot in plan.slots.items():
        spec = registry.backend(slot.port, slot.backend)
        found = Security() if spec.security is None else spec.security(configs[name])
        if plan.require_tls and found.tls is not None:
            yield found.tls
        if plan.require_credentials and found.credentials is not None:
            yield found.credentials
