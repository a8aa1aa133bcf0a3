"""API keys: making, listing and revoking them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from sfm_core.config.secret import Secret
from sfm_core.errors import CapabilityNotSupported, Forbidden, InvalidInput, NotFound
from sfm_core.model.namespace import Scope, parse_scope
from sfm_core.model.times import parse_time, time_text
from sfm_core.ports.storage import ApiKey, ApiKeys
from sfm_core.services.authentication import Authentication, digest_of, new_token
from sfm_core.services.checks import check_count, check_one_of, check_text
from sfm_core.services.clock import Clock
from sfm_core.services.ids import check_id, new_id
from sfm_core.services.limits import Limits
from sfm_core.services.principal import Principal, Verb, verbs_of

__all__ = ["KeyInfo", "KeyPage", "Keys", "NewKey"]

_VERBS = tuple(verb.value for verb in Verb)
_MOST_NAMESPACES = 64
_AT_ONCE = 200


class KeyInfo(Struct, frozen=True, kw_only=True):
    """What may be told of an API key: everything but its secret.

    Attributes:
        id: the key's id, which is also in the key itself.
        name: what people call it; may be empty.
        namespaces: what it opens, each a namespace, a subtree "a/**" or "**" for all.
        verbs: what it may do there.
        created_at, expires_at, revoked_at: times; null for never.
    """

    id: str
    name: str
    namespaces: tuple[str, ...]
    verbs: tuple[Verb, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewKey(Struct, frozen=True):
    """A key that was just made, and the key itself, which nobody can ever read again."""

    info: KeyInfo
    key: Secret


class KeyPage(Struct, frozen=True):
    """A page of keys, oldest first; `next` is the cursor of the following page, null at the end."""

    items: tuple[KeyInfo, ...]
    next: str | None


class Keys:
    """Looks after the API keys. All of it needs the verb `admin` in every namespace of the key concerned.

    Args:
        store: where the keys are; None for a storage without API_KEYS.
        authentication: told what changes, so that it holds in this process at once.
        clock, limits: as everywhere.
    """

    def __init__(self, store: ApiKeys | None, authentication: Authentication, clock: Clock, limits: Limits) -> None:
        self._store = store
        self._authentication = authentication
        self._clock = clock
        self._limits = limits

    async def create(
        self, principal: Principal, *, name: str = "", namespaces: Any, verbs: Any, expires_at: Any = None
    ) -> NewKey:
        """Make a key.

        Args:
            principal: who asks; nobody hands out namespaces or verbs that they do not have, nor for longer than they have them.
            name: what people call it, up to `limits.text_length` characters.
            namespaces: 1 to 64 distinct ones: "a", "a/**" (a and all below), "**" (everything).
            verbs: at least one of read, write, forget, admin.
            expires_at: a time to come, from when on the key opens nothing; None for never.

        Raises:
            InvalidInput: naming the argument.
            Forbidden: it would open more than the principal may.
            CapabilityNotSupported: the storage keeps no keys.
        """
        principal.require_verb(Verb.ADMIN)
        now = self._clock()
        scopes = _scopes(namespaces)
        granted = _verbs(verbs)
        for scope in scopes:
            principal.require(Verb.ADMIN, scope)
        for verb in granted:
            if verb not in principal.verbs:
                raise Forbidden(f"principal {principal.name!r} may not {verb}, nor make a key that may")
        ends = None if expires_at is None else _to_come(expires_at, now)
        if principal.expires_at is not None and (ends is None or ends > principal.expires_at):
            until = time_text(principal.expires_at)
            raise Forbidden(f"principal {principal.name!r} ends at {until}, and may not make a key that ends later")
        id = new_id()
        token = new_token(id)
        key = ApiKey(
            id=id,
            name=name if name == "" else check_text(name, "name", longest=self._limits.text_length),
            digest=digest_of(token.reveal()),
            namespaces=tuple(map(str, scopes)),
            verbs=tuple(verb.value for verb in granted),
            created_at=now,
            expires_at=ends,
        )
        await self._keeping().add_api_key(key)
        self._authentication.made()
        return NewKey(_info(key), token)

    async def list(self, principal: Principal, *, limit: int = 100, cursor: str | None = None) -> KeyPage:
        """Return the keys whose every namespace the principal may administer, revoked and expired ones too, oldest first.

        Raises:
            InvalidInput: naming the argument.
            Forbidden: the principal may administer nothing.
            CapabilityNotSupported: the storage keeps no keys.
        """
        principal.require_verb(Verb.ADMIN)
        check_count(limit, "limit", low=1, high=self._limits.page)
        if cursor is not None:
            cursor = check_id(cursor, "cursor")
        store, found = self._keeping(), list[KeyInfo]()
        # One more than asked for tells whether there is a next page; many, because most may be none of the principal's.
        at_once = max(limit + 1, _AT_ONCE)
        while True:
            page = await store.api_keys(after=cursor, limit=at_once)
            found += (_info(key) for key in page if _administers(principal, key))
            if len(found) > limit:
                return KeyPage(tuple(found[:limit]), found[limit - 1].id)
            if len(page) < at_once:
                return KeyPage(tuple(found), None)
            cursor = page[-1].id

    async def revoke(self, principal: Principal, id: str) -> KeyInfo:
        """Revoke a key for ever: at once in this process, within `KEPT_SECONDS` in every other.

        One that is revoked already stays as it is. Keys that were made with it stay good.

        Raises:
            NotFound: there is none, or the principal may not administer it.
            Forbidden: the principal may administer nothing.
            CapabilityNotSupported: the storage keeps no keys.
        """
        principal.require_verb(Verb.ADMIN)
        id = check_id(id)
        store = self._keeping()
        key = await store.api_key(id)
        if key is None or not _administers(principal, key):
            raise NotFound(f"no API key {id}")
        try:
            revoked = await store.revoke_api_key(id, self._clock())
        finally:
            # Also when the answer got lost: it may be revoked.
            self._authentication.forget(id)
        assert revoked is not None, "keys are never removed"
        return _info(revoked)

    def _keeping(self) -> ApiKeys:
        if self._store is None:
            raise CapabilityNotSupported("SFM_STORAGE: the storage keeps no API keys (capability api_keys)")
        return self._store


def _scopes(value: Any) -> tuple[Scope, ...]:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= _MOST_NAMESPACES:
        raise InvalidInput.of("namespaces", value, f"a list of 1 to {_MOST_NAMESPACES} namespaces or subtrees")
    return tuple(dict.fromkeys(parse_scope(one, f"namespaces.{number}") for number, one in enumerate(value)))


def _verbs(value: Any) -> tuple[Verb, ...]:
    if not isinstance(value, list | tuple | set | frozenset) or not value:
        raise InvalidInput.of("verbs", value, f"a list of at least one of {', '.join(_VERBS)}")
    return verbs_of(check_one_of(one, f"verbs.{number}", _VERBS) for number, one in enumerate(value))


def _to_come(value: Any, now: datetime) -> datetime:
    time = parse_time(value, "expires_at")
    if time <= now:
        raise InvalidInput.of("expires_at", str(value), "a time to come")
    return time


def _administers(principal: Principal, key: ApiKey) -> bool:
    return all(principal.may(Verb.ADMIN, parse_scope(pattern)) for pattern in key.namespaces)


def _info(key: ApiKey) -> KeyInfo:
    return KeyInfo(
        id=key.id,
        name=key.name,
        namespaces=key.namespaces,
        verbs=verbs_of(key.verbs),
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
    )
