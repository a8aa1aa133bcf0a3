"""Writing to topics: one idempotent producer, one call after the other, nothing left in the dark."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from sfm_kafka.failures import translated
from sfm_kafka.link import Link
from sfm_kafka.wire import Record

__all__ = ["Publisher"]

_BATCH_BYTES = 256 * 1024


async def _abandon(producer: AIOKafkaProducer) -> None:
    """Close a producer without sending what it still holds.

    The driver has no public way: its `stop` sends everything first, and an idempotent producer tries that for ever.
    """
    sender, held = producer._sender.sender_task, producer._message_accumulator
    try:
        if sender is not None:
            # It ends when the requests under way have ended.
            sender.cancel()
            await asyncio.wait({sender})
    finally:
        held._batches.clear()
        held._pending_batches.clear()
        try:
            await producer.stop()
        finally:
            await producer.client.close()


def _consume(future: asyncio.Future[Any]) -> None:
    """Take the error of a future that nobody waits for any more."""
    if not future.cancelled():
        future.exception()


class Publisher:
    """Writes records of one process in the order of its calls, each acknowledged by all in-sync copies.

    The partition is that of the key by murmur2, as Java clients have it. After a failure the producer is abandoned with what it
    still holds, and the next call starts another: what was not acknowledged is the caller's to write again, and never
    overtakes it.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._config = link.config
        self._producer: AIOKafkaProducer | None = None
        self._turn = asyncio.Lock()

    async def write(self, records: Sequence[Record]) -> None:
        """Write records in order, and return when the brokers hold all of them.

        Raises:
            BackendUnavailable: not in time; some, all or none of them may be written.
        """
        if not records:
            return
        with translated("publish events"):
            async with asyncio.timeout(self._config.publish_timeout), self._turn:
                await self._link.ready()
                if self._producer is None:
                    self._producer = await self._started()
                try:
                    await self._write(self._producer, records)
                except BaseException:
                    self._drop()
                    raise

    async def close(self) -> None:
        """Close the producer."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await self._link.background.within(self._config.request_timeout, producer.stop())

    async def _started(self) -> AIOKafkaProducer:
        compression = self._config.compression
        producer = AIOKafkaProducer(
            **self._link.options,
            acks="all",
            enable_idempotence=True,
            compression_type=None if compression == "none" else compression,
            max_batch_size=_BATCH_BYTES,
        )
        await self._link.started(producer.start(), lambda: _abandon(producer))
        return producer

    async def _write(self, producer: AIOKafkaProducer, records: Sequence[Record]) -> None:
        sent: list[asyncio.Future[Any]] = []
        try:
            for record in records:
                future = await producer.send(
                    record.topic,
                    record.value,
                    record.key,
                    partition=record.partition,
                    headers=list(record.headers),
                )
                sent.append(future)
            await asyncio.gather(*sent)
        except BaseException:
            for future in sent:
                future.add_done_callback(_consume)
            raise

    def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            self._link.background.begin(_abandon(producer))
