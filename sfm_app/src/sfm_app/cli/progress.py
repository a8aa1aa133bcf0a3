"""Progress bars on standard error: at a terminal, or when asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO, cast

import click

__all__ = ["PROGRESS", "bar"]

PROGRESS = click.option(
    "--progress/--no-progress", default=None, help="Show progress on standard error; by default at a terminal."
)


class _Terminal:
    """Standard error that passes for a terminal, so that a bar is drawn where it was asked for."""

    def isatty(self) -> bool:
        return True

    def __getattr__(self, name: str) -> object:
        return getattr(sys.stderr, name)


@contextmanager
def bar(label: str, shown: bool | None, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Yield a function to be called with (done, total).

    Args:
        label: stands before the bar.
        shown: whether the bar is drawn; None for at a terminal only.
        quiet: never, whatever `shown` says.
    """
    if quiet or not (sys.stderr.isatty() if shown is None else shown):
        yield lambda done, total: None
        return
    with click.progressbar(length=1, label=label, file=cast(TextIO, _Terminal()), show_percent=True) as drawn:

        def advance(done: int, total: int) -> None:
            # Not `update`, which cannot go back: an import counts first what is read, then what is stored.
            drawn.length, drawn.finished = max(total, 1), False
            drawn.make_step(done - drawn.pos)
            drawn.render_progress()

        yield advance
