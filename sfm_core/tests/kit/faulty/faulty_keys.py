"""Storages whose API keys are wrong."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from msgspec.structs import replace
from register import Register

from sfm_core.ports.keys import ApiKey
from sfm_core.ports.writes import Put
from sfm_core.testing.build import put
from sfm_core.testing.refusals import NoApiKeysSuite
from sfm_core.testing.storage_keys import ApiKeysSuite
from sfm_inmemory.storage import InmemoryStorage

register = Register(globals())
FAULTS = register.faults


def fault(*tests: str) -> Any:
    return register.fault(ApiKeysSuite, *tests)


@fault("test_an_api_key_comes_back_equal")
class ForgetsTheExpiry(InmemoryStorage):
    async def add_api_key(self, key: ApiKey) -> None:
        await super().add_api_key(replace(key, expires_at=None))


@fault("test_an_api_key_comes_back_equal")
class JoinsPatternsByCommas(InmemoryStorage):
    async def add_api_key(self, key: ApiKey) -> None:
        await super().add_api_key(replace(key, namespaces=tuple(",".join(key.namespaces).split(","))))


@fault("test_an_api_key_comes_back_equal")
class FoldsIds(InmemoryStorage):
    async def api_key(self, id: str) -> ApiKey | None:
        return await super().api_key(id.strip().lower())


@fault("test_the_id_of_an_api_key_is_given_once")
class OverwritesKeys(InmemoryStorage):
    async def add_api_key(self, key: ApiKey) -> None:
        self._keys.pop(key.id, None)
        await super().add_api_key(key)


@fault("test_the_id_of_an_api_key_is_given_once")
class LooksBeforeItAdds(InmemoryStorage):
    async def add_api_key(self, key: ApiKey) -> None:
        free = key.id not in self._keys
        await asyncio.sleep(0)
        if free:
            self._keys.pop(key.id, None)
        await super().add_api_key(key)


@fault("test_api_keys_are_paged_by_id")
class PagesByAge(InmemoryStorage):
    async def api_keys(self, *, after: str | None, limit: int) -> list[ApiKey]:
        found = [key for key in self._keys.values() if after is None or key.id > after]
        return found[:limit]


@fault("test_api_keys_are_paged_by_id", "test_a_revoked_api_key_stays_revoked")
class HidesRevokedKeys(InmemoryStorage):
    async def api_keys(self, *, after: str | None, limit: int) -> list[ApiKey]:
        return [key for key in await super().api_keys(after=after, limit=limit) if key.revoked_at is None]


@fault("test_a_revoked_api_key_stays_revoked")
class RevokesAgain(InmemoryStorage):
    async def revoke_api_key(self, id: str, at: datetime) -> ApiKey | None:
        if id in self._keys:
            self._keys[id] = replace(self._keys[id], revoked_at=None)
        return await super().revoke_api_key(id, at)


@fault("test_a_revoked_api_key_stays_revoked")
class RevokesAll(InmemoryStorage):
    async def revoke_api_key(self, id: str, at: datetime) -> ApiKey | None:
        for other in self._keys:
            await super().revoke_api_key(other, at)
        return self._keys.get(id)


@fault("test_api_keys_are_apart_from_memories")
class KeepsKeysAsMemories(InmemoryStorage):
    async def add_api_key(self, key: ApiKey) -> None:
        write: Put = put(key.name, namespace="keys")
        await self.apply([write])
        await super().add_api_key(key)


fault("test_api_keys_hold_across_openings", "test_api_keys_last_as_their_storage_does")(InmemoryStorage)

register.fault(NoApiKeysSuite, "test_an_undeclared_ability_is_not_there")(InmemoryStorage)
