"""The way to the server: requests, time limits, the one repetition, the handshake."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from redis import exceptions as driver
from redis.asyncio import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from sfm_core.errors import BackendError, BackendUnavailable
from sfm_redis.config import RedisConfig
from sfm_redis.failures import DRIVER_ERRORS, failure, may_be_repeated
from sfm_redis.lines import Lines

__all__ = ["Command", "Link"]

Command = tuple[str | bytes | int, ...]
"""The name of a command and its arguments."""

_OLDEST = (6, 2)
_FORBIDDEN = (driver.NoPermissionError, driver.ResponseError)
"""What the driver raises for a command that is not permitted or not known."""

_T = TypeVar("_T")


def _connecting(config: RedisConfig) -> Callable[[], Any]:
    """Return what makes a connection."""
    options: dict[str, Any] = {
        "host": config.host,
        "port": config.port,
        "db": config.db,
        "username": config.username,
        "password": None if config.password is None else config.password.reveal(),
        # One time limit around the whole request (`Link.ask`) stands for those of writing and reading.
        "socket_timeout": None,
        "socket_connect_timeout": config.connect_timeout,
        # The driver would repeat ten times, and send increments twice.
        "retry": Retry(NoBackoff(), 0),
        # RESP2 needs no HELLO, which old proxies do not know.
        "protocol": 2,
    }
    if not config.tls:
        return partial(Connection, **options)
    options |= {
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
        "ssl_ca_certs": _path(config.tls_ca_file),
        "ssl_certfile": _path(config.tls_cert_file),
        "ssl_keyfile": _path(config.tls_key_file),
    }
    return partial(SSLConnection, **options)


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)


class Link:
    """Carries requests to one server. Nothing is connected before the first."""

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        self._lines = Lines(_connecting(config), config.connections)
        self._greeted = False
        self._closed = False

    async def ask(self, *command: str | bytes | int) -> Any:
        """Send one command that may safely run twice, and return its answer.

        Raises:
            BackendUnavailable, BackendError: as `sfm_redis.failures.failure` tells.
        """
        [answer] = await self.ask_all([command])
        return answer

    async def ask_all(self, commands: Sequence[Command]) -> list[Any]:
        """Send several commands that may safely run twice at once, and return their answers."""
        return await self._bounded(partial(_repeated, partial(self._exchanged, commands)))

    async def transact(self, commands: Sequence[Command]) -> list[Any]:
        """Have several commands run as one transaction, at most once, and return their answers."""

        async def run() -> list[Any]:
            *_, answers = await self._exchanged([("MULTI",), *commands, ("EXEC",)])
            return _sound(answers)

        return await self._bounded(run)

    async def greet(self) -> None:
        """Reach the server for the first time and see whether it can be used; later calls do nothing."""
        await self._bounded(partial(asyncio.sleep, 0))

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        await self._lines.close()

    async def _bounded(self, request: Callable[[], Awaitable[_T]]) -> _T:
        """Run `request` within the time limit, after the handshake if that has not been yet."""
        if self._closed:
            raise BackendUnavailable("redis/cache: is closed")
        try:
            async with asyncio.timeout(self._config.timeout):
                if not self._greeted:
                    await _repeated(self._handshake)
                return await request()
        except DRIVER_ERRORS as error:
            told = failure(error, self._config)
            if isinstance(error, driver.ReadOnlyError):
                # After a failover the name may lead to another server already.
                await self._lines.drop()
        # Raised out here so that the driver's error, which may quote keys and values, is not its context.
        raise told

    async def _exchanged(self, commands: Sequence[Command]) -> list[Any]:
        async with self._lines.lent() as line:
            await line.send_packed_command(line.pack_commands(commands))
            # All of them are read before one is raised: the next caller must find the connection silent.
            answers = [await _answer(line) for _ in commands]
        return _sound(answers)

    async def _handshake(self) -> None:
        await self._exchanged([("PING",)])
        try:
            [told] = await self._exchanged([("INFO", "server")])
        except driver.ResponseError as error:
            if type(error) not in _FORBIDDEN:
                raise
            # Managed servers may forbid INFO: what can be done with this one shows when it is done.
            told = b""
        server = dict(line.split(":", 1) for line in told.decode(errors="replace").splitlines() if ":" in line)
        version = server.get("redis_version", "")
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


async def _answer(line: Any) -> Any:
    try:
        return await line.read_response()
    except driver.ResponseError as error:
        return error


def _sound(answers: list[Any]) -> list[Any]:
    """Return `answers`, or raise the first that is an error."""
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")[:2]
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else ()
