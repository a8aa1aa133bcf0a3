"""The wiring table: ready objects by name. Lifecycles stay on the exit stack of `sfm_app.lifespan`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from dependency_injector.containers import DeclarativeContainer
from dependency_injector.providers import Dependency, Singleton

from sfm_app.background import Sweeper
from sfm_app.http.door import door_of
from sfm_app.http.limiter import Limiter
from sfm_app.observability.metrics import Labels, Metrics
from sfm_app.pipeline import consumer_of, relay_of
from sfm_core.runtime import Runtime
from sfm_core.services.steady import SteadyCache

__all__ = ["Container", "container_of"]


class Container(DeclarativeContainer):
    """What the application is made of: a `Dependency` per port and for the services, a `Singleton` per part of its own."""

    settings: Dependency = Dependency()  # type: ignore[type-arg]
    services: Dependency = Dependency()  # type: ignore[type-arg]
    metrics: Dependency = Dependency()  # type: ignore[type-arg]

    storage: Dependency = Dependency()  # type: ignore[type-arg]
    vectors: Dependency = Dependency()  # type: ignore[type-arg]
    cache: Dependency = Dependency()  # type: ignore[type-arg]
    events: Dependency = Dependency()  # type: ignore[type-arg]
    embedding: Dependency = Dependency()  # type: ignore[type-arg]
    runtime: Dependency = Dependency()  # type: ignore[type-arg]

    door = Singleton(door_of, runtime)
    limiter = Singleton(Limiter, services.provided.cache, settings.provided.rate_limit, metrics)
    sweeper = Singleton(Sweeper, services.provided.forget, metrics)
    relay = Singleton(relay_of, runtime, metrics)
    consumer = Singleton(consumer_of, runtime, metrics)


def container_of(runtime: Runtime, metrics: Metrics) -> Container:
    """Return the container over what `runtime` has opened."""
    ports = runtime.ports
    if (cache := runtime.services.cache) is not None:
        metrics.watch(partial(_cache_counts, cache))
    return Container(
        settings=runtime.settings,
        services=runtime.services,
        metrics=metrics,
        storage=ports.storage,
        vectors=ports.vectors,
        cache=ports.cache,
        events=ports.events,
        embedding=ports.embedding,
        runtime=runtime,
    )


def _cache_counts(cache: SteadyCache) -> Mapping[tuple[str, Labels], int]:
    named: dict[tuple[str, Labels], int] = {}
    for name, count in cache.counts.items():
        kind, _, what = name.rpartition("_")
        labels = (("kind", kind),) if kind else ()
        named[f"sfm_cache_{what}_total", labels] = count
    return named
