"""Types of options: JSON values and lists of numbers, read strictly."""

from __future__ import annotations

import json
from typing import Any

import click

__all__ = ["JSON", "KIND", "NUMBERS", "ORDER"]

KIND = click.Choice(["episodic", "semantic", "procedural"])
_ORDERS = ("created_at", "occurred_at", "importance", "position")
ORDER = click.Choice([sign + name for name in _ORDERS for sign in ("", "-")])


class _Json(click.ParamType):  # type: ignore[type-arg]
    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the JSON value of the text `value`; a name that comes twice is refused."""
        try:
            return json.loads(value, parse_constant=_constant, object_pairs_hook=_object)
        except RecursionError:
            self.fail("it is nested too deeply", param, ctx)
        except ValueError as error:
            self.fail(f"it is no JSON: {error}", param, ctx)


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON value")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name comes twice in one object")
    return members


class _Numbers(click.ParamType):  # type: ignore[type-arg]
    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[float]:
        """Return the numbers of the text `value`, with commas between."""
        try:
            return [float(part) for part in value.split(",")]
        except ValueError:
            self.fail(f"{value!r} is no list of numbers with commas between", param, ctx)


JSON = _Json()
NUMBERS = _Numbers()
