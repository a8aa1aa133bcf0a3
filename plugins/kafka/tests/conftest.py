"""What the tests of the Kafka event bus share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sfm_core.testing.servers.kafka import KafkaAt
from sfm_kafka.config import KafkaConfig
from sfm_kafka.events import KafkaEvents, open_events


def config_of(bootstrap: str, topic: str, **settings: object) -> KafkaConfig:
    """Return the configuration that leads to the brokers of `bootstrap`, with a topic of its own."""
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
def config(kafka_server: KafkaAt, kafka_topic: str) -> KafkaConfig:
    """Topics of the test's own, not made yet."""
    return config_of(kafka_server.bootstrap, kafka_topic)


@pytest.fixture
async def events(config: KafkaConfig) -> AsyncIterator[KafkaEvents]:
    """The opened, empty bus."""
    async with open_events(config, create=True) as opened:
        yield opened
