"""get, list, history and restore: reading what is stored now and was stored before."""

from __future__ import annotations

from typing import Any

import click

from sfm_app.cli import calls, views
from sfm_app.cli.calls import Writing
from sfm_app.cli.invocation import Invocation, command
from sfm_app.cli.values import JSON, KIND, NUMBERS, ORDER
from sfm_app.cli.writing import writing_options

__all__ = ["get_command", "history_command", "list_command", "restore_command"]

_LIMIT = click.option("--limit", type=int, metavar="N", help="How many at most; 100 unless given.")
_CURSOR = click.option("--cursor", metavar="CURSOR", help="Go on where an earlier page ended.")


@command("get")
@click.argument("id")
@click.option("--as-of", metavar="TIME", help="As it was stored at that moment.")
def get_command(invocation: Invocation, id: str, as_of: str | None) -> None:
    """Show the memory ID."""
    invocation.answer(calls.get(id, as_of=as_of), views.memory)


@command("list")
@click.option(
    "--namespace", metavar="NS", help="Which namespace, `default` unless given; `a/**` takes all below as well."
)
@click.option("--kind", type=KIND, help="Only this kind.")
@click.option("--author", metavar="TEXT", help="Only of this author.")
@click.option("--thread", metavar="TEXT", help="Only of this thread.")
@click.option("--tag", metavar="TEXT", help="Only with this tag.")
@click.option("--filter", type=JSON, metavar="JSON", help="A filter on fields and payload.")
@click.option("--order", type=ORDER, help="What to sort by, - for the largest first; -created_at unless given.")
@click.option("--as-of", metavar="TIME", help="As they were stored at that moment.")
@_LIMIT
@_CURSOR
@click.option("--all", "everything", is_flag=True, help="All pages, not only one.")
@click.option("--coordinate", type=NUMBERS, metavar="X,Y,...", help="The memory at this place.")
@click.option("--min", "low", type=NUMBERS, metavar="X,Y,...", help="With --max: those in a box, its bounds included.")
@click.option("--max", "high", type=NUMBERS, metavar="X,Y,...", help="The other corner of the box.")
def list_command(
    invocation: Invocation,
    everything: bool,
    coordinate: list[float] | None,
    low: list[float] | None,
    high: list[float] | None,
    **query: Any,
) -> None:
    """List memories, newest first."""
    if (coordinate, low, high) == (None, None, None):
        _list(invocation, everything, query)
        return
    place = {name: query.pop(name) for name in ("namespace", "limit")}
    if everything or any(value is not None for value in query.values()):
        raise click.UsageError("--coordinate, --min and --max go with --namespace and --limit only")
    call = calls.at_coordinate(coordinate=coordinate, low=low, high=high, **place)
    invocation.answer(call, views.page)


def _list(invocation: Invocation, everything: bool, query: dict[str, Any]) -> None:
    if not everything:
        invocation.answer(calls.memories(**query), views.page)
        return
    items: list[Any] = []
    with invocation.target() as target:
        while True:
            page = target.ask(calls.memories(**query))
            items += page["items"]
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
    invocation.show({"items": items, "next": None}, views.page)


@command("history")
@click.argument("id")
@_LIMIT
@_CURSOR
def history_command(invocation: Invocation, id: str, limit: int | None, cursor: str | None) -> None:
    """Show the versions of the memory ID, newest first."""
    invocation.answer(calls.history(id, limit=limit, cursor=cursor), views.versions)


@command("restore")
@click.argument("id")
@click.argument("version", type=int)
@writing_options(version=True)
def restore_command(invocation: Invocation, id: str, version: int, writing: Writing) -> None:
    """Make VERSION of the memory ID its newest.

    Brings a deleted memory back, too.
    """
    invocation.answer(calls.restore(id, version, writing=writing), views.receipt)
