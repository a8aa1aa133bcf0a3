"""The event bus on Apache Kafka or Redpanda."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from sfm_core.errors import BackendUnavailable
from sfm_core.model.event import Event
from sfm_core.ports.events import DeadLetter
from sfm_kafka.config import KafkaConfig
from sfm_kafka.letters import Letters
from sfm_kafka.link import Link
from sfm_kafka.offsets import Offsets
from sfm_kafka.publisher import Publisher
from sfm_kafka.subscription import KafkaSubscription, Tried
from sfm_kafka.wire import record_of

__all__ = ["KafkaEvents", "open_events"]

_log = logging.getLogger("sfm.kafka")


class KafkaEvents:
    """The events port on one topic of a cluster: durable, shared, with dead letters.

    Args:
        config: the settings.
        create: whether missing topics may be made.
    """

    def __init__(self, config: KafkaConfig, *, create: bool = True) -> None:
        self._topic = config.topic
        self._link = Link(config, create=create)
        self._publisher = Publisher(self._link)
        self._letters = Letters(self._link, self._publisher)
        self._offsets = Offsets(self._link)
        self._tried: Tried = {}

    async def publish(self, events: Sequence[Event]) -> None:
        """Write events in order; returns when all in-sync copies hold them.

        Raises:
            BackendUnavailable: not in time; some, all or none of them may be written, to be published again.
        """
        await self._publisher.write([record_of(event, self._topic) for event in events])

    @asynccontextmanager
    async def subscribe(self, group: str) -> AsyncIterator[KafkaSubscription]:
        """Join a group; on leaving, what was not committed goes back to it.

        Raises:
            BackendUnavailable: the brokers do not answer, or the group did not come to terms in time.
        """
        member = KafkaSubscription(self._link, self._publisher, self._tried, group)
        await member.join()
        try:
            yield member
        finally:
            await member.leave()

    async def lag(self, group: str) -> Mapping[str, int]:
        """Return how many events a group has not committed in each lane."""
        return await self._offsets.lag(group)

    async def dead_letters(self, group: str, *, limit: int) -> list[DeadLetter]:
        """Return the oldest dead letters of a group."""
        return await self._letters.list(group, limit)

    async def replay(self, group: str, letters: Sequence[DeadLetter]) -> None:
        """Deliver dead letters again, to their group only.

        Raises:
            InvalidInput: letters of another group or bus.
        """
        await self._letters.replay(group, letters)

    async def check(self) -> None:
        """Prove that the brokers answer and every lane has a leader."""
        await self._link.check()

    async def begin(self) -> None:
        """Make the first contact if the brokers answer; if not, it comes with the first request.

        Raises:
            ConfigError: they answer and cannot be used as they are.
        """
        try:
            async with self._link.bounded("reach the brokers"):
                await self._link.ready()
        except BackendUnavailable as error:
            _log.warning("%s; it is tried again with the first request", error)

    async def close(self) -> None:
        """Close all connections."""
        await self._publisher.close()
        await self._link.close()


@asynccontextmanager
async def open_events(config: KafkaConfig, *, create: bool) -> AsyncIterator[KafkaEvents]:
    """Open the event bus; brokers that do not answer now are no error."""
    events = KafkaEvents(config, create=create)
    try:
        await events.begin()
        yield events
    finally:
        await events.close()
