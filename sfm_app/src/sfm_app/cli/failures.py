"""How a refusal or failure is told: one line on standard error, in JSON when that was asked for."""

from __future__ import annotations

from typing import Any

import msgspec

from sfm_app.cli.output import write_text
from sfm_core.errors import InvalidInput, SfmError

__all__ = ["report"]


def report(error: Exception, *, as_json: bool) -> bool:
    """Tell `error` when it is one of ours (alone, or all of a group are); return whether it was told.

    An `OSError` is told as well: a file that cannot be read or written is no fault of the program.
    """
    errors = _leaves(error)
    if not all(isinstance(leaf, SfmError | OSError) for leaf in errors):
        return False
    for leaf in errors:
        text = msgspec.json.encode({"error": _problem(leaf)}).decode() if as_json else f"error: {_line(leaf)}"
        write_text(text, err=True)
    return True


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]


def _line(error: BaseException) -> str:
    return " ".join(line.strip() for line in str(error).splitlines()) or type(error).__name__


def _problem(error: BaseException) -> dict[str, Any]:
    problem: dict[str, Any] = {"type": type(error).__name__, "detail": _line(error)}
    if isinstance(error, InvalidInput):
        problem["errors"] = [msgspec.to_builtins(part) for part in error.problems]
    return problem
