"""A pytest plugin: real servers as fixtures, and the choice whether the tests that need them run.

Activate it by `-p sfm_core.testing.servers.fixtures`. A test that takes one of its server fixtures is marked `server` and
runs only with `--servers` (or `-m` naming the mark); otherwise it is deselected, and the run says so.

A session's server is the one that `TEST_POSTGRES_URL`, `TEST_REDIS_URL` or `TEST_KAFKA_BOOTSTRAP` names; else one started
here, of the version that `SFM_TEST_POSTGRES` (18 or 15) or `SFM_TEST_REDIS` (8 or 7) names; where its program is missing,
the test fails with the command that installs it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import TypeVar
from uuid import uuid4

import pytest

from sfm_core.testing.servers.found import Missing
from sfm_core.testing.servers.kafka import KafkaAt, KafkaServer
from sfm_core.testing.servers.postgres import VERSIONS as POSTGRES_VERSIONS
from sfm_core.testing.servers.postgres import PostgresAt, PostgresServer
from sfm_core.testing.servers.process import Server
from sfm_core.testing.servers.redis import VERSIONS as REDIS_VERSIONS
from sfm_core.testing.servers.redis import RedisAt, RedisServer

__all__ = [
    "kafka_server",
    "kafka_topic",
    "own_kafka",
    "own_postgres",
    "own_redis",
    "postgres_database",
    "postgres_server",
    "qdrant_url",
    "redis_prefix",
    "redis_server",
]

SERVERS = frozenset({"postgres_server", "redis_server", "kafka_server", "own_postgres", "own_redis", "own_kafka"})
S = TypeVar("S", bound=Server)
DESELECTED = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--servers`."""
    parser.addoption("--servers", action="store_true", help="run the tests that need real servers, too")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark."""
    config.addinivalue_line("markers", "server: needs a real server; runs with `--servers`")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what takes a server and, unless it is asked for, leave it out, visibly."""
    for item in items:
        if SERVERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("server")
    if config.getoption("servers") or re.search(r"\bserver\b", str(config.getoption("markexpr"))):
        return
    out = [item for item in items if item.get_closest_marker("server") is not None]
    items[:] = [item for item in items if item.get_closest_marker("server") is None]
    config.stash[DESELECTED] = len(out)
    if out:
        config.hook.pytest_deselected(items=out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left out and how to run it."""
    count = config.stash.get(DESELECTED, 0)
    if count:
        text = f"{count} tests that need real servers were left out: `pytest --servers` or `uv run nox` runs them"
        terminalreporter.write_line(text, yellow=True)


def chosen(variable: str, versions: tuple[str, ...]) -> str:
    """Return the version that an environment variable asks for."""
    version = os.environ.get(variable) or versions[0]
    if version not in versions:
        pytest.fail(f"{variable}={version}: one of {', '.join(versions)}", pytrace=False)
    return version


def started(make: Callable[[], S]) -> Iterator[S]:
    """Run a server for as long as a fixture lasts."""
    try:
        server = make()
    except Missing as gap:
        pytest.fail(str(gap), pytrace=False)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresAt]:
    """A PostgreSQL for the whole run; stop, freeze and kill are for `own_postgres`."""
    url = os.environ.get("TEST_POSTGRES_URL")
    if url:
        yield PostgresAt(url)
    else:
        yield from started(lambda: PostgresServer(chosen("SFM_TEST_POSTGRES", POSTGRES_VERSIONS)))


@pytest.fixture
def postgres_database(postgres_server: PostgresAt) -> Iterator[str]:
    """The URL of an empty database of this test's own."""
    url = postgres_server.new_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisAt]:
    """A Redis for the whole run; stop, freeze and kill are for `own_redis`."""
    url = os.environ.get("TEST_REDIS_URL")
    if url:
        yield RedisAt(url)
    else:
        yield from started(lambda: RedisServer(chosen("SFM_TEST_REDIS", REDIS_VERSIONS)))


@pytest.fixture
def redis_prefix() -> str:
    """A key prefix of this test's own."""
    return f"sfm-test-{uuid4().hex}:"


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[KafkaAt]:
    """A Kafka for the whole run; stop, freeze and kill are for `own_kafka`."""
    bootstrap = os.environ.get("TEST_KAFKA_BOOTSTRAP")
    if bootstrap:
        yield KafkaAt(bootstrap)
    else:
        yield from started(KafkaServer)


@pytest.fixture
def kafka_topic() -> str:
    """The name of a topic, not made yet, of this test's own."""
    return f"sfm-test-{uuid4().hex}"


@pytest.fixture(scope="session")
def qdrant_url() -> str | None:
    """The Qdrant server that `TEST_QDRANT_URL` names; no package holds one that could be started here."""
    return os.environ.get("TEST_QDRANT_URL") or None


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that the tests of a module may stop, freeze and kill."""
    yield from started(lambda: PostgresServer(chosen("SFM_TEST_POSTGRES", POSTGRES_VERSIONS)))


@pytest.fixture(scope="module")
def own_redis() -> Iterator[RedisServer]:
    """A Redis that the tests of a module may stop, freeze and kill."""
    yield from started(lambda: RedisServer(chosen("SFM_TEST_REDIS", REDIS_VERSIONS)))


@pytest.fixture(scope="module")
def own_kafka() -> Iterator[KafkaServer]:
    """A Kafka that the tests of a module may stop, freeze and kill."""
    yield from started(KafkaServer)
