"""The one tree of errors: everything SomaFractalMemory raises on purpose derives from `SfmError`.

Messages name what was refused, what came and what is allowed. They never carry content, credentials or connection strings.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

__all__ = [
    "BackendError",
    "BackendUnavailable",
    "CapabilityNotSupported",
    "ConfigError",
    "Conflict",
    "CorruptData",
    "DeadlineExceeded",
    "Forbidden",
    "IdempotencyMismatch",
    "InvalidInput",
    "LeaseLost",
    "LimitExceeded",
    "NotFound",
    "PluginError",
    "Problem",
    "SfmError",
    "StaleVersion",
    "Unauthenticated",
]

_SHOWN = 80


class Problem(Struct, frozen=True):
    """One refused argument: its dotted path, what came (shortened) and what is allowed."""

    field: str
    given: str
    allowed: str


def shown(value: object) -> str:
    """Return a short printable form of a refused value for a message; long values are cut, never fully quoted."""
    if isinstance(value, str):
        value = value[: _SHOWN + 1]
    text = ascii(value) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


class SfmError(Exception):
    """Base of all errors of this system."""


class ConfigError(SfmError):
    """A setting, a mode or a combination of them cannot be used; nothing was opened."""


class PluginError(SfmError):
    """A plugin is missing, broken, of another API version, registered twice or untrue to what it declares."""


class InvalidInput(SfmError, ValueError):
    """A caller's value was refused before anything was stored.

    Attributes:
        problems: every refused argument, in the order found.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{p.field}: got {p.given}, allowed: {p.allowed}" for p in self.problems))

    @classmethod
    def of(cls, field: str, given: object, allowed: str) -> InvalidInput:
        """Build the error for one argument."""
        return cls([Problem(field, shown(given), allowed)])


class LimitExceeded(InvalidInput):
    """A value is larger than the limit in force."""


class Forbidden(SfmError):
    """The principal may not do this here; whether the thing exists is not told."""


class Unauthenticated(SfmError):
    """Nobody knows who asks: an API key is missing, wrong, expired or revoked."""


class BackendError(SfmError):
    """A backend refused or failed; the text starts with `plugin/port:`."""


class BackendUnavailable(BackendError):
    """A backend cannot be reached now; trying again later may work.

    Attributes:
        retry_after: seconds after which to try again.
    """

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CorruptData(BackendError):
    """Stored data is damaged or was written by an unknown version; nothing was overwritten."""


class Conflict(BackendError):
    """The write collides with what is stored: a taken id, an occupied coordinate."""


class StaleVersion(Conflict):
    """The stored version is not the expected one.

    Attributes:
        current: the version that is stored.
    """

    def __init__(self, message: str, *, current: int) -> None:
        super().__init__(message)
        self.current = current


class IdempotencyMismatch(Conflict):
    """The idempotency key was used for another request."""


class LeaseLost(Conflict):
    """A write was fenced by a lease that is not the current one any more; nothing was written."""


class NotFound(BackendError):
    """No such thing, or not for this principal, or deleted, expired or erased."""


class CapabilityNotSupported(BackendError):
    """A feature needs a capability that no loaded backend declares."""


class DeadlineExceeded(SfmError):
    """A bounded wait ended before its condition held."""
