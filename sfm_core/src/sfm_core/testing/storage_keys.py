"""Capability API_KEYS of a storage."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from hashlib import sha256
from typing import Any, Protocol

import pytest
from msgspec.structs import replace

from sfm_core.errors import Conflict
from sfm_core.model.namespace import ALL
from sfm_core.plugins.types import Port
from sfm_core.ports.keys import ApiKey, ApiKeys
from sfm_core.ports.storage import Storage, StorageCapability
from sfm_core.testing.build import NOW
from sfm_core.testing.opener import Opener
from sfm_core.testing.suite import Suite

__all__ = ["ApiKeysSuite"]

LATER = NOW + timedelta(days=30, microseconds=7)


class _Keeping(Storage, ApiKeys, Protocol):
    """A storage with API keys."""


def key(id: str, **fields: Any) -> ApiKey:
    """Return a key."""
    values = {
        "name": f"key {id}",
        "digest": sha256(id.encode()).digest(),
        "namespaces": ("acme/**",),
        "verbs": ("read",),
        "created_at": NOW,
    }
    return ApiKey(id=id, **{**values, **fields})


ODD = (
    key("0a", name="", namespaces=("**",), verbs=("admin", "forget", "read", "write"), expires_at=LATER),
    key("0b", name="\0\x01 'Ünïcode\" \U0001f511 {a,b}", namespaces=('a,b/"c"', "a\\b/**", "{}", "NULL", "ä/**")),
    key("0c", digest=bytes(range(224, 256)), created_at=NOW + timedelta(microseconds=1), revoked_at=LATER),
)


class ApiKeysSuite(Suite):
    """What a storage with API_KEYS must do."""

    port = Port.STORAGE
    capability = StorageCapability.API_KEYS

    async def test_an_api_key_comes_back_equal(self, backend: _Keeping) -> None:
        """Every field, whatever characters and bytes it holds; an id that nobody has, however alike, is nobody's."""
        for one in ODD:
            await backend.add_api_key(one)
        assert [await backend.api_key(one.id) for one in ODD] == list(ODD)
        assert [await backend.api_key(id) for id in ("0A", "0", "0a ", "", "%", "0_", "\0")] == [None] * 7

    async def test_the_id_of_an_api_key_is_given_once(self, backend: _Keeping) -> None:
        """Of racing keys with one id one is kept; a revoked one is not made good by adding it again."""
        rivals = [key("one", name=str(number)) for number in range(8)]
        outcomes = await asyncio.gather(*map(backend.add_api_key, rivals), return_exceptions=True)
        [kept] = [rival for rival, outcome in zip(rivals, outcomes, strict=True) if outcome is None]
        assert all(isinstance(outcome, Conflict) for outcome in outcomes if outcome is not None)
        assert await backend.api_key("one") == kept
        await backend.revoke_api_key("one", LATER)
        with pytest.raises(Conflict):
            await backend.add_api_key(key("one"))
        assert await backend.api_key("one") == replace(kept, revoked_at=LATER)

    async def test_api_keys_are_paged_by_id(self, backend: _Keeping) -> None:
        """By code points and not by when they came; pages join, and revoked ones are among them."""
        assert list(await backend.api_keys(after=None, limit=1)) == []
        names = ["b", "Z", "a", "zz", "0", "z", "a-", "ab"]
        for number, name in enumerate(names):
            await backend.add_api_key(key(name, created_at=NOW + timedelta(seconds=number)))
        await backend.revoke_api_key("a", LATER)
        joined: list[str] = []
        while page := await backend.api_keys(after=joined[-1] if joined else None, limit=3):
            assert len(page) <= 3
            joined += [one.id for one in page]
        assert joined == sorted(names)
        assert [one.id for one in await backend.api_keys(after="aa", limit=2)] == ["ab", "b"]

    async def test_a_revoked_api_key_stays_revoked(self, backend: _Keeping) -> None:
        """From the first time on; the others are as they were, and an unknown id is told."""
        for id in ("one", "two"):
            await backend.add_api_key(key(id))
        revoked = replace(key("one"), revoked_at=NOW)
        assert await backend.revoke_api_key("one", NOW) == revoked
        assert await backend.revoke_api_key("one", LATER) == revoked
        assert await backend.api_key("one") == revoked
        assert await backend.api_key("two") == key("two")
        assert await backend.revoke_api_key("three", NOW) is None
        assert [one.id for one in await backend.api_keys(after=None, limit=9)] == ["one", "two"]

    async def test_api_keys_are_apart_from_memories(self, backend: _Keeping) -> None:
        """The change log, the namespaces and the records do not tell of them."""
        await backend.add_api_key(key("one"))
        await backend.revoke_api_key("one", NOW)
        assert await backend.last_sequence() == 0
        assert list(await backend.changes(ALL, after=0, limit=10)) == []
        assert list(await backend.namespaces(ALL, now=NOW)) == []
        assert [batch async for batch in backend.scan(ALL, now=NOW) if batch] == []

    async def test_api_keys_hold_across_openings(self, opener: Opener) -> None:
        """Where two may be open on one store, what one adds or revokes the other sees at once."""
        first: _Keeping = await opener.open()
        second: _Keeping = await opener.open() if StorageCapability.SHARED in self.spec.capabilities else first
        assert await second.api_key("one") is None
        await first.add_api_key(key("one"))
        assert await second.api_key("one") == key("one")
        with pytest.raises(Conflict):
            await second.add_api_key(key("one", name="another"))
        await second.revoke_api_key("one", NOW)
        assert await first.api_key("one") == replace(key("one"), revoked_at=NOW)

    async def test_api_keys_last_as_their_storage_does(self, opener: Opener) -> None:
        """Over a close where the storage is durable; otherwise none is left."""
        backend: _Keeping = await opener.open()
        for id in ("one", "two"):
            await backend.add_api_key(key(id))
        await backend.revoke_api_key("two", LATER)
        backend = await opener.reopen()
        durable = StorageCapability.DURABLE in self.spec.capabilities
        kept = [key("one"), replace(key("two"), revoked_at=LATER)] if durable else []
        assert list(await backend.api_keys(after=None, limit=9)) == kept
