"""What is open while a process runs: backends, services, traces and background tasks, on one exit stack."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from sfm_app.background import Task, running
from sfm_app.container import Container, container_of
from sfm_app.observability.metrics import Metrics
from sfm_app.observability.traces import Tracer, open_tracer
from sfm_core.config.modes import Indexing, Role
from sfm_core.runtime import Runtime, open_services

__all__ = ["opened"]


@asynccontextmanager
async def opened(
    settings: Mapping[str, object] | None, metrics: Metrics, role: Role = Role.SERVICE
) -> AsyncIterator[tuple[Container, Tracer | None]]:
    """Open everything that `settings` and the environment ask for; closed in reverse order at the end.

    A consumer finishes the batch in hand first, for at most `UVICORN_TIMEOUT_GRACEFUL`.

    Args:
        settings: overrides of the environment.
        metrics: where things are counted.
        role: what the process is: the API, a consumer or a relay.

    Raises:
        SfmError: as `sfm_core.runtime.open_services`, and `ConfigError` when traces cannot be sent, or others could
            reach a service that asks nobody for a key; nothing stays open.
    """
    async with AsyncExitStack() as stack:
        runtime = await stack.enter_async_context(open_services(settings=settings, role=role))
        tracer = stack.enter_context(open_tracer(runtime.settings))
        container = container_of(runtime, metrics)
        if role is Role.SERVICE:
            await container.door().open()
        stop = {"consumer": container.consumer().stop} if role is Role.CONSUMER else None
        patience = runtime.settings.graceful_timeout
        await stack.enter_async_context(running(_tasks(container, runtime), metrics, stop=stop, patience=patience))
        yield container, tracer


def _tasks(container: Container, runtime: Runtime) -> dict[str, Task]:
    tasks: dict[str, Task] = {"metrics": container.metrics().share}
    if runtime.plan.role is Role.SERVICE:
        tasks["sweep"] = container.sweeper().run
        tasks["keys"] = container.door().watch
    if runtime.plan.role is Role.CONSUMER:
        tasks["consumer"] = container.consumer().run
    if _relays(runtime):
        tasks["relay"] = container.relay().run
    return tasks


def _relays(runtime: Runtime) -> bool:
    """Tell whether the change log is handed to the bus by this process."""
    match runtime.plan.role:
        case Role.SERVICE:
            return runtime.ports.events is not None and runtime.plan.indexing is Indexing.INLINE
        case Role.CONSUMER:
            return runtime.settings.consumer_relay
        case role:
            return role is Role.RELAY
