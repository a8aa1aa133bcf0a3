"""A deployment: API replicas, a relay and consumers as processes of their own, over servers that others run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import httpx

from sfm_app.dev.program import Program
from sfm_app.dev.stack import apart, embedding
from sfm_core.testing.servers import KafkaAt, PostgresAt, RedisAt

VECTORS = ("pgvector", "qdrant")


def _redis(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    found = {"REDIS_HOST": parts.hostname or "127.0.0.1", "REDIS_PORT": str(parts.port or 6379)}
    if parts.password:
        found["SFM_REDIS__PASSWORD"] = unquote(parts.password)
    if parts.path.strip("/"):
        found["SFM_REDIS__DB"] = parts.path.strip("/")
    return found | ({"SFM_REDIS__TLS": "true"} if parts.scheme == "rediss" else {})


def _qdrant(url: str, name: str) -> dict[str, str]:
    parts = urlsplit(url)
    found = {"QDRANT_HOST": parts.hostname or "127.0.0.1", "QDRANT_PORT": str(parts.port or 6333)}
    return found | {"SFM_QDRANT__COLLECTION": name} | ({"SFM_QDRANT__TLS": "true"} if parts.scheme == "https" else {})


class Place:
    """Where a deployment keeps everything: a database, a key prefix, a topic and a collection of its own."""

    def __init__(self, postgres: PostgresAt, redis: RedisAt, kafka: KafkaAt, *, qdrant: str | None = None) -> None:
        self.name = f"sfm_{uuid4().hex}"
        self.postgres = postgres
        self.redis = redis
        self.kafka = kafka
        self.database = postgres.new_database()
        self._qdrant = qdrant

    def environment(self, **settings: str) -> dict[str, str]:
        """Return the environment of a process of the deployment."""
        vectors = _qdrant(self._qdrant, self.name) if self._qdrant is not None else {}
        return {
            **apart(),
            "MEMORY_MODE": "evented_enterprise",
            "SFM_VECTORS": "pgvector" if self._qdrant is None else "qdrant",
            "SFM_EMBEDDING": embedding(),
            "POSTGRES_URL": self.database,
            **_redis(self.redis.url),
            "SFM_REDIS__PREFIX": self.name,
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap,
            "SFM_KAFKA__TOPIC": self.name,
            "SFM_KAFKA__PARTITIONS": "4",
            **vectors,
            "UVICORN_WORKERS": "1",
            "OMP_NUM_THREADS": "1",
            **settings,
        }

    def close(self) -> None:
        """Drop the database; keys and topics have names that nobody uses again."""
        self.postgres.drop_database(self.database)


class Deployment:
    """Processes over one place.

    Attributes:
        apis: the replicas of the service.
        relay: the relay that runs alone, when there is one.
        consumers: the members of the group.
    """

    def __init__(self, place: Place, *, apis: int = 2, consumers: int = 2, relay: bool = True, **settings: str) -> None:
        self.place = place
        environment = place.environment(**settings)
        apart_from_relay = {**environment, "SFM_CONSUMER_RELAY": str(not relay).lower()}
        self.apis = [Program(f"api-{n}", ["serve"], environment) for n in range(apis)]
        self.relay = Program("relay", ["relay"], environment) if relay else None
        self.consumers = [Program(f"consumer-{n}", ["consumer"], apart_from_relay) for n in range(consumers)]

    @property
    def programs(self) -> list[Program]:
        """All of them, the services first."""
        return [*self.apis, *([self.relay] if self.relay is not None else []), *self.consumers]

    def start(self) -> None:
        """Start the first replica, which makes the schema, then all others at once."""
        first, *others = self.programs
        first.start()
        if others:
            with ThreadPoolExecutor(len(others)) as pool:
                list(pool.map(lambda program: program.start(), others))

    def close(self) -> None:
        """Stop all of them."""
        with ExitStack() as stack:
            for program in self.programs:
                stack.callback(program.close)

    def client(self, replica: int = 0, **options: Any) -> httpx.Client:
        """Return a client of one replica."""
        return httpx.Client(base_url=self.apis[replica].url, timeout=60, **options)

    def clients(self) -> list[httpx.AsyncClient]:
        """Return a client of each replica."""
        return [httpx.AsyncClient(base_url=api.url, timeout=60) for api in self.apis]


@contextmanager
def deployed(place: Place, **options: Any) -> Iterator[Deployment]:
    """Run a deployment for as long as the block lasts."""
    made = Deployment(place, **options)
    try:
        made.start()
        yield made
    finally:
        made.close()


Deploy = Callable[..., Any]


def readiness(program: Program) -> tuple[int, Mapping[str, Any]]:
    """Return status and body of `/readyz`."""
    answer = httpx.get(f"{program.url}/readyz", timeout=10)
    return answer.status_code, json.loads(answer.content)
