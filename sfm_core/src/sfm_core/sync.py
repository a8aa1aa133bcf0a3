"""The same memory for synchronous callers: one event loop in a thread, safe to call from many threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import inspect
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sfm_core.errors import BackendError, BackendUnavailable
from sfm_core.memory import AgentMemory
from sfm_core.runtime import open_memory as open_async
from sfm_core.services.principal import Principal

__all__ = ["SyncMemory", "open_memory"]

_T = TypeVar("_T")
_CLOSED = "the memory is closed"


class SyncMemory:
    """Every method of `sfm_core.memory.AgentMemory`, as a plain call that returns when the result is there.

    After the `with` block, and for calls that it ends, every method raises `BackendUnavailable`.
    """

    def __init__(self, memory: AgentMemory, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._memory = memory
        self._run = run

    def as_principal(self, principal: Principal) -> SyncMemory:
        """Return the same memory for another principal."""
        return SyncMemory(self._memory.as_principal(principal), self._run)

    def export(self, *, namespace: str | None = None) -> Iterator[bytes]:
        """Yield an archive, line by line."""
        lines = self._memory.export(namespace=namespace)

        async def following() -> bytes | None:
            return await anext(lines, None)

        while (line := self._run(following())) is not None:
            yield line

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._memory, name)
        if not inspect.iscoroutinefunction(method):
            raise AttributeError(f"SyncMemory has no {name!r}")

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._run(method(*args, **kwargs))

        return call


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sfm-memory", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine to its end, called from any other thread."""
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise BackendError("a hook or callback of the memory must not wait for the memory itself")
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:
            coroutine.close()
            raise BackendUnavailable(_CLOSED) from None
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise BackendUnavailable(_CLOSED) from None
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End what still runs, then the loop."""
        self.run(self._end_others())
        self.run(self._loop.shutdown_asyncgens())
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end_others(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


@contextmanager
def open_memory(**options: Any) -> Iterator[SyncMemory]:
    """Open a memory for synchronous callers: `with open_memory() as memory`; options as `sfm_core.open_memory`."""
    loop = _Loop()
    try:
        manager = open_async(**options)
        memory = loop.run(manager.__aenter__())
        try:
            yield SyncMemory(memory, loop.run)
        finally:
            loop.run(manager.__aexit__(None, None, None))
    finally:
        loop.close()
