"""What a command works on: one operation described once, for the services here and for the routes of a service there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from sfm_core.services.principal import Principal
    from sfm_core.services.wiring import Services

__all__ = ["Call", "Progress", "Route", "Target", "given"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Route:
    """A request to the service: the path below `/v1` in segments, the query, the JSON body, further headers."""

    method: str
    path: tuple[str, ...]
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """An operation in both forms; either gives the same JSON."""

    route: Route
    local: Callable[[Services, Principal], Awaitable[Any]]


class Target(Protocol):
    """The embedded store or a running service. Every method may raise any `SfmError`."""

    def ask(self, call: Call) -> Any:
        """Carry out an operation and return its answer as JSON values."""
        ...

    def export(self, namespace: str | None) -> Iterator[bytes]:
        """Yield an archive in pieces, as it is made."""
        ...

    def import_(self, pieces: Iterable[bytes], key: str | None, progress: Progress) -> Any:
        """Store an archive that comes in pieces and return the report as JSON values.

        `progress(done, total)` tells how many of its lines are stored, where that can be seen.
        """
        ...

    def follow(self, namespace: str | None, after: int) -> Iterator[Any]:
        """Yield change events as JSON values, those to come included: it ends only with the target."""
        ...

    def health(self) -> Any:
        """Return the readiness document, whether it says ready or not."""
        ...


def given(**values: Any) -> dict[str, Any]:
    """Return the values that are not None: an option that was not given is not sent."""
    return {name: value for name, value in values.items() if value is not None}
