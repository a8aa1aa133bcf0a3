"""How topics are made, checked and left alone, on a real broker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from sfm_core.errors import ConfigError
from sfm_core.testing.servers.kafka import KafkaAt
from sfm_kafka.config import KafkaConfig
from sfm_kafka.events import open_events


@pytest.fixture
async def admin(kafka_server: KafkaAt) -> AsyncIterator[AIOKafkaAdminClient]:
    """A bare admin client."""
    client = AIOKafkaAdminClient(bootstrap_servers=kafka_server.bootstrap)
    await client.start()
    yield client
    await client.close()


async def partitions(admin: AIOKafkaAdminClient, topic: str) -> int:
    """Return how many partitions a topic has; 0 when it is not there."""
    if topic not in await admin.list_topics():
        return 0
    [found] = await admin.describe_topics([topic])
    return len(found["partitions"])


async def settings_of(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    """Return the settings of a topic."""
    [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    [resource] = answer.resources
    entries: list[Any] = resource[4]
    return {entry[0]: entry[1] for entry in entries}


async def test_missing_topics_are_made_as_the_settings_say(
    admin: AIOKafkaAdminClient, make_config: Any, kafka_server: KafkaAt, kafka_topic: str
) -> None:
    """With explicit partitions, copies and retention; dead letters in one partition, for ever."""
    config = make_config(
        kafka_server.bootstrap, kafka_topic, partitions=7, replication=1, min_insync=1, retention_hours=24
    )
    async with open_events(config, create=True):
        assert await partitions(admin, kafka_topic) == 7
    assert await partitions(admin, config.dead_letter_topic) == 1
    made = await settings_of(admin, kafka_topic)
    assert (made["retention.ms"], made["cleanup.policy"], made["min.insync.replicas"]) == ("86400000", "delete", "1")
    assert (await settings_of(admin, config.dead_letter_topic))["retention.ms"] == "-1"
    async with open_events(config, create=False) as again:
        await again.check()


async def test_without_settings_a_topic_has_twelve_partitions_and_the_copies_there_is_room_for(
    admin: AIOKafkaAdminClient, kafka_server: KafkaAt, kafka_topic: str
) -> None:
    """One broker holds one copy."""
    config = KafkaConfig(bootstrap_servers=(kafka_server.bootstrap,), topic=kafka_topic)
    async with open_events(config, create=True):
        assert await partitions(admin, kafka_topic) == 12


async def test_where_nothing_may_be_made_a_missing_topic_is_an_error_that_names_the_command(
    admin: AIOKafkaAdminClient, config: KafkaConfig
) -> None:
    """And nothing was made by asking."""
    with pytest.raises(ConfigError, match=f"{config.topic}.*is missing.*sfm migrate"):
        async with open_events(config, create=False):
            pass
    assert await partitions(admin, config.topic) == 0


@pytest.mark.parametrize("create", [True, False])
async def test_a_topic_with_too_few_partitions_is_refused_and_left_alone(
    admin: AIOKafkaAdminClient, config: KafkaConfig, create: bool
) -> None:
    """More are no fault; without a setting any number will do."""
    await admin.create_topics([NewTopic(config.topic, 3, 1), NewTopic(config.dead_letter_topic, 2, 1)])
    with pytest.raises(ConfigError, match=r"has 3 partitions, SFM_KAFKA__PARTITIONS asks for 4.*sfm migrate"):
        async with open_events(config, create=create):
            pass
    assert await partitions(admin, config.topic) == 3
    for fitting in (3, 2, None):
        other = KafkaConfig(bootstrap_servers=config.bootstrap_servers, topic=config.topic, partitions=fitting)
        async with open_events(other, create=create) as events:
            await events.check()


async def test_copies_that_are_not_to_be_had_are_refused(
    make_config: Any, kafka_server: KafkaAt, kafka_topic: str
) -> None:
    """The error names the setting."""
    with pytest.raises(ConfigError, match="SFM_KAFKA__REPLICATION"):
        async with open_events(make_config(kafka_server.bootstrap, kafka_topic, replication=3), create=True):
            pass


async def test_two_that_open_at_once_make_the_topics_once(config: KafkaConfig) -> None:
    """The slower one takes what is there."""
    async with open_events(config, create=True) as one, open_events(config, create=True) as two:
        await one.check()
        await two.check()
