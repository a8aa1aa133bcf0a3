"""Registration of the Kafka event bus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import BackendSpec, OpenContext, PluginInfo, Port, Security
from sfm_core.ports.events import EventsCapability
from sfm_kafka.config import KafkaConfig

__all__ = ["sfm_events", "sfm_plugin_info"]

_ENV = {"KAFKA_BOOTSTRAP_SERVERS": "bootstrap_servers"}
_CREDENTIALS = "SFM_KAFKA__PASSWORD: not set, allowed: a password, or a certificate in SFM_KAFKA__TLS_CERT_FILE"


@asynccontextmanager
async def _open_events(config: KafkaConfig, context: OpenContext) -> AsyncIterator[Any]:
    from sfm_kafka.events import open_events

    async with open_events(config, create=context.create and not context.read_only) as events:
        yield events


def _security(config: KafkaConfig) -> Security:
    known = config.password is not None or config.tls_cert_file is not None
    return Security(
        tls=None if config.tls else "SFM_KAFKA__TLS: false, allowed: true",
        credentials=None if known else _CREDENTIALS,
    )


@hookimpl
def sfm_plugin_info() -> PluginInfo:
    """Say who this plugin is."""
    return PluginInfo(name="kafka", version="0.10.0", api="1.0", summary="an event bus on Apache Kafka or Redpanda")


@hookimpl
def sfm_events() -> Sequence[BackendSpec]:
    """Offer the event bus: all abilities."""
    spec = BackendSpec(
        port=Port.EVENTS,
        name="kafka",
        config=KafkaConfig,
        open=_open_events,
        capabilities=frozenset({EventsCapability.DURABLE, EventsCapability.SHARED, EventsCapability.DEAD_LETTERS}),
        env=_ENV,
        security=_security,
    )
    return [spec]
