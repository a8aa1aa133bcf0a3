"""The stack that the tests of this folder share, on each vector search backend at hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from sfm_core.testing.servers import KafkaAt, PostgresAt, RedisAt
from tests.enterprise.deployment import VECTORS, Deploy, Deployment, Place, deployed


@pytest.fixture(scope="session", params=VECTORS)
def place(
    request: pytest.FixtureRequest, postgres_server: PostgresAt, redis_server: RedisAt, kafka_server: KafkaAt
) -> Iterator[Place]:
    """A place that the shared stack lives in."""
    made = Place(postgres_server, redis_server, kafka_server, vectors=request.param)
    yield made
    made.close()


@pytest.fixture(scope="session")
def stack(place: Place) -> Iterator[Deployment]:
    """Two replicas, a relay and two consumers."""
    with deployed(place) as running:
        yield running


@pytest.fixture
def deploy(postgres_server: PostgresAt, redis_server: RedisAt, kafka_server: KafkaAt) -> Iterator[Deploy]:
    """Start deployments in places of their own; all of them end with the test."""
    with ExitStack() as closing:

        def start(**options: object) -> Deployment:
            made = Place(postgres_server, redis_server, kafka_server)
            closing.callback(made.close)
            return closing.enter_context(deployed(made, **options))

        yield start
