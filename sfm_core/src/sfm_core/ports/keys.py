"""Keeping API keys, as an optional ability of a storage: who may come in, and what for. Secrets are never kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

__all__ = ["ApiKey", "ApiKeys"]


class ApiKey(Struct, frozen=True, kw_only=True):
    """What is kept of an API key.

    Attributes:
        id: public; never given twice. Those made later sort behind those made before.
        name: what people call it.
        digest: SHA-256 of the whole key as it was handed out; the secret in it has at least 256 random bits.
        namespaces: what it opens, each a namespace or a subtree "a/**".
        verbs: what it may do there.
        created_at: when it was made.
        expires_at: from when on it opens nothing, None for never.
        revoked_at: when it was revoked, None when it was not.
    """

    id: str
    name: str
    digest: bytes
    namespaces: tuple[str, ...]
    verbs: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class ApiKeys(Protocol):
    """Capability API_KEYS: keeps API keys beside the memories.

    They are no memories: no change row, no namespace and no archive tells of them: test_api_keys_are_apart_from_memories.
    All processes on the store see the same ones at once: test_api_keys_hold_across_openings. They last as long as the store
    does: test_api_keys_last_as_their_storage_does. None is ever removed, so that an id stays taken.
    """

    async def add_api_key(self, key: ApiKey) -> None:
        """Keep a new key, durably where the storage is durable.

        Raises:
            Conflict: its id is taken, by a revoked key as well; the one that is there stays as it was:
                test_the_id_of_an_api_key_is_given_once.

        Proven by test_an_api_key_comes_back_equal.
        """
        ...

    async def api_key(self, id: str) -> ApiKey | None:
        """Return the key with `id`, revoked and expired ones too; None when there is none.

        Proven by test_an_api_key_comes_back_equal.
        """
        ...

    async def api_keys(self, *, after: str | None, limit: int) -> Sequence[ApiKey]:
        """Return at most `limit` keys by id (by code points), those above `after`, revoked and expired ones too.

        Proven by test_api_keys_are_paged_by_id.
        """
        ...

    async def revoke_api_key(self, id: str, at: datetime) -> ApiKey | None:
        """Mark a key as revoked at `at` and return it; one that is revoked already keeps its time. None for an unknown id.

        Proven by test_a_revoked_api_key_stays_revoked.
        """
        ...
