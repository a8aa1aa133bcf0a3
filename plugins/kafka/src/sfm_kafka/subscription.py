"""One member of a consumer group."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka import errors as driver

from sfm_core.errors import BackendError, BackendUnavailable, InvalidInput
from sfm_core.ports.events import Delivery
from sfm_kafka.failures import DRIVER_ERRORS, failure, translated
from sfm_kafka.lanes import Lane
from sfm_kafka.link import Link
from sfm_kafka.publisher import Publisher
from sfm_kafka.wire import Header, Record, Token, decoded, foreign, ours_of, text, whole

__all__ = ["KafkaSubscription", "Tried"]

Tried = dict[tuple[str, int], dict[int, int]]
"""By group and partition, how often this process handed out offsets that were not committed."""

_QUIET = 5.0
_BEATS = 10
_ERROR_LENGTH = 4096
_LETTER_BYTES = 512 * 1024
"""What a broker takes by default is twice that, and a letter is longer than what it is about."""
_STALE = (driver.CommitFailedError, driver.IllegalStateError)
_SLACK = 1.0
_DELIVERY = "a delivery of this subscription"


class _Shares(ConsumerRebalanceListener):  # type: ignore[misc]
    """Hears of the shares of one consumer, for as long as its member uses that one."""

    def __init__(self, member: KafkaSubscription) -> None:
        self._member: KafkaSubscription | None = member

    def leave(self) -> None:
        """Hear no more."""
        self._member = None

    # The driver awaits what it gets here; its annotation does not say so.
    async def on_partitions_revoked(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, revoked: object
    ) -> None:
        """Let the member finish what it holds."""
        if self._member is not None:
            await self._member.hand_over(self)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Give the member its share."""
        if self._member is not None:
            self._member.begin_era(at.partition for at in assigned)


