"""What lies between a process and a backend: every call may be late, lost, unanswered or carried out long after."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from sfm_core.errors import BackendError, BackendUnavailable

__all__ = ["Faulty", "Network", "Wire"]

T = TypeVar("T")
_PATIENCE = 5.0
_HANG = 30.0


class Network:
    """Decides what becomes of each call. All chance is of one generator, all time is the loop's.

    Args:
        chance: the generator of the seed.
        harm: how much goes wrong, 0 for nothing; 1 is a bad day.
    """

    def __init__(self, chance: random.Random, harm: float) -> None:
        self.chance = chance
        self.harm = harm
        self.is_calm = False
        self.down: dict[str, float] = {}
        self.trace: list[str] = []

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{asyncio.get_running_loop().time():.4f} {text}")

    def calm(self) -> None:
        """Let nothing go wrong any more."""
        self.harm = 0.0
        self.is_calm = True
        self.down.clear()

    def happens(self, likelihood: float) -> bool:
        """Draw whether something goes wrong."""
        return self.chance.random() < likelihood * self.harm

    def is_down(self, backend: str) -> bool:
        """Tell whether a backend refuses everything now."""
        return self.down.get(backend, 0.0) > asyncio.get_running_loop().time()

    def delay(self) -> float:
        """Draw how long a message takes."""
        if self.happens(0.03):
            return self.chance.random()
        return self.chance.random() * 0.01


class Wire:
    """The calls of one process, which may be frozen or dead.

    Args:
        network: decides.
        process: its name, for the trace.
    """

    def __init__(self, network: Network, process: str) -> None:
        self.network = network
        self.process = process
        self.alive = True
        self.frozen_until = 0.0
        self._sent: set[asyncio.Task[Any]] = set()

    def cut(self) -> None:
        """Kill the process: what is on its way may arrive, nothing new leaves."""
        self.alive = False
        for task in sorted(self._sent, key=lambda sent: int(sent.get_name())):
            if self.network.chance.random() < 0.5:
                task.cancel()

    async def call(self, backend: str, method: str, effect: Callable[[], Awaitable[T]]) -> T:
        """Carry out a call.

        Raises:
            BackendUnavailable: it failed, or was not answered in time; its effect is unknown then.
        """
        await self.step(backend, method, fails=False)
        if self.network.is_calm:
            self.network.note(f"{self.process} {backend}.{method}")
            return await effect()
        loop = asyncio.get_running_loop()
        label = f"{self.process} {backend}.{method}"
        sent = loop.create_task(self._carried(backend, label, effect), name=str(len(self.network.trace)))
        self._sent.add(sent)
        sent.add_done_callback(self._arrived)
        try:
            async with asyncio.timeout(_PATIENCE):
                answer = await asyncio.shield(sent)
        except TimeoutError:
            self.network.note(f"{label} timed out")
            raise BackendUnavailable(f"simulated/{backend}: no answer in time") from None
        await self._thawed()
        return answer

    async def step(self, backend: str, method: str, *, fails: bool = True) -> None:
        """Let the process come to a call, which may fail before it has any effect."""
        if not self.alive:
            raise BackendUnavailable("simulated: the process is dead")
        await self._thawed()
        if fails and not self.network.is_calm:
            await asyncio.sleep(self.network.delay())
            if self.network.is_down(backend) or self.network.happens(0.02):
                self.network.note(f"{self.process} {backend}.{method} refused")
                raise BackendUnavailable(f"simulated/{backend}: refused")

    async def _carried(self, backend: str, label: str, effect: Callable[[], Awaitable[T]]) -> T:
        network = self.network
        before = _HANG * network.chance.random() if network.happens(0.01) else network.delay()
        lost, unanswered = network.happens(0.02), network.happens(0.02)
        await asyncio.sleep(before)
        if lost or network.is_down(backend):
            network.note(f"{label} refused")
            raise BackendUnavailable(f"simulated/{backend}: refused")
        network.note(label)
        answer = await effect()
        await asyncio.sleep(network.delay())
        if unanswered:
            network.note(f"{label} unanswered")
            raise BackendUnavailable(f"simulated/{backend}: connection lost")
        return answer

    def _arrived(self, sent: asyncio.Task[Any]) -> None:
        self._sent.discard(sent)
        if not sent.cancelled():
            sent.exception()

    async def _thawed(self) -> None:
        left = self.frozen_until - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(left)


class Faulty:
    """A backend as one process sees it over its wire.

    Args:
        wire: of the process.
        name: of the backend.
        inner: what does the work.
        odd: how likely an answer is an error that does not say "try later".
    """

    def __init__(self, wire: Wire, name: str, inner: Any, *, odd: float = 0.0) -> None:
        self._wire = wire
        self._name = name
        self._inner = inner
        self._odd = odd

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._inner, method)
        if not iscoroutinefunction(found):
            return found

        async def call(*arguments: Any, **named: Any) -> Any:
            async def effect() -> Any:
                if self._wire.network.happens(self._odd):
                    raise BackendError(f"simulated/{self._name}: odd")
                return await found(*arguments, **named)

            return await self._wire.call(self._name, method, effect)

        return call
