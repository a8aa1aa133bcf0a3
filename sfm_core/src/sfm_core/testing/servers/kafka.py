"""A real Apache Kafka broker: one node in KRaft mode, its jars from Maven Central."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from sfm_core.testing.servers.found import java, kafka_jars
from sfm_core.testing.servers.process import Server, free_port

__all__ = ["KafkaAt", "KafkaServer"]

CLUSTER = "c2ZtLXRlc3Qta2Fma2ExMQ"
# One node on a busy machine: small heap, a compiler that starts fast.
JVM = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")

SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "2",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # A killed broker is taken back as soon as it is up again.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    "controlled.shutdown.enable": "false",
    "auto.create.topics.enable": "false",
}


class KafkaAt:
    """The Kafka that a list of `host:port` names."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap


class KafkaServer(KafkaAt, Server):
    """A broker of one's own, without encryption or credentials."""

    title = "Kafka"

    def __init__(
        self,
        *,
        folder: Path | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.java, self.jars = java(), kafka_jars()
        Server.__init__(self, folder=folder, port=port)
        KafkaAt.__init__(self, f"127.0.0.1:{self.port}")
        self.controller = free_port()
        self.settings = {**SETTINGS, **(settings or {})}

    @property
    def properties(self) -> Path:
        """The broker's configuration file."""
        return self.folder / "server.properties"

    def prepare(self) -> None:
        """Write the configuration and format the log folder."""
        data = self.folder / "data"
        places = {
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "log.dirs": str(data),
        }
        lines = (f"{name}={value}\n" for name, value in {**places, **self.settings}.items())
        self.properties.write_text("".join(lines), encoding="utf-8")
        if not (data / "meta.properties").exists():
            self.run(*self._program("kafka.tools.StorageTool"), "format", "-t", CLUSTER, "-c", str(self.properties))

    def command(self) -> Sequence[str]:
        """Return the broker's command line."""
        return [*self._program("kafka.Kafka"), str(self.properties)]

    def _program(self, name: str) -> list[str]:
        return [str(self.java), *JVM, "-cp", f"{self.jars}/*", name]

    def ready(self) -> bool:
        """Tell whether the broker answers which versions it speaks, which it does only once it has started."""
        request = struct.pack(">hhih", 18, 0, 1, -1)
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(struct.pack(">i", len(request)) + request)
                return len(connection.recv(4)) == 4
        except OSError:
            return False
