"""The same memory for synchronous callers: one event loop in a thread, safe to call from many threads."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sfm_core.memory import AgentMemory
from sfm_core.runtime import open_memory as open_async

__all__ = ["SyncMemory", "open_memory"]

_T = TypeVar("_T")


class SyncMemory:
    """Every method of `sfm_core.memory.AgentMemory`, as a plain call that returns when the result is there."""

    def __init__(self, memory: AgentMemory, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._memory = memory
        self._run = run

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._memory, name)
        if not inspect.iscoroutinefunction(method):
            raise AttributeError(f"SyncMemory has no {name!r}")

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._run(method(*args, **kwargs))

        return call


@contextmanager
def open_memory(**options: Any) -> Iterator[SyncMemory]:
    """Open a memory for synchronous callers: `with open_memory() as memory`; options as `sfm_core.open_memory`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sfm-memory", daemon=True)
    thread.start()

    def run(coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    try:
        manager = open_async(**options)
        memory = run(manager.__aenter__())
        try:
            yield SyncMemory(memory, run)
        finally:
            run(manager.__aexit__(None, None, None))
    finally:
        run(loop.shutdown_default_executor())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
