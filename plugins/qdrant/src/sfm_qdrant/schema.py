"""Making and recognising collections: the alias, its collection, the payload indexes and the point that tells the space."""

from __future__ import annotations

import asyncio
import re
import warnings
from typing import Any

from qdrant_client import AsyncQdrantClient, models

from sfm_core.errors import BackendUnavailable, ConfigError
from sfm_core.plugins.types import OpenContext
from sfm_core.ports.vectors import Space
from sfm_qdrant.config import QdrantConfig
from sfm_qdrant.engine import DENSE, Row
from sfm_qdrant.failures import Silent, translated
from sfm_qdrant.layout import MARK_ID, another_space, generation, mark, name_for, not_ours, space_in, too_old
from sfm_qdrant.payload import INDEXES
from sfm_qdrant.requests import collection, index_schema, point_of

__all__ = ["Schema"]

_OLDEST = (1, 12)
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)
_NUMBERS = re.compile(r"v?(\d+)\.(\d+)")


def _read(told: str) -> tuple[int, int]:
    found = _NUMBERS.match(told)
    return (int(found[1]), int(found[2])) if found else (0, 0)


class Schema:
    """What must be on the server before the first point."""

    def __init__(self, client: AsyncQdrantClient, config: QdrantConfig, context: OpenContext) -> None:
        self._client = client
        self._config = config
        self._alias = config.collection
        self._context = context
        self._space = context.space

    async def meet(self) -> tuple[int, int]:
        """Compare, and create what is missing where that is allowed; return the server's version.

        A collection that is there is never dropped or changed, except that missing payload indexes are added.

        Raises:
            ConfigError: as `RemoteEngine.meet`.
        """
        version = await self._server_version()
        target = await self._target()
        if target is None:
            await self._create(version)
        else:
            await self._recognise(target, version)
        return version

    async def replace(self, space: Space | None) -> None:
        """Put a new, empty collection of `space` behind the alias; drop what was behind it."""
        old = await self._target()
        new = generation(self._alias, space)
        await self._build(new, space, await self._server_version())
        await self._point_to(new, replaces=old is not None)
        self._space = space
        if old is not None and old.startswith(f"{self._alias}-"):
            await self._client.delete_collection(old)

    async def _server_version(self) -> tuple[int, int]:
        told = (await self._client.info()).version
        version = _read(told)
        if version < _OLDEST:
            raise too_old(told)
        return version

    async def _target(self) -> str | None:
        aliases = (await self._client.get_aliases()).aliases
        return next((known.collection_name for known in aliases if known.alias_name == self._alias), None)

    async def _create(self, version: tuple[int, int]) -> None:
        if await self._client.collection_exists(self._alias):
            raise not_ours(self._alias)
        if not self._context.create:
            raise ConfigError(f"qdrant/vectors: there is no index {self._alias!r}; `sfm migrate` creates it")
        # The same name for all who come first together: they build one collection, not one each.
        name = name_for(self._alias, self._space)
        await self._build(name, self._space, version)
        await self._point_to(name, replaces=False)

    async def _build(self, name: str, space: Space | None, version: tuple[int, int]) -> None:
        if not await self._client.collection_exists(name):
            try:
                made = collection(space, shards=self._config.shards, replicas=self._config.replicas)
                await self._client.create_collection(name, **made)
            except Exception:
                if not await self._client.collection_exists(name):
                    raise
        await self._check_size(name, space)
        await self._add_indexes(name, set(INDEXES), version)
        told = Row(MARK_ID, 1, mark(space))
        await self._client.upsert(name, [point_of(told)], wait=True)

    async def _add_indexes(self, name: str, missing: set[str], version: tuple[int, int]) -> None:
        with warnings.catch_warnings():
            # The client's local mode says that it has no indexes.
            warnings.simplefilter("ignore")
            for key, kind in INDEXES.items():
                if key in missing:
                    schema: Any = index_schema(kind, version)
                    await self._client.create_payload_index(name, key, field_schema=schema, wait=True)

    async def _point_to(self, name: str, *, replaces: bool) -> None:
        create = models.CreateAlias(collection_name=name, alias_name=self._alias)
        operations: list[Any] = [models.CreateAliasOperation(create_alias=create)]
        if replaces:
            delete = models.DeleteAlias(alias_name=self._alias)
            operations.insert(0, models.DeleteAliasOperation(delete_alias=delete))
        await self._client.update_collection_aliases(operations)

    async def _recognise(self, target: str, version: tuple[int, int]) -> None:
        records = await self._client.retrieve(target, [MARK_ID], with_payload=True)
        if not records:
            raise not_ours(self._alias)
        if self._context.rebuild:
            return
        found = space_in(records[0].payload or {})
        if found != self._space:
            raise another_space(self._alias, found, self._space)
        info = await self._check_size(target, self._space)
        if self._context.create and not self._context.read_only:
            await self._add_indexes(target, set(INDEXES) - set(info.payload_schema or {}), version)

    async def _check_size(self, name: str, space: Space | None) -> models.CollectionInfo:
        info = await self._info(name)
        dense = info.config.params.vectors
        params = dense.get(DENSE) if isinstance(dense, dict) else None
        size = 0 if params is None else params.size
        if size != (0 if space is None else space.dimension):
            fingerprint = "" if space is None else space.fingerprint
            raise another_space(self._alias, Space(size, fingerprint) if size else None, space)
        return info

    async def _info(self, name: str) -> models.CollectionInfo:
        """Return what a collection is; one that another opening is making is there for a moment before it can answer."""
        for pause in _PAUSES:
            try:
                return await self._client.get_collection(name)
            except Exception as error:
                known = translated(error)
                if isinstance(known, Silent) or not isinstance(known, BackendUnavailable):
                    raise
            await asyncio.sleep(pause)
        return await self._client.get_collection(name)
