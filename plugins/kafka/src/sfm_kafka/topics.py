"""The topics: made as the settings say when they are missing, else looked at; never altered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import errors as driver
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from msgspec import Struct

from sfm_core.errors import BackendError, BackendUnavailable, ConfigError
from sfm_kafka.config import KafkaConfig

__all__ = ["Topic", "ensure_topics", "look"]

_PARTITIONS = 12
_REPLICATION = 3
_PAUSE = 0.1


class Topic(Struct, frozen=True):
    """What a topic is like: its partitions, those of them without a leader, and the fewest copies of any."""

    name: str
    partitions: tuple[int, ...]
    leaderless: tuple[int, ...]
    copies: int


def _read(found: dict[str, Any]) -> Topic:
    parts = found["partitions"]
    return Topic(
        name=found["topic"],
        partitions=tuple(sorted(part["partition"] for part in parts)),
        leaderless=tuple(sorted(part["partition"] for part in parts if part["leader"] < 0)),
        copies=min((len(part["replicas"]) for part in parts), default=0),
    )


async def look(admin: AIOKafkaAdminClient, name: str) -> Topic:
    """Return what a topic is like that was there before.

    Raises:
        BackendUnavailable: some of it has no leader now.
        BackendError: it is gone, or may not be seen.
    """
    [found] = await admin.describe_topics([name])
    if found["error_code"]:
        error = driver.for_code(found["error_code"])()
        kind = BackendUnavailable if error.retriable and not _is_missing(error) else BackendError
        raise kind(f"kafka/events: topic {name} cannot be used ({type(error).__name__})")
    topic = _read(found)
    if topic.leaderless or not topic.partitions:
        raise BackendUnavailable(f"kafka/events: topic {name} has no leader for {len(topic.leaderless)} partitions")
    return topic


def _is_missing(error: Exception) -> bool:
    return isinstance(error, driver.UnknownTopicOrPartitionError)


async def ensure_topics(admin: AIOKafkaAdminClient, config: KafkaConfig, *, create: bool) -> None:
    """Make what is missing of the two topics, or refuse, and look at what is there.

    Raises:
        ConfigError: a topic is missing and may not be made, cannot be made like that, or is less than the settings ask.
        BackendUnavailable: a topic is not ready in time.
    """
    # Naming a topic in a question would make some brokers create it, with their own defaults.
    there = set(await admin.list_topics())
    wanted = (config.topic, config.dead_letter_topic)
    missing = [name for name in wanted if name not in there]
    if missing and not create:
        raise ConfigError(f"kafka/events: topic {' and '.join(missing)} is missing: run `sfm migrate`, which makes it")
    if missing:
        await _create(admin, config, missing)
    for name in wanted:
        _compare(config, await _settled(admin, name))


def _compare(config: KafkaConfig, topic: Topic) -> None:
    if topic.name == config.topic and config.partitions and len(topic.partitions) < config.partitions:
        raise ConfigError(
            f"kafka/events: topic {topic.name} has {len(topic.partitions)} partitions, SFM_KAFKA__PARTITIONS asks for "
            f"{config.partitions}: set it to what is there, or add partitions with the tools of Kafka, which moves namespaces "
            "to other lanes; neither a start nor `sfm migrate` alters a topic that is there"
        )
    if config.replication and topic.copies < config.replication:
        raise ConfigError(
            f"kafka/events: topic {topic.name} has {topic.copies} copies, SFM_KAFKA__REPLICATION asks for "
            f"{config.replication}: set it to what is there, or add copies with the tools of Kafka; neither a start nor "
            "`sfm migrate` alters a topic that is there"
        )


async def _create(admin: AIOKafkaAdminClient, config: KafkaConfig, missing: Sequence[str]) -> None:
    brokers = len((await admin.describe_cluster())["brokers"])
    copies = config.replication or min(_REPLICATION, brokers)
    settings = {
        "cleanup.policy": "delete",
        "min.insync.replicas": str(config.min_insync or max(1, copies - 1)),
    }
    kept = {config.topic: str(config.retention_hours * 3_600_000), config.dead_letter_topic: "-1"}
    partitions = {config.topic: config.partitions or _PARTITIONS, config.dead_letter_topic: 1}
    new = [
        NewTopic(name, partitions[name], copies, topic_configs=settings | {"retention.ms": kept[name]})
        for name in missing
    ]
    answer: Any = await admin.create_topics(new)
    for name, code, *_ in answer.topic_errors:
        _created(name, driver.for_code(code), copies, brokers)


def _created(name: str, error: type[Exception], copies: int, brokers: int) -> None:
    """Accept the answer to making a topic, or raise."""
    # Another process may have been faster.
    if error in (driver.NoError, driver.TopicAlreadyExistsError):
        return
    if issubclass(error, driver.InvalidReplicationFactorError):
        raise ConfigError(
            f"kafka/events: topic {name} cannot be made with {copies} copies on {brokers} brokers: set SFM_KAFKA__REPLICATION"
        )
    if getattr(error, "retriable", False):
        raise error
    raise ConfigError(
        f"kafka/events: the broker refuses to make topic {name} ({error.__name__}): make it with the tools of Kafka, or let "
        "someone who may run `sfm migrate`"
    )


async def _settled(admin: AIOKafkaAdminClient, name: str) -> Topic:
    """Return a topic once every partition has a leader; the caller bounds the time."""
    while True:
        try:
            [found] = await admin.describe_topics([name])
            error = driver.for_code(found["error_code"])
            topic = _read(found)
            if error is driver.NoError and topic.partitions and not topic.leaderless:
                return topic
            if not getattr(error, "retriable", True):
                raise error
        except driver.KafkaError as problem:
            if not problem.retriable:
                raise
        await asyncio.sleep(_PAUSE)
