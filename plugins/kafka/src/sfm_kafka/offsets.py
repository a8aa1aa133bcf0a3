"""How far a group is behind: asked often, so it takes two requests where nothing is behind."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from aiokafka import TopicPartition
from aiokafka import errors as driver
from aiokafka.admin import AIOKafkaAdminClient

from sfm_kafka.link import Link
from sfm_kafka.topics import look

__all__ = ["Offsets"]

_FRESH = 5.0


class Offsets:
    """Reads where groups stand and where the topic ends."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._config = link.config
        self._partitions: tuple[int, ...] = ()
        self._looked = 0.0
        self._coordinators: dict[str, int] = {}

    async def lag(self, group: str) -> Mapping[str, int]:
        """Return how many events `group` has not committed in each partition.

        Raises:
            BackendUnavailable: the brokers do not answer.
        """
        link, group_id = self._link, self._config.group_id(group)
        async with link.bounded("read offsets"):
            await link.ready()
            partitions = [TopicPartition(self._config.topic, number) for number in await self._numbers()]
            done = await link.ask(lambda admin: self._committed(admin, group_id, partitions))
            reader = await link.reader()
            # In this order: what is published meanwhile counts.
            last: Mapping[TopicPartition, int] = await reader.end_offsets(partitions)
            behind = [at for at in partitions if last[at] > done[at]]
            # What the topic no longer holds is nothing to wait for.
            first: Mapping[TopicPartition, int] = await reader.beginning_offsets(behind) if behind else {}
            lags = {at: last[at] - max(first[at], done[at]) for at in behind}
            return {str(at.partition): max(0, lags.get(at, 0)) for at in partitions}

    async def _numbers(self) -> tuple[int, ...]:
        """Return the partitions of the topic, some seconds old at most."""
        if not self._partitions or time.monotonic() - self._looked > _FRESH:
            topic = await self._link.ask(lambda admin: look(admin, self._config.topic))
            self._partitions, self._looked = topic.partitions, time.monotonic()
        return self._partitions

    async def _committed(
        self, admin: AIOKafkaAdminClient, group_id: str, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Return where the group stands; 0 where it never committed."""
        coordinator = self._coordinators.pop(group_id, None)
        if coordinator is None:
            coordinator = await admin.find_coordinator(group_id)
        try:
            found = await admin.list_consumer_group_offsets(group_id, coordinator, list(partitions))
        except AttributeError:
            # The driver stumbles over every error in this answer: a group that is loaded or has moved.
            raise driver.GroupCoordinatorNotAvailableError from None
        # Kept only while it answers.
        self._coordinators[group_id] = coordinator
        return {at: max(0, found[at].offset) if at in found else 0 for at in partitions}
