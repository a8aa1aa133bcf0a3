"""Answers as text for people: short lines and columns."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sfm_app.cli.output import printable

__all__ = ["columns", "counted", "fields", "moment", "one_line"]

_GAP = "  "


def one_line(value: object) -> str:
    """Return a value as printable text on one line; None as nothing."""
    return "" if value is None else printable(" ".join(str(value).split()))


def moment(value: str | None) -> str:
    """Return the date and minute of an ISO 8601 time in UTC."""
    return "" if value is None else value[:16].replace("T", " ")


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return `1 memory`, `2 memories`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def columns(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table under a header; at a terminal the last column is cut at its edge."""
    cells = [list(header), *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "\n".join(map(_cut, lines)) if len(cells) > 1 else "(none)"


def _cut(line: str) -> str:
    if not sys.stdout.isatty():
        return line
    width = shutil.get_terminal_size().columns
    return line if len(line) <= width else line[: width - 1] + "…"


def fields(values: Mapping[str, Any]) -> str:
    """Return `name: value` lines of what is not empty; a text of several lines goes below its name."""
    shown = {name: value for name, value in values.items() if value not in (None, "", [], {}, ())}
    width = max(map(len, shown), default=0) + 1
    return "\n".join(f"{name + ':':<{width}} {_value(value)}" for name, value in shown.items())


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    if isinstance(value, str) and "\n" in value:
        return "".join(f"\n  {line}" for line in value.splitlines())
    return str(value)
