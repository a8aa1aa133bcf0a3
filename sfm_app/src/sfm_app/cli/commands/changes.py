"""changes: the change log, once or followed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import click

from sfm_app.cli import calls, views
from sfm_app.cli.invocation import Invocation, command
from sfm_app.cli.target import Target

__all__ = ["changes_command"]

_PAGE = 1000


@command("changes")
@click.option("--namespace", metavar="NS", help="Only of this namespace; `a/**` takes all below as well.")
@click.option("--after", type=int, default=0, metavar="SEQUENCE", help="Only what came after this change.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="How many at most; all unless given.")
@click.option("--follow", is_flag=True, help="Stay, and show changes as they come; interrupt to end.")
def changes_command(invocation: Invocation, namespace: str | None, after: int, limit: int | None, follow: bool) -> None:
    """Show what was written, in order.

    One line for each change; with --json one CloudEvent a line.
    """
    from sfm_app.cli.output import write_line, write_text

    with invocation.target() as target:
        events = target.follow(namespace, after) if follow else _pages(target, namespace, after, limit)
        for event in islice(events, limit):
            if invocation.json:
                write_line(event)
            else:
                write_text(views.change(event))


def _pages(target: Target, namespace: str | None, after: int, limit: int | None) -> Iterator[Any]:
    """Yield the log up to its end, reading no more than is asked for."""
    while True:
        page = target.ask(calls.changes(namespace=namespace, after=after, limit=min(limit or _PAGE, _PAGE)))
        yield from page["items"]
        if page["next"] is None:
            return
        after = page["next"]
