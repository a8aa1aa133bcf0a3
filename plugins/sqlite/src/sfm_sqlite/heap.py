"""Giving memory back to the system."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["trim_heap"]

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def trim_heap() -> None:
    """Have the C library return what building something large left free; only glibc keeps it otherwise.

    After reading the terms of ten namespaces of 10,000 memories that is a tenth of the process's memory. Takes a few
    milliseconds and does nothing elsewhere.
    """
    if _trim is not None:
        _trim(0)
