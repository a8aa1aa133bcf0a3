"""The embedded store as a target: services opened in this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from sfm_app.cli.calls import claim
from sfm_app.cli.target import Call, Progress, Route
from sfm_core.config.modes import Role
from sfm_core.runtime import Runtime, open_services
from sfm_core.services.principal import EVERYTHING

__all__ = ["LocalTarget"]

T = TypeVar("T")
_LINES_AT_ONCE = 256


class LocalTarget:
    """A context manager that opens and closes the store; each operation runs on its own event loop, in this thread.

    An interrupt cancels the running operation, and the store is closed as after any error.
    """

    def __init__(
        self,
        settings: Mapping[str, object],
        *,
        quiet: bool = False,
        role: Role | None = None,
        create: bool | None = None,
        rebuild: bool = False,
    ) -> None:
        """Prepare to open the store.

        Args:
            settings: overrides of the environment, by variable name.
            quiet: no warnings on standard error.
            role: what it is opened as; the library unless given.
            create: whether schema may be made or migrated; None as the mode says.
            rebuild: open a vector index of another embedding too, to make it anew.
        """
        self._runner = asyncio.Runner()
        self._opening = open_services(settings=settings, role=role or Role.LIBRARY, create=create, rebuild=rebuild)
        self._runtime: Runtime
        if quiet:
            logging.getLogger().setLevel(logging.ERROR)

    def __enter__(self) -> Self:
        try:
            self._runtime = self.run(self._opening.__aenter__())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.run(self._opening.__aexit__(kind, error, trace))
        finally:
            self._runner.close()

    @property
    def runtime(self) -> Runtime:
        """The opened plan, ports and services."""
        return self._runtime

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end.

        Raises:
            KeyboardInterrupt: it was interrupted.
        """
        try:
            return self._runner.run(work)
        except asyncio.CancelledError:
            # Nothing but an interrupt cancels it, and the runner forgets one that comes just before it begins to count.
            raise KeyboardInterrupt from None

    def ask(self, call: Call) -> Any:
        """Carry out an operation and return its answer as JSON values."""

        async def work() -> object:
            return await call.local(self._runtime.services, EVERYTHING)

        return _json(self.run(work()))

    def export(self, namespace: str | None) -> Iterator[bytes]:
        """Yield an archive in pieces, as it is made."""
        return self._steps(self._runtime.services.transfer.export(EVERYTHING, namespace=namespace), _LINES_AT_ONCE)

    def import_(self, pieces: Iterable[bytes], key: str | None, progress: Progress) -> Any:
        """Import an archive that comes in pieces.

        They are taken between two steps of the loop, not inside it, so that an interrupt is heard while a pipe is silent.
        """
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
        transfer = self._runtime.services.transfer
        importing = self._runner.get_loop().create_task(
            transfer.import_(EVERYTHING, _drained(queue), key=claim(Route("POST", ("import",)), key), progress=progress)
        )
        for piece in pieces:
            self.run(_put(queue, piece, importing))
            if importing.done():
                break
        self.run(_put(queue, None, importing))
        return _json(self.run(_result(importing)))

    def follow(self, namespace: str | None, after: int) -> Iterator[Any]:
        """Yield change events as JSON values, those to come included."""
        events = self._runtime.services.changes.follow(EVERYTHING, namespace=namespace, after=after)
        return (_json(event) for event in self._steps(events, 1))

    def health(self) -> Any:
        """Return the readiness document, whether it says ready or not."""
        return _json(self.run(self._runtime.services.health.ready()))

    def _steps(self, items: AsyncIterator[T], at_once: int) -> Iterator[T]:
        while taken := self.run(_take(items, at_once)):
            yield from taken


def _json(value: object) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


async def _take(items: AsyncIterator[T], most: int) -> list[T]:
    taken: list[T] = []
    while len(taken) < most:
        try:
            taken.append(await anext(items))
        except StopAsyncIteration:
            break
    return taken


async def _drained(queue: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
    while (piece := await queue.get()) is not None:
        yield piece


async def _put(queue: asyncio.Queue[bytes | None], piece: bytes | None, reader: asyncio.Task[Any]) -> None:
    """Put `piece` (None for the end) as soon as there is room, or give up when its reader has ended."""
    putting = asyncio.ensure_future(queue.put(piece))
    await asyncio.wait({putting, reader}, return_when=asyncio.FIRST_COMPLETED)
    putting.cancel()


async def _result(task: asyncio.Task[T]) -> T:
    return await task
