"""Relay and consumer as parts of a process: built over what is open, and counted."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import cast

from sfm_app.observability.metrics import Labels, Metrics
from sfm_core.ports.abilities import Leases
from sfm_core.ports.events import Events, EventsCapability
from sfm_core.ports.storage import StorageCapability
from sfm_core.runtime import Runtime
from sfm_core.services.consumer import Consumer
from sfm_core.services.leadership import Leadership
from sfm_core.services.progress import Progress
from sfm_core.services.relay import RELAY, Relay

__all__ = ["can", "consumer_of", "relay_of"]

Counts = Mapping[tuple[str, Labels], int]


def can(runtime: Runtime, slot: str, ability: StrEnum) -> bool:
    """Tell whether the backend in `slot` of the plan declares `ability`."""
    filled = runtime.plan.slots.get(slot)
    return filled is not None and ability in runtime.registry.backend(filled.port, filled.backend).capabilities


def relay_of(runtime: Runtime, metrics: Metrics) -> Relay:
    """Return the relay from the log to the bus of `runtime`; under a lease where the storage has leases.

    A bus that forgets lives in this process alone: every process relays to its own.
    """
    durable = can(runtime, "events", EventsCapability.DURABLE)
    leadership: Leadership | None = None
    if durable and can(runtime, "storage", StorageCapability.LEASES):
        leadership = Leadership(cast(Leases, runtime.ports.storage), RELAY)
    relay = Relay(
        runtime.ports.storage,
        cast(Events, runtime.ports.events),
        source=runtime.settings.source,
        durable=durable,
        leadership=leadership,
    )

    def counts() -> Counts:
        return {("sfm_relayed_events_total", ()): relay.published, ("sfm_relay_failures_total", ()): relay.failures}

    def levels() -> Counts:
        return {
            ("sfm_relay_lag", ()): relay.lag,
            ("sfm_relay_leader", ()): int(relay.is_leader),
            ("sfm_relay_position", ()): relay.position,
        }

    metrics.watch(counts)
    metrics.show(levels)
    return relay


def consumer_of(runtime: Runtime, metrics: Metrics) -> Consumer:
    """Return the consumer that brings the projections of `runtime` up to its bus."""
    settings, events = runtime.settings, cast(Events, runtime.ports.events)
    projector, group = runtime.services.projector, settings.consumer_group
    progress = Progress(runtime.ports.storage, events, name=projector.name, group=group)
    consumer = Consumer(
        events,
        projector,
        progress,
        group=group,
        source=settings.source,
        batch=settings.consumer_batch,
        attempts=settings.consumer_attempts,
    )

    def counts() -> Counts:
        return {
            ("sfm_consumer_batches_total", ()): consumer.batches,
            ("sfm_consumer_dead_letters_total", ()): consumer.dead_letters,
            ("sfm_consumer_events_total", ()): consumer.events,
            ("sfm_consumer_failures_total", ()): consumer.failures,
        }

    def levels() -> Counts:
        found: dict[tuple[str, Labels], int] = {
            ("sfm_consumer_paused", ()): int(consumer.paused is not None),
            ("sfm_consumer_position", ()): progress.position,
        }
        for lane, behind in progress.lag.items():
            found["sfm_consumer_lag", (("lane", lane),)] = behind
        return found

    metrics.watch(counts)
    metrics.show(levels)
    return consumer
