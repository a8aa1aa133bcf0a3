"""The way to the server: connections, time limits, the one repetition, the handshake."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from redis import exceptions as driver
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from sfm_core.errors import BackendError, BackendUnavailable
from sfm_redis.config import RedisConfig
from sfm_redis.failures import DRIVER_ERRORS, failure, may_be_repeated

__all__ = ["Command", "Link"]

Command = tuple[str | bytes | int, ...]
"""The name of a command and its arguments."""

_OLDEST = (6, 2)
_FORBIDDEN = (driver.NoPermissionError, driver.ResponseError)
"""What the driver raises for a command that is not permitted or not known."""

_T = TypeVar("_T")


def _pool(config: RedisConfig) -> BlockingConnectionPool:
    options: dict[str, Any] = {"connection_class": Connection}
    if config.tls:
        options = {
            "connection_class": SSLConnection,
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": True,
            "ssl_ca_certs": _path(config.tls_ca_file),
            "ssl_certfile": _path(config.tls_cert_file),
            "ssl_keyfile": _path(config.tls_key_file),
        }
    return BlockingConnectionPool(
        max_connections=config.connections,
        # One time limit around the whole request (`Link.ask`) stands for those of waiting, writing and reading.
        timeout=None,
        socket_timeout=None,
        socket_connect_timeout=config.connect_timeout,
        # The driver would repeat ten times, and write repeated increments twice.
        retry=Retry(NoBackoff(), 0),
        # RESP2 needs no HELLO, which old proxies do not know.
        protocol=2,
        host=config.host,
        port=config.port,
        db=config.db,
        username=config.username,
        password=None if config.password is None else config.password.reveal(),
        **options,
    )


def _path(path: object) -> str | None:
    return None if path is None else str(path)


class Link:
    """Carries requests to one server. Nothing is connected before the first."""

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        self._pool = _pool(config)
        self._client: Any = Redis(connection_pool=self._pool)
        self._greeted = False
        self._closed = False

    async def ask(self, *command: str | bytes | int) -> Any:
        """Send one command that may safely run twice, and return its answer.

        Raises:
            BackendUnavailable, BackendError: as `sfm_redis.failures.failure` tells.
        """
        return await self._bounded(lambda: self._client.execute_command(*command), repeat=True)

    async def ask_all(self, commands: Sequence[Command], *, atomic: bool = False, repeat: bool = True) -> list[Any]:
        """Send several commands at once and return their answers.

        Args:
            commands: what to send.
            atomic: as one transaction (MULTI).
            repeat: whether they may safely run twice.
        """

        async def send() -> list[Any]:
            async with self._client.pipeline(transaction=atomic) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                # An error that the driver raised itself would quote the command.
                answers: list[Any] = await pipeline.execute(raise_on_error=False)
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
            return answers

        return await self._bounded(send, repeat=repeat)

    async def greet(self) -> None:
        """Reach the server for the first time and see whether it can be used; later calls do nothing."""

        async def nothing() -> None: ...

        await self._bounded(nothing, repeat=True)

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        await self._pool.disconnect()

    async def _bounded(self, request: Callable[[], Awaitable[_T]], *, repeat: bool) -> _T:
        """Run `request` within the time limit, after the handshake if that has not been yet."""
        if self._closed:
            raise BackendUnavailable("redis/cache: is closed")
        try:
            async with asyncio.timeout(self._config.timeout):
                if not self._greeted:
                    await _repeated(self._handshake)
                return await (_repeated(request) if repeat else request())
        except DRIVER_ERRORS as error:
            told = failure(error, self._config)
            if isinstance(error, driver.ReadOnlyError):
                # After a failover the name may lead to another server already.
                await self._pool.disconnect(inuse_connections=False)
        # Raised out here so that the driver's error, which may quote keys and values, is not its context.
        raise told

    async def _handshake(self) -> None:
        await self._client.ping()
        try:
            server = await self._client.info("server")
        except driver.ResponseError as error:
            if type(error) not in _FORBIDDEN:
                raise
            # Managed servers may forbid INFO: what can be done with this one shows when it is done.
            server = {}
        version = str(server.get("redis_version", ""))
        if _numbers(version) and _numbers(version) < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            raise BackendError(
                f"redis/cache: the server is of version {version}, needed: {oldest} or later (or Valkey)"
            )
        if server.get("redis_mode") == "cluster":
            raise BackendError(
                "redis/cache: the server is a node of a Redis Cluster; name a server, or a proxy, that holds all keys"
            )
        self._greeted = True


async def _repeated(request: Callable[[], Awaitable[_T]]) -> _T:
    """Run `request`, and once more when its connection turns out to have been closed by the server."""
    try:
        return await request()
    except driver.ConnectionError as error:
        if not may_be_repeated(error):
            raise
    return await request()


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")[:2]
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else ()
