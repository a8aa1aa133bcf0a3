"""Real servers for tests, without root and without containers: PostgreSQL, Redis and Kafka, started from packages.

A test takes a server from the fixtures of `sfm_core.testing.servers.fixtures`, or starts one of its own:

    with PostgresServer() as server:
        url = server.new_database()
        server.kill()
        server.start()

Every server has its own folder, port and process group, and ends with the program that started it, even when that is
killed. Linux only.
"""

from __future__ import annotations

from sfm_core.testing.servers.found import COMMAND, Missing
from sfm_core.testing.servers.kafka import KafkaAt, KafkaServer
from sfm_core.testing.servers.postgres import PostgresAt, PostgresServer
from sfm_core.testing.servers.process import Server, free_port
from sfm_core.testing.servers.redis import RedisAt, RedisServer

__all__ = [
    "COMMAND",
    "KafkaAt",
    "KafkaServer",
    "Missing",
    "PostgresAt",
    "PostgresServer",
    "RedisAt",
    "RedisServer",
    "Server",
    "free_port",
]
