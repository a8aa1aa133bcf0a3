"""An event loop without waiting: its time jumps to the next thing that is due, so that hours pass at once and repeatably."""

from __future__ import annotations

import asyncio
import selectors

__all__ = ["VirtualLoop"]


class _Jumping(selectors.SelectSelector):
    """Lets virtual time pass where a loop would wait for real time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready, without waiting; while time can pass nobody is asked, since that costs the most."""
        if timeout is not None:
            self.now += max(timeout, 0.0)
            return []
        if ready := super().select(0):
            return ready
        raise RuntimeError("every task waits for another: nothing can happen any more")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs what asyncio runs, in the same order each time. What happens in threads or over sockets is not waited for."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._jumping.now