class KafkaSubscription:
    """A member of a group: what it was handed and what of that is done.

    Every change of the group's shares begins a new era: what was handed out before is not committed any more, and comes again,
    here or at another member. Before it loses its lanes a member gets `handover_timeout` seconds to commit what it holds.
    """

    def __init__(self, link: Link, publisher: Publisher, tried: Tried, group: str) -> None:
        self._link = link
        self._config = link.config
        self._publisher = publisher
        self._tried = tried
        self._group = group
        self._consumer: AIOKafkaConsumer | None = None
        self._shares = _Shares(self)
        self._lanes: dict[int, Lane] = {}
        self._era = 0
        self._unsent: dict[int, int] = {}
        self._sending: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._idle = asyncio.Event()
        self._heard = time.monotonic()

    async def join(self) -> None:
        """Join the group and wait for a share.

        Raises:
            BackendUnavailable: the brokers do not answer, or the group did not come to terms in time.
        """
        config = self._config
        async with self._link.bounded("reach the brokers"):
            await self._link.ready()
        shares = _Shares(self)
        consumer = self._made()
        consumer.subscribe([config.topic], listener=shares)
        self._shares = shares
        try:
            with translated(f"join group {self._group}"):
                async with asyncio.timeout(self._rebalance + config.session_timeout):
                    # Left to itself it would take a share that nobody works on.
                    await self._link.started(consumer.start(), consumer.stop, breaks_off=True)
        except BaseException:
            self._let_go()
            raise
        self._consumer = consumer
        self._heard = time.monotonic()

    async def leave(self) -> None:
        """Leave the group; what is not committed comes again."""
        with suppress(BackendError):
            await self._send()
        consumer = self._let_go()
        if consumer is not None:
            await self._link.background.within(self._config.request_timeout, consumer.stop())

    async def receive(self, *, limit: int, timeout: float) -> list[Delivery]:
        """Wait for deliveries.

        Raises:
            BackendUnavailable: the brokers do not answer; nothing is lost, and the next call joins again where that is needed.
        """
        ends = time.monotonic() + timeout
        await self._send()
        if self._consumer is None:
            await self.join()
        while True:
            found = await self._fetch(limit, max(0.0, ends - time.monotonic()))
            if found:
                return found
            if time.monotonic() >= ends:
                await self._prove()
                return []

    async def commit(self, deliveries: Sequence[Delivery]) -> None:
        """Mark deliveries as done; those of an era that is over come again.

        Raises:
            BackendUnavailable: the brokers do not answer; the marks are sent with the next call.
        """
        done: defaultdict[int, list[int]] = defaultdict(list)
        for delivery in deliveries:
            token = delivery.token
            if not isinstance(token, Token):
                raise InvalidInput.of("deliveries", token, _DELIVERY)
            if token.era == self._era:
                done[token.record.partition].append(token.record.offset)
        for partition, offsets in done.items():
            self._finish(partition, offsets)
        await self._send()
        if not self._busy:
            self._idle.set()

    async def reject(self, delivery: Delivery, *, error: str) -> None:
        """Write a delivery to the dead letters and commit it then; one of an era that is over comes again instead."""
        token = delivery.token
        if not isinstance(token, Token):
            raise InvalidInput.of("delivery", token, _DELIVERY)
        if token.era != self._era:
            return
        await self._publisher.write([self._letter(delivery, token.record, error)])
        await self.commit([delivery])

    def _letter(self, delivery: Delivery, record: Any, error: str) -> Record:
        ours = {
            Header.GROUP: self._group,
            Header.ERROR: error[:_ERROR_LENGTH],
            Header.TOPIC: record.topic,
            Header.PARTITION: str(record.partition),
            Header.OFFSET: str(record.offset),
            Header.TIME: datetime.now(UTC).isoformat(),
            Header.ATTEMPT: str(delivery.attempt),
        }
        value = record.value
        if value is not None and len(value) > _LETTER_BYTES:
            ours[Header.CUT] = str(len(value))
            value = value[:_LETTER_BYTES]
        # The driver takes no other kind of text for a name, and no record without key and value.
        headers = [(name.value, told.encode("utf-8", "backslashreplace")) for name, told in ours.items()]
        value = b"" if record.key is None and value is None else value
        return Record(self._config.dead_letter_topic, record.key, value, (*foreign(record.headers), *headers))

    async def hand_over(self, shares: _Shares) -> None:
        """Give out nothing more and wait, bounded, until what is held is committed; then it is held no longer."""
        self._settled.clear()
        self._idle.clear()
        if self._busy:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.handover_timeout):
                    await self._idle.wait()
        with suppress(BackendError):
            await self._send()
        if shares is self._shares:
            self._forget()

    def begin_era(self, partitions: Iterable[int]) -> None:
        """Begin with a new share."""
        self._forget()
        self._lanes = {
            partition: Lane(partition, self._tried.get((self._group, partition), {})) for partition in partitions
        }
        self._settled.set()

    @property
    def _busy(self) -> bool:
        return any(lane.busy for lane in self._lanes.values())

    @property
    def _rebalance(self) -> float:
        return self._config.handover_timeout + self._config.session_timeout

    def _made(self) -> AIOKafkaConsumer:
        config = self._config
        # A member waits for the others inside one request.
        patient = _ms(self._rebalance + config.request_timeout)
        return AIOKafkaConsumer(
            **{**self._link.options, "request_timeout_ms": patient},
            group_id=config.group_id(self._group),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=_ms(config.session_timeout),
            heartbeat_interval_ms=_ms(config.session_timeout / _BEATS),
            rebalance_timeout_ms=_ms(self._rebalance),
            max_poll_interval_ms=_ms(config.max_pause),
        )

    def _forget(self) -> None:
        self._era += 1
        for partition, lane in self._lanes.items():
            self._tried[self._group, partition] = lane.tried
        self._lanes = {}
        self._unsent = {}

    def _let_go(self) -> AIOKafkaConsumer | None:
        """Stop using the consumer and return it."""
        consumer, self._consumer = self._consumer, None
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        self._shares.leave()
        self._settled.clear()
        self._idle.set()
        self._forget()
        return consumer

    async def _fetch(self, limit: int, seconds: float) -> list[Delivery]:
        consumer = self._consumer
        if consumer is None:
            raise BackendUnavailable("kafka/events: the subscription is left")
        try:
            # While shares change, the driver would wait longer than it is asked to.
            async with asyncio.timeout(seconds + _SLACK):
                await self._settled.wait()
                batches = await consumer.getmany(timeout_ms=_ms(seconds), max_records=limit)
        except TimeoutError:
            return []
        except DRIVER_ERRORS as error:
            self._let_go()
            self._link.background.begin(consumer.stop())
            raise failure(error, "receive events") from None
        if batches:
            self._heard = time.monotonic()
        return [found for at, records in batches.items() for found in self._handed(at.partition, records)]

    def _handed(self, partition: int, records: Sequence[Any]) -> list[Delivery]:
        """Hand out records of a partition, unless the member has lost it; those that are not for this group are done."""
        lane = self._lanes.get(partition)
        if lane is None:
            return []
        era, name = self._era, lane.name
        attempts = lane.hand([record.offset for record in records])
        found: list[Delivery] = []
        passed: list[int] = []
        for record, event, attempt in zip(records, decoded(records), attempts, strict=True):
            # A replay has at least two headers of ours.
            if len(record.headers) > 1 and (ours := ours_of(record.headers)):
                if Header.ONLY in ours and text(ours, Header.ONLY) != self._group:
                    passed.append(record.offset)
                    continue
                attempt += whole(ours, Header.ATTEMPT) or 0
            raw = None if event is not None else record.value or b""
            found.append(Delivery(event, Token(era, record), attempt, raw, name))
        if passed:
            self._finish(partition, passed)
        return found

    def _finish(self, partition: int, offsets: list[int]) -> None:
        position = self._lanes[partition].finish(offsets)
        if position is not None:
            self._unsent[partition] = position

    async def _send(self) -> None:
        """Commit what is done."""
        consumer, era, unsent = self._consumer, self._era, self._unsent
        if not unsent or consumer is None:
            return
        self._unsent = {}
        try:
            with translated("commit"):
                await self._committed(consumer, unsent)
        except BaseException:
            if era == self._era:
                self._unsent = unsent | self._unsent
            raise

    async def _committed(self, consumer: AIOKafkaConsumer, positions: Mapping[int, int]) -> None:
        """Commit positions, unless they are of shares that moved on.

        The driver tries for ever. What it is still trying when the time is up is not broken off, for it would complain, but no
        second attempt is begun beside it.
        """
        seconds = self._config.request_timeout
        offsets = {TopicPartition(self._config.topic, number): position for number, position in positions.items()}
        if self._sending is not None:
            await asyncio.wait({self._sending}, timeout=seconds)
            if not self._sending.done():
                raise TimeoutError
        self._sending = self._link.background.begin(consumer.commit(offsets))
        await asyncio.wait({self._sending}, timeout=seconds)
        if not self._sending.done():
            raise TimeoutError
        sending, self._sending = self._sending, None
        with suppress(*_STALE):
            sending.result()

    async def _prove(self) -> None:
        """Ask, when nothing was heard for long, whether the brokers are there at all."""
        if time.monotonic() - self._heard > _QUIET:
            await self._link.check()
            self._heard = time.monotonic()


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))
