"""From an API key to the principal that it stands for, without asking the storage for every request."""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
import time
from collections.abc import Callable
from hashlib import sha256

from msgspec import Struct

from sfm_core.config.secret import Secret
from sfm_core.errors import BackendError, CapabilityNotSupported, Unauthenticated
from sfm_core.model.namespace import parse_scope
from sfm_core.ports.storage import ApiKey, ApiKeys
from sfm_core.services.clock import Clock
from sfm_core.services.principal import Principal, verbs_of

__all__ = ["KEPT_SECONDS", "Authentication", "digest_of", "new_token"]

KEPT_SECONDS = 5.0
"""How long a process goes by what it read of a key: another process's revocation takes effect after so long at most."""

_TOKEN = re.compile(r"sfm_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_[0-9a-f]{64}")
_MOST_KNOWN = 4096
_MOST_UNKNOWN = 1024
_REFUSED = "the API key is wrong, expired or revoked"


class _Known(Struct, frozen=True):
    """What was read of a key, and until when this process goes by it (in seconds of a clock that only rises)."""

    until: float
    digest: bytes
    principal: Principal
    revoked: bool


_NOBODY = Principal("", (), frozenset())


class Authentication:
    """Judges API keys. One that is right costs the storage one read every `KEPT_SECONDS`.

    What is kept is bounded: so many keys that are there, and apart from them so many ids that nobody has, whoever sends them.

    Args:
        store: where the keys are; None for a storage without API_KEYS.
        clock: what expiry is judged by.
        seconds: a clock that only rises.
    """

    def __init__(self, store: ApiKeys | None, clock: Clock, *, seconds: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._seconds = seconds
        self._known: dict[str, _Known] = {}
        self._unknown: dict[str, _Known] = {}
        self._forgotten = 0
        self._any = False

    @property
    def any_key(self) -> bool:
        """Whether a key is known to have been made, ever; revoked and expired ones count."""
        return self._any

    async def look(self) -> bool:
        """Ask the storage whether a key was ever made, unless that is known, and return `any_key`."""
        if not self._any and self._store is not None:
            self._any = bool(await self._store.api_keys(after=None, limit=1))
        return self._any

    async def authenticate(self, token: str) -> Principal:
        """Return the principal of the API key `token`; its name is the id of the key.

        Whether the id or the secret is wrong can be told neither by the error nor by the time that it takes.

        Raises:
            Unauthenticated: the key is malformed, unknown, wrong, expired or revoked.
            CapabilityNotSupported: the storage keeps no keys.
            BackendUnavailable: the storage has to be asked and does not answer.
        """
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise Unauthenticated(_REFUSED)
        known = await self._read(match[1])
        right = hmac.compare_digest(known.digest, digest_of(token))
        if not (right and self._opens(known)):
            raise Unauthenticated(_REFUSED)
        return known.principal

    async def ended(self, principal: Principal) -> None:
        """Return when the key of `principal` opens nothing any more, `KEPT_SECONDS` late at most: for long answers."""
        while True:
            await asyncio.sleep(KEPT_SECONDS)
            try:
                if not self._opens(await self._read(principal.name)):
                    return
            except BackendError:
                # Nothing is known of it now; what the answer needs of the storage it will not get either.
                continue

    def made(self) -> None:
        """Note that there is a key."""
        self._any = True

    def forget(self, id: str) -> None:
        """Go no longer by what was read of a key."""
        self._forgotten += 1
        self._known.pop(id, None)

    def _opens(self, known: _Known) -> bool:
        ends = known.principal.expires_at
        return not known.revoked and (ends is None or self._clock() < ends)

    async def _read(self, id: str) -> _Known:
        now = self._seconds()
        kept = self._known.get(id) or self._unknown.get(id)
        if kept is not None and now < kept.until:
            return kept
        if self._store is None:
            raise CapabilityNotSupported("SFM_STORAGE: the storage keeps no API keys (capability api_keys)")
        forgotten = self._forgotten
        key = await self._store.api_key(id)
        read = _nobody(now + KEPT_SECONDS) if key is None else _known(key, now + KEPT_SECONDS)
        # What was read while a key was revoked here may be of before.
        if forgotten == self._forgotten:
            self._known.pop(id, None)
            self._unknown.pop(id, None)
            _keep(*((self._unknown, _MOST_UNKNOWN) if key is None else (self._known, _MOST_KNOWN)), id, read)
        self._any = self._any or key is not None
        return read


def new_token(id: str) -> Secret:
    """Return a new API key with `id`, as it is handed out: `sfm_<id>_<secret>`, the secret 256 random bits."""
    return Secret(f"sfm_{id}_{secrets.token_hex(32)}")


def digest_of(token: str) -> bytes:
    """Return what is kept of an API key. A plain hash is enough: nobody can guess 256 random bits."""
    return sha256(token.encode()).digest()


def _known(key: ApiKey, until: float) -> _Known:
    scopes = tuple(parse_scope(pattern) for pattern in key.namespaces)
    principal = Principal(key.id, scopes, frozenset(verbs_of(key.verbs)), key.expires_at)
    return _Known(until, key.digest, principal, key.revoked_at is not None)


def _nobody(until: float) -> _Known:
    """Return what no secret fits."""
    return _Known(until, secrets.token_bytes(32), _NOBODY, revoked=True)


def _keep(table: dict[str, _Known], most: int, id: str, read: _Known) -> None:
    if len(table) >= most:
        del table[next(iter(table))]
    table[id] = read
