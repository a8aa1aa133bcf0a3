"""The stack that the tests of this folder share, on each vector search backend at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from sfm_core.testing.servers import KafkaAt, PostgresAt, RedisAt
from tests.enterprise.deployment import VECTORS, Deploy, Deployment, Place, deployed

QDRANT = os.environ.get("TEST_QDRANT_URL") or None


@pytest.fixture(scope="session", params=VECTORS if QDRANT else VECTORS[:1])
def qdrant(request: pytest.FixtureRequest) -> str | None:
    """The Qdrant server of the deployment, None for pgvector."""
    return QDRANT if request.param == "qdrant" else None


@pytest.fixture(scope="session")
def place(
    postgres_server: PostgresAt, redis_server: RedisAt, kafka_server: KafkaAt, qdrant: str | None
) -> Iterator[Place]:
    """A place that the shared stack lives in."""
    made = Place(postgres_server, redis_server, kafka_server, qdrant=qdrant)
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
