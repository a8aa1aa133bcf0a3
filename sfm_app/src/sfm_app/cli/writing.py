"""The options that write commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from sfm_app.cli.calls import Writing

__all__ = ["writing_options"]


def writing_options(*, version: bool = False, wait: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options of a write to a command and hand them to it as one argument, `writing`.

    Args:
        version: whether the write takes --if-version.
        wait: whether it takes --wait.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def command(
            *args: Any,
            idempotency_key: str | None,
            if_version: int | None = None,
            wait: bool = False,
            **values: Any,
        ) -> Any:
            return function(*args, writing=Writing(idempotency_key, if_version, wait), **values)

        wrapped = _KEY(command)
        if version:
            wrapped = _VERSION(wrapped)
        return _WAIT(wrapped) if wait else wrapped

    return decorate


_KEY = click.option("--idempotency-key", metavar="KEY", help="Repeating the command with the same key writes nothing.")
_VERSION = click.option("--if-version", type=int, metavar="N", help="Refuse unless this version is stored.")
_WAIT = click.option("--wait", is_flag=True, help="Wait, bounded, until the projections hold the write.")
