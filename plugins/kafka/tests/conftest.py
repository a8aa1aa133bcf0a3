"""What the tests of the Kafka event bus share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from sfm_core.testing.servers.kafka import KafkaAt
from sfm_kafka.config import KafkaConfig
from sfm_kafka.events import KafkaEvents, open_events

MakeConfig = Callable[..., KafkaConfig]
Spill = Callable[[str], Awaitable[list[Any]]]
Put = Callable[..., Awaitable[None]]


def _config(bootstrap: str, topic: str, **settings: object) -> KafkaConfig:
    given = {
        "bootstrap_servers": tuple(bootstrap.split(",")),
        "topic": topic,
        "partitions": 4,
        # The machine may be busy; what is proven is never how fast the broker is.
        "request_timeout": 20.0,
        "publish_timeout": 30.0,
    }
    return KafkaConfig(**{**given, **settings})  # type: ignore[arg-type]


@pytest.fixture
def make_config() -> MakeConfig:
    """Returns the configuration that leads to the brokers of `bootstrap` and to `topic`, with settings changed."""
    return _config


@pytest.fixture
def config(kafka_server: KafkaAt, kafka_topic: str) -> KafkaConfig:
    """Topics of the test's own, not made yet."""
    return _config(kafka_server.bootstrap, kafka_topic)


@pytest.fixture
async def events(config: KafkaConfig) -> AsyncIterator[KafkaEvents]:
    """The opened, empty bus."""
    async with open_events(config, create=True) as opened:
        yield opened


@pytest.fixture
def spill(kafka_server: KafkaAt) -> Spill:
    """Reads every record of a topic with the bare driver, partition by partition."""

    async def read(topic: str) -> list[Any]:
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka_server.bootstrap, auto_offset_reset="earliest")
        async with consumer:
            found: list[Any] = []
            ends = await consumer.end_offsets([TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic)])
            while [at for at, end in ends.items() if await consumer.position(at) < end]:
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    found += batch
            return sorted(found, key=lambda record: (record.partition, record.offset))

    return read


@pytest.fixture
def put(kafka_server: KafkaAt) -> Put:
    """Writes a record with the bare driver."""

    async def write(topic: str, value: bytes | None, key: bytes | None = b"acme", **more: Any) -> None:
        async with AIOKafkaProducer(bootstrap_servers=kafka_server.bootstrap) as producer:
            await producer.send_and_wait(topic, value, key, **more)

    return write
