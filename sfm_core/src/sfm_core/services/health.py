"""Readiness: does every backend answer now?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Literal, Protocol

from msgspec import Struct

from sfm_core.errors import SfmError

__all__ = ["BackendState", "Checked", "Health", "Readiness"]

_TIMEOUT = 2.0


class _Checkable(Protocol):
    async def check(self) -> None: ...


class Checked(Struct, frozen=True):
    """A backend to ask: its port, whether the service is useless without it, and the backend itself."""

    port: str
    required: bool
    backend: _Checkable


class BackendState(Struct, frozen=True, kw_only=True):
    """Whether a backend answered, and if not why."""

    port: str
    required: bool
    state: Literal["up", "down"]
    detail: str = ""


class Readiness(Struct, frozen=True):
    """`ready` when every required backend is up; the state of each by name (`port:backend`)."""

    status: Literal["ready", "unavailable"]
    backends: dict[str, BackendState]


class Health:
    """Asks every backend whether it answers, all at once, at most two seconds each."""

    def __init__(self, backends: Mapping[str, Checked]) -> None:
        self._backends = dict(backends)

    async def ready(self) -> Readiness:
        """Return the state of every backend."""
        states = await asyncio.gather(*(self._state(checked) for checked in self._backends.values()))
        named = dict(zip(self._backends, states, strict=True))
        down = any(s.required and s.state == "down" for s in states)
        return Readiness("unavailable" if down else "ready", named)

    async def _state(self, checked: Checked) -> BackendState:
        detail = ""
        try:
            async with asyncio.timeout(_TIMEOUT):
                await checked.backend.check()
        except TimeoutError:
            detail = f"no answer within {_TIMEOUT:g} s"
        except SfmError as error:
            detail = str(error)
        return BackendState(
            port=checked.port, required=checked.required, state="down" if detail else "up", detail=detail
        )
