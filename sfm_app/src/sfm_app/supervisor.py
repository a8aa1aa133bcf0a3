"""Workers of one service: started, watched, replaced when they die, stopped together.

uvicorn's own supervisor starts uvicorn's own server class and has changed its signature between releases; this one starts
ours, which ends event streams at a stop.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

from sfm_app.observability.logs import get_logger
from sfm_core.errors import BackendError

__all__ = ["FAILED_TO_START", "Supervisor"]

FAILED_TO_START = 3
"""Exit code of a worker that could not start: starting it again would fail the same way. It is uvicorn's."""

_LOOK = 0.2
_PAUSE = 0.5


class Supervisor:
    """Keeps `workers` processes of `work(*arguments)` alive until SIGTERM or SIGINT.

    Args:
        work: runs in each process; must be importable, and `arguments` must survive pickling.
        arguments: given to it.
        workers: how many.
        patience: seconds that a worker gets to stop before it is killed.
    """

    def __init__(
        self, work: Callable[..., None], arguments: tuple[object, ...], *, workers: int, patience: float
    ) -> None:
        self._work = work
        self._arguments = arguments
        self._workers = workers
        self._patience = patience
        self._stopping = False
        self._processes: list[SpawnProcess] = []
        self._log = get_logger()

    def run(self) -> None:
        """Start the workers and return when all have stopped.

        Raises:
            BackendError: one could not start; the others were stopped.
        """
        with self._signals():
            self._processes = [self._started() for _ in range(self._workers)]
            try:
                while not self._stopping:
                    wait([process.sentinel for process in self._processes], timeout=_LOOK)
                    self._replace_dead()
            finally:
                self._stop()

    def _started(self) -> SpawnProcess:
        process = get_context("spawn").Process(target=self._work, args=self._arguments)
        process.start()
        return process

    def _replace_dead(self) -> None:
        for place, process in enumerate(self._processes):
            if process.exitcode is None or self._stopping:
                continue
            if process.exitcode == FAILED_TO_START:
                raise BackendError("a worker could not start; the log says why")
            self._log.error("worker died", process=process.pid, code=process.exitcode)
            # One that dies at once must not be started again as fast as the machine can.
            time.sleep(_PAUSE)
            self._processes[place] = self._started()

    def _stop(self) -> None:
        for process in self._processes:
            if process.exitcode is None:
                process.terminate()
        deadline = time.monotonic() + self._patience
        for process in self._processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.exitcode is None:
                self._log.error("worker did not stop in time", process=process.pid)
                process.kill()
                process.join()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def stop(*_: object) -> None:
            self._stopping = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
