"""What is open while the service runs: backends, services, traces and background tasks, on one exit stack."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from sfm_app.background import Task, running
from sfm_app.container import Container, container_of
from sfm_app.observability.metrics import Metrics
from sfm_app.observability.traces import Tracer, open_tracer
from sfm_core.config.modes import Role
from sfm_core.runtime import open_services

__all__ = ["opened"]


@asynccontextmanager
async def opened(
    settings: Mapping[str, object] | None, metrics: Metrics
) -> AsyncIterator[tuple[Container, Tracer | None]]:
    """Open everything that `settings` and the environment ask for; closed in reverse order at the end.

    Raises:
        SfmError: as `sfm_core.runtime.open_services`, and `ConfigError` when traces cannot be sent; nothing stays open.
    """
    async with AsyncExitStack() as stack:
        runtime = await stack.enter_async_context(open_services(settings=settings, role=Role.SERVICE))
        tracer = stack.enter_context(open_tracer(runtime.settings))
        container = container_of(runtime, metrics)
        await stack.enter_async_context(running(_tasks(container), metrics))
        yield container, tracer


def _tasks(container: Container) -> dict[str, Task]:
    tasks: dict[str, Task] = {"sweep": container.sweeper().run, "metrics": container.metrics().share}
    if container.events() is not None:
        tasks["relay"] = container.relay().run
    return tasks
