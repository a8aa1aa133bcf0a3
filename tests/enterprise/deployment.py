"""A deployment: API replicas, a relay and consumers as processes of their own, over servers that others run."""

from __future__ import annotations

import asyncio
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
from sfm_qdrant.config import QdrantConfig
from sfm_qdrant.testing import drop_collections, server_config, wires

VECTORS = ("pgvector", *(f"qdrant-{wire}" for wire in wires()))
"""What stands in the vector slot: Qdrant over HTTP and over gRPC wherever `TEST_QDRANT_URL` names a server."""


def _redis(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    found = {"REDIS_HOST": parts.hostname or "127.0.0.1", "REDIS_PORT": str(parts.port or 6379)}
    if parts.password:
        found["SFM_REDIS__PASSWORD"] = unquote(parts.password)
    if parts.path.strip("/"):
        found["SFM_REDIS__DB"] = parts.path.strip("/")
    return found | ({"SFM_REDIS__TLS": "true"} if parts.scheme == "rediss" else {})


def _qdrant(config: QdrantConfig) -> dict[str, str]:
    found = {
        "QDRANT_HOST": config.host,
        "QDRANT_PORT": str(config.port),
        "SFM_QDRANT__TLS": str(config.tls).lower(),
        "SFM_QDRANT__COLLECTION": config.collection,
        "SFM_QDRANT__TIMEOUT": str(config.timeout),
        "SFM_QDRANT__WRITE_TIMEOUT": str(config.write_timeout),
    }
    if config.grpc_port is not None:
        found["QDRANT_GRPC_PORT"] = str(config.grpc_port)
    return found | ({"QDRANT_API_KEY": config.api_key.reveal()} if config.api_key is not None else {})


class Place:
    """Where a deployment keeps everything: a database, a key prefix, a topic and a collection of its own."""

    def __init__(self, postgres: PostgresAt, redis: RedisAt, kafka: KafkaAt, *, vectors: str = VECTORS[0]) -> None:
        self.name = f"sfm_{uuid4().hex}"
        self.postgres = postgres
        self.redis = redis
        self.kafka = kafka
        self.database = postgres.new_database()
        self.qdrant = server_config(vectors.removeprefix("qdrant-"), self.name) if vectors != VECTORS[0] else None

    def environment(self, **settings: str) -> dict[str, str]:
        """Return the environment of a process of the deployment."""
        vectors = _qdrant(self.qdrant) if self.qdrant is not None else {}
        return {
            **apart(),
            "MEMORY_MODE": "evented_enterprise",
            "SFM_VECTORS": "pgvector" if self.qdrant is None else "qdrant",
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
        """Drop database and collections; keys and topics have names that nobody uses again."""
        self.postgres.drop_database(self.database)
        if self.qdrant is not None:
            asyncio.run(drop_collections(self.qdrant))


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
