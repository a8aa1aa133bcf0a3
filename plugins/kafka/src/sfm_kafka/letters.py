"""The dead letters: a topic beside that of the events, read whole from where a group's first unresolved letter lies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct

from sfm_core.errors import InvalidInput
from sfm_core.ports.events import DeadLetter, Delivery
from sfm_kafka.link import Link
from sfm_kafka.publisher import Publisher
from sfm_kafka.topics import look
from sfm_kafka.wire import Header, Record, Token, decode, foreign, ours_of, text, whole

__all__ = ["Letters"]

_STEP = 500
_READING = 60.0


class _Letter(Struct, frozen=True):
    """A letter as it lies in the topic."""

    record: Any

    @property
    def at(self) -> TopicPartition:
        """Its partition."""
        return TopicPartition(self.record.topic, self.record.partition)

    @property
    def age(self) -> tuple[int, int, int]:
        """What orders letters, the oldest first."""
        return self.record.timestamp, self.record.partition, self.record.offset

    @property
    def letter(self) -> DeadLetter:
        """The letter as the port has it."""
        ours = ours_of(self.record.headers)
        event = decode(self.record.value)
        raw = None if event is not None else self.record.value or b""
        attempt = whole(ours, Header.ATTEMPT) or 1
        delivery = Delivery(event, Token(0, self.record), attempt, raw, text(ours, Header.PARTITION))
        return DeadLetter(text(ours, Header.GROUP), delivery, text(ours, Header.ERROR))


class _Read(Struct, frozen=True):
    """What was found for a group: its unresolved letters, oldest first, and where each partition ends."""

    letters: tuple[_Letter, ...]
    ends: Mapping[TopicPartition, int]

    @property
    def floors(self) -> dict[TopicPartition, int]:
        """From where on each partition has to be read next time."""
        floors = dict(self.ends)
        for found in self.letters:
            floors[found.at] = min(floors[found.at], found.record.offset)
        return floors


class Letters:
    """Reads and replays the dead letters of consumer groups.

    A replayed letter goes to the topic of the events again, for its group only, and a mark in the letter's partition says that
    it is resolved. In between a crash repeats the replay. The offset that is committed for `<group>.dlq` only saves reading.
    """

    def __init__(self, link: Link, publisher: Publisher) -> None:
        self._link = link
        self._config = link.config
        self._publisher = publisher

    async def list(self, group: str, limit: int) -> list[DeadLetter]:
        """Return the oldest unresolved letters of a group."""
        async with self._reading(group) as reader:
            found = await _read(reader, group)
        return [one.letter for one in found.letters[:limit]]

    async def replay(self, group: str, letters: Sequence[DeadLetter]) -> None:
        """Write letters to the topic again, those that are resolved already excepted."""
        asked = {_place(group, letter) for letter in letters}
        async with self._reading(group) as reader:
            found = await _read(reader, group)
            chosen = [one for one in found.letters if (one.record.partition, one.record.offset) in asked]
            await self._publisher.write([self._again(group, one) for one in chosen])
            await self._publisher.write([_resolution(group, one) for one in chosen])
            left = _Read(tuple(one for one in found.letters if one not in chosen), found.ends)
            await reader.commit(left.floors)

    def _again(self, group: str, found: _Letter) -> Record:
        record = found.record
        attempt = whole(ours_of(record.headers), Header.ATTEMPT) or 1
        ours = ((Header.ONLY.value, group.encode()), (Header.ATTEMPT.value, str(attempt).encode()))
        return Record(self._config.topic, record.key, record.value, (*foreign(record.headers), *ours))

    @asynccontextmanager
    async def _reading(self, group: str) -> AsyncIterator[AIOKafkaConsumer]:
        """Open a reader that stands where the group's first unresolved letter may lie."""
        async with self._link.bounded("read topics"):
            await self._link.ready()
            topic = await self._link.ask(lambda admin: look(admin, self._config.dead_letter_topic))
        reader = AIOKafkaConsumer(
            **self._link.options,
            group_id=f"{self._config.group_id(group)}.dlq",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        reader.assign([TopicPartition(topic.name, number) for number in topic.partitions])
        async with self._link.bounded("read dead letters", _READING):
            await self._link.started(reader.start(), reader.stop)
            try:
                yield reader
            finally:
                await self._link.background.within(self._config.request_timeout, reader.stop())


async def _read(reader: AIOKafkaConsumer, group: str) -> _Read:
    ends: dict[TopicPartition, int] = await reader.end_offsets(sorted(reader.assignment()))
    found: dict[tuple[int, int], _Letter] = {}
    resolved: set[tuple[int, int | None]] = set()
    while [at for at, end in ends.items() if await reader.position(at) < end]:
        batches = await reader.getmany(timeout_ms=_STEP)
        for record in (one for batch in batches.values() for one in batch):
            ours = ours_of(record.headers)
            if text(ours, Header.GROUP) != group:
                continue
            if Header.RESOLVED in ours:
                resolved.add((record.partition, whole(ours, Header.RESOLVED)))
            else:
                found[record.partition, record.offset] = _Letter(record)
    left = (one for place, one in found.items() if place not in resolved)
    return _Read(tuple(sorted(left, key=lambda one: one.age)), ends)


def _resolution(group: str, found: _Letter) -> Record:
    headers = ((Header.GROUP.value, group.encode()), (Header.RESOLVED.value, str(found.record.offset).encode()))
    return Record(found.at.topic, found.record.key, b"", headers, found.at.partition)


def _place(group: str, letter: DeadLetter) -> tuple[int, int]:
    token = letter.delivery.token
    if letter.group != group or not isinstance(token, Token):
        raise InvalidInput.of("letters", letter.group, f"dead letters of group {group}")
    return token.record.partition, token.record.offset
