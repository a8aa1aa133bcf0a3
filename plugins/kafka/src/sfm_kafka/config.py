"""Settings of the Kafka event bus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from sfm_core.config.secret import Secret

__all__ = ["KafkaConfig"]

_Seconds = Annotated[float, Meta(gt=0)]
_Count = Annotated[int, Meta(ge=1)]


class KafkaConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the brokers are, how to log in, what the topics are like, and how patient to be.

    Attributes:
        bootstrap_servers: some brokers of the cluster, as `host:port` (`KAFKA_BOOTSTRAP_SERVERS`); required.
        topic: carries the events. Dead letters are in `<topic>.dlq`, a consumer group is `<topic>.<group>`: installations
            that share a cluster need different ones.
        partitions: of the topic when it is made (12); when set, a topic that has fewer is refused.
        replication: copies of each partition when a topic is made (3, or as many as there are brokers); when set, a topic
            that has fewer is refused.
        min_insync: copies that must hold an event before it is acknowledged, when a topic is made (one fewer than copies).
        retention_hours: how long a topic that is made here keeps events. Dead letters are kept for ever.
        compression: of what is published.
        username, password: to log in with (SASL).
        sasl_mechanism: how the password is proven.
        tls: speak TLS; the brokers' certificates and names are verified.
        tls_ca_file: certificates to trust instead of the system's.
        tls_cert_file, tls_key_file, tls_key_password: the certificate to show, where the brokers ask for one.
        request_timeout: seconds a request may take, connecting included.
        publish_timeout: seconds a publishing may take, its repetitions included.
        session_timeout: seconds of silence after which a consumer is taken for dead and its lanes go to others.
        handover_timeout: seconds that a consumer gets to finish what it holds before its lanes go to others.
        max_pause: seconds between two calls of `receive` after which a consumer loses its lanes.
    """

    bootstrap_servers: Annotated[tuple[str, ...], Meta(min_length=1)]
    topic: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,200}$")] = "memory.events"
    partitions: _Count | None = None
    replication: _Count | None = None
    min_insync: _Count | None = None
    retention_hours: _Count = 168
    compression: Literal["none", "gzip"] = "none"
    username: str | None = None
    password: Secret | None = None
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    tls: bool = False
    tls_ca_file: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_key_password: Secret | None = None
    request_timeout: _Seconds = 5.0
    publish_timeout: _Seconds = 15.0
    session_timeout: _Seconds = 10.0
    handover_timeout: _Seconds = 5.0
    max_pause: _Seconds = 86_400.0

    def __post_init__(self) -> None:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password: only one of them is set, allowed: both or none")
        if not self.tls and (self.tls_ca_file or self.tls_cert_file or self.tls_key_file):
            raise ValueError("tls: false, allowed: true where a certificate or key is set")
        if self.tls_key_file and not self.tls_cert_file:
            raise ValueError("tls_key_file: set without tls_cert_file, allowed: both or none")
        if self.min_insync and self.replication and self.min_insync > self.replication:
            raise ValueError(f"min_insync: got {self.min_insync}, allowed: up to replication ({self.replication})")

    @property
    def dead_letter_topic(self) -> str:
        """The topic of the dead letters."""
        return f"{self.topic}.dlq"

    def group_id(self, group: str) -> str:
        """Return what a consumer group is called in the cluster."""
        return f"{self.topic}.{group}"
