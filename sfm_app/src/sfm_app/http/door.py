"""Who may come in: whether API keys are asked for, and whose key a request shows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from sfm_app.http.hosts import require_loopback
from sfm_app.observability.logs import get_logger
from sfm_core.errors import BackendError, Unauthenticated
from sfm_core.runtime import Runtime
from sfm_core.services.authentication import KEPT_SECONDS, Authentication
from sfm_core.services.principal import Principal

__all__ = ["Door", "door_of"]

_HEADER = b"authorization"
_SCHEME = "bearer"
_OURS = b"bearer sfm_"


class Door:
    """Asks for API keys always, never, or (None) from the moment on that one was made.

    Args:
        authentication: judges keys.
        required: as in `Plan.require_keys`.
        host: where the service listens.
    """

    def __init__(self, authentication: Authentication, required: bool | None, host: str) -> None:
        self._authentication = authentication
        self._required = required
        self._host = host

    @property
    def demands(self) -> bool:
        """Whether every request must show a key now."""
        return self._authentication.any_key if self._required is None else self._required

    async def open(self) -> None:
        """Look whether keys are to be asked for, and say in the log what holds. Called before anything listens.

        Raises:
            ConfigError: the service would ask nobody for a key, and others can reach its address.
            BackendUnavailable: the storage does not answer.
        """
        made = await self._authentication.look()
        log = get_logger()
        if not self.demands:
            require_loopback(self._host)
            log.info("no API key is asked for: only this machine is answered, and may do everything", host=self._host)
        elif made:
            log.info("API keys are asked for", host=self._host)
        else:
            log.warning("API keys are asked for, and none was made yet: `sfm keys create` makes one", host=self._host)

    async def watch(self) -> None:
        """Notice within `KEPT_SECONDS` that another process made the first key; never returns."""
        while not self.demands and self._required is None:
            await asyncio.sleep(KEPT_SECONDS)
            with suppress(BackendError):
                await self._authentication.look()
        await asyncio.Event().wait()

    def is_shown_a_key(self, headers: Mapping[bytes, bytes]) -> bool:
        """Tell whether a request shows a key of ours; one that is shown counts, asked for or not."""
        given = headers.get(_HEADER)
        return given is not None and given[: len(_OURS)].lower() == _OURS

    async def admit(self, headers: Mapping[bytes, bytes]) -> Principal:
        """Return who shows the key in `Authorization: Bearer`.

        Raises:
            Unauthenticated: there is none, or it opens nothing.
            BackendUnavailable: the storage has to be asked and does not answer.
        """
        scheme, _, token = headers.get(_HEADER, b"").decode("latin-1").partition(" ")
        if scheme.lower() != _SCHEME or not token.strip():
            raise Unauthenticated("Authorization: got no API key, allowed: `Bearer sfm_<key id>_<secret>`")
        return await self._authentication.authenticate(token.strip())


def door_of(runtime: Runtime) -> Door:
    """Return the door of the service over what `runtime` has opened."""
    return Door(runtime.services.authentication, runtime.plan.require_keys, runtime.settings.host)
