"""Pauses that grow while something keeps failing."""

from __future__ import annotations

from sfm_core.errors import SfmError

__all__ = ["Backoff", "told"]


class Backoff:
    """Gives the seconds to wait before each new attempt: doubled from `first` up to `longest`.

    Args:
        first, longest: seconds.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def reset(self) -> None:
        """Begin again with the first pause: an attempt succeeded."""
        self._next = self._first

    def pause(self) -> float:
        """Return the seconds to wait now."""
        now = self._next
        self._next = min(2 * now, self._longest)
        return now


def told(error: BaseException) -> str:
    """Return what may be said of an error: our own text, of any other its class only (it may hold content or addresses)."""
    return str(error) if isinstance(error, SfmError) else f"raised {type(error).__name__}"
