"""The way to the cluster: the handshake at first contact, and the clients that ask but neither publish nor consume."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka import errors as driver
from aiokafka.admin import AIOKafkaAdminClient

from sfm_core.errors import BackendUnavailable
from sfm_kafka.background import Background
from sfm_kafka.config import KafkaConfig
from sfm_kafka.failures import translated
from sfm_kafka.probe import greet
from sfm_kafka.security import connection_options
from sfm_kafka.topics import ensure_topics, look

__all__ = ["Link"]

_CHECK = 1.8
_PAUSE = 0.1
_ATTEMPTS = 3
_OTHER_BROKER = (driver.NodeNotReadyError, driver.NotCoordinatorForGroupError, driver.GroupCoordinatorNotAvailableError)
"""What may go away when another broker is asked, or the same once more."""

_T = TypeVar("_T")


class Link:
    """What the parts of one event bus share. Nothing is connected before the first request.

    Args:
        config: the settings.
        create: whether missing topics may be made.
    """

    def __init__(self, config: KafkaConfig, *, create: bool) -> None:
        self.config = config
        self.options = connection_options(config)
        self.background = Background()
        self._create = create
        self._greeted = False
        self._closed = False
        self._greeting = asyncio.Lock()
        self._starting = asyncio.Lock()
        self._admin: AIOKafkaAdminClient | None = None
        self._reader: AIOKafkaConsumer | None = None

    async def ready(self) -> None:
        """See at first contact whether the cluster can be used, and make the topics; later calls do nothing.

        Raises:
            ConfigError: it cannot be used as it is.
            BackendUnavailable: it does not answer.
        """
        if self._closed:
            raise BackendUnavailable("kafka/events: is closed")
        if self._greeted:
            return
        async with self._greeting:
            if not self._greeted:
                await greet(self.options)
                admin = await self._started_admin()
                await ensure_topics(admin, self.config, create=self._create)
                self._greeted = True

    async def check(self) -> None:
        """Prove that brokers answer and that every partition of the topic has a leader.

        Raises:
            BackendUnavailable: not within two seconds.
        """
        async with self.bounded("reach the brokers", _CHECK):
            await self.ready()
            await self.ask(lambda admin: look(admin, self.config.topic))

    @asynccontextmanager
    async def bounded(self, doing: str, seconds: float | None = None) -> AsyncIterator[None]:
        """Run a block within the time limit of a request, its errors translated; clients that failed are made anew.

        Args:
            doing: what is being done, for messages.
            seconds: another time limit.
        """
        try:
            with translated(doing):
                async with asyncio.timeout(seconds or self.config.request_timeout):
                    yield
        except BackendUnavailable:
            self._drop()
            raise

    async def close(self) -> None:
        """Close all connections; what does not close in time is broken off."""
        self._closed = True
        self._drop()
        await self.background.finish(self.config.request_timeout)

    async def ask(self, question: Callable[[AIOKafkaAdminClient], Awaitable[_T]]) -> _T:
        """Ask, several times if need be: the client picks any broker, and one that is down is not all of them."""
        for _ in range(_ATTEMPTS):
            try:
                return await question(await self._started_admin())
            except _OTHER_BROKER:
                await asyncio.sleep(_PAUSE)
        return await question(await self._started_admin())

    async def _started_admin(self) -> AIOKafkaAdminClient:
        async with self._starting:
            if self._admin is None:
                admin = AIOKafkaAdminClient(**self.options)
                await self.started(admin.start(), admin.close)
                self._admin = admin
            return self._admin

    async def reader(self) -> AIOKafkaConsumer:
        """Return a client that reads offsets, of no group."""
        async with self._starting:
            if self._reader is None:
                reader = AIOKafkaConsumer(**self.options)
                await self.started(reader.start(), reader.stop)
                self._reader = reader
            return self._reader

    async def started(
        self,
        start: Coroutine[Any, Any, None],
        close: Callable[[], Coroutine[Any, Any, None]],
        *,
        breaks_off: bool = False,
    ) -> None:
        """Wait for the start of a client; one that fails is closed, and why it failed is found out.

        Args:
            start, close: the client's own.
            breaks_off: whether the start is broken off when the caller is. Otherwise it is left to end by itself, within the
                time limit of a request: the driver forgets to close the connection of one that is broken off.
        """
        begun = self.background.begin(start)
        try:
            await (begun if breaks_off else asyncio.shield(begun))
        except BaseException as error:
            self.background.begin(_closed_after(begun, close))
            if isinstance(error, driver.KafkaConnectionError):
                # The driver tells a refused login as if no broker were there.
                await greet(self.options)
            raise

    def _drop(self) -> None:
        admin, self._admin = self._admin, None
        reader, self._reader = self._reader, None
        if admin is not None:
            self.background.begin(admin.close())
        if reader is not None:
            self.background.begin(reader.stop())


async def _closed_after(start: asyncio.Task[None], close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    await asyncio.wait({start})
    await close()
