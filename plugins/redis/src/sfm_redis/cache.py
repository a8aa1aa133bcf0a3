"""The cache port on one Redis or Valkey server."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TypeVar

from sfm_core.errors import BackendError, BackendUnavailable, ConfigError
from sfm_redis.config import RedisConfig
from sfm_redis.link import Command, Link

__all__ = ["RedisCache", "open_cache"]

_log = logging.getLogger("sfm.redis")

_KEYS_A_REQUEST = 256
_BYTES_A_REQUEST = 2**20
_LONGEST_KEY = 200
_SCANNED = 1000

_T = TypeVar("_T")


class RedisCache:
    """Values and counters under the prefix of the configuration; every key lives for a limited time.

    Many keys are asked for in several requests, each with the whole time limit, so that no request holds up the server for
    long. Between two of them others may write: only what is said of one key is atomic.
    """

    def __init__(self, link: Link, prefix: str) -> None:
        self._link = link
        self._prefix = prefix

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of `keys`, None for unknown and expired ones. A counter is read as its decimal digits."""
        values: list[bytes | None] = []
        for part in _parts(keys):
            values += await self._link.ask("MGET", *map(self._key, part))
        return values

    async def set(self, values: Mapping[str, bytes], *, ttl: float) -> None:
        """Store `values` for `ttl` seconds."""
        await self._store(values, "PX", _milliseconds(ttl))

    async def add(self, values: Mapping[str, bytes], *, ttl: float) -> None:
        """Store those of `values` whose key holds none, for `ttl` seconds."""
        await self._store(values, "PX", _milliseconds(ttl), "NX")

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove `keys`."""
        for part in _parts(keys):
            await self._link.ask("UNLINK", *map(self._key, part))

    async def increment(self, key: str, *, ttl: float, by: int = 1) -> int:
        """Add `by` to a counter. Not repeated after an error: what was counted before a connection broke is not known."""
        name = self._key(key)
        start: Command = ("SET", name, 0, "PX", _milliseconds(ttl), "NX")
        # In one transaction the counter cannot expire or be evicted between the two and go on without an end.
        answers = await self._link.transact([start, ("INCRBY", name, by)])
        return int(answers[1])

    async def clear(self) -> None:
        """Remove everything under the prefix, in steps that do not hold up the server."""
        cursor = b"0"
        while True:
            cursor, keys = await self._link.ask("SCAN", cursor, "MATCH", f"{self._prefix}:*", "COUNT", _SCANNED)
            if keys:
                await self._link.ask("UNLINK", *keys)
            if int(cursor) == 0:
                return

    async def check(self) -> None:
        """Prove that the server answers."""
        await self._link.ask("PING")

    async def _store(self, values: Mapping[str, bytes], *options: str | int) -> None:
        commands: list[Command] = []
        size = 0
        for key, value in values.items():
            commands.append(("SET", self._key(key), value, *options))
            size += len(value)
            if size >= _BYTES_A_REQUEST or len(commands) == _KEYS_A_REQUEST:
                await self._link.ask_all(commands)
                commands, size = [], 0
        if commands:
            await self._link.ask_all(commands)

    def _key(self, key: str) -> bytes:
        name = key.encode(errors="surrogatepass")
        # The two kinds begin differently, so that no key can be taken for the digest of another.
        kind, name = (b"k", name) if len(name) <= _LONGEST_KEY else (b"h", sha256(name).hexdigest().encode())
        return b"%b:%b:%b" % (self._prefix.encode(), kind, name)


def _milliseconds(ttl: float) -> int:
    return max(1, math.ceil(ttl * 1000))


def _parts(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), _KEYS_A_REQUEST):
        yield items[start : start + _KEYS_A_REQUEST]


@asynccontextmanager
async def open_cache(config: RedisConfig) -> AsyncIterator[RedisCache]:
    """Open the cache; a server that cannot be reached now is used as soon as it can.

    Raises:
        ConfigError: the server is there and cannot be used: it refuses the login or the database, is too old, or is a
            node of a cluster; or a file of the TLS settings is not there.
    """
    for path in (config.tls_ca_file, config.tls_cert_file, config.tls_key_file):
        if path is not None and not path.is_file():
            raise ConfigError(f"redis/cache: {path} is not a file")
    link = Link(config)
    try:
        try:
            await link.greet()
        except BackendUnavailable as error:
            _log.warning("%s; it is used as soon as it answers", error)
        except BackendError as error:
            raise ConfigError(str(error)) from None
        yield RedisCache(link, config.prefix)
    finally:
        await link.close()
