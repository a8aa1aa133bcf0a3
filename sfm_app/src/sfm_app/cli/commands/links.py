"""link, unlink, neighbors and path."""

from __future__ import annotations

from typing import Any

import click

from sfm_app.cli import calls, views
from sfm_app.cli.calls import Writing
from sfm_app.cli.invocation import Invocation, command
from sfm_app.cli.values import JSON
from sfm_app.cli.writing import writing_options

__all__ = ["link_command", "neighbors_command", "path_command", "unlink_command"]


@command("link")
@click.argument("source")
@click.argument("target")
@click.option("--relation", metavar="TEXT", help="What the link means; `related` unless given.")
@click.option("--weight", type=float, metavar="COST", help="What a step over it costs, above 0; 1 unless given.")
@click.option("--metadata", type=JSON, metavar="JSON", help="A JSON object that goes with the link.")
@writing_options(wait=False)
def link_command(invocation: Invocation, source: str, target: str, writing: Writing, **values: Any) -> None:
    """Link the memory SOURCE to TARGET, or change the link."""
    invocation.answer(calls.link(source, target, writing=writing, **values), views.link_receipt)


@command("unlink")
@click.argument("source")
@click.argument("target")
@click.option("--relation", metavar="TEXT", help="Which link; `related` unless given.")
@writing_options(wait=False)
def unlink_command(invocation: Invocation, source: str, target: str, relation: str | None, writing: Writing) -> None:
    """Remove the link from SOURCE to TARGET."""
    invocation.answer(calls.unlink(source, target, relation=relation, writing=writing), views.link_receipt)


@command("neighbors")
@click.argument("id")
@click.option("--relation", metavar="TEXT", help="Only over links of this relation.")
@click.option("--direction", type=click.Choice(["out", "in", "both"]), help="Which way; both unless given.")
@click.option("--depth", type=int, metavar="1..5", help="How many links away at most; 1 unless given.")
@click.option("--limit", type=int, metavar="N", help="How many at most; 100 unless given.")
@click.option("--cursor", metavar="CURSOR", help="Go on where an earlier page ended.")
def neighbors_command(invocation: Invocation, id: str, **query: Any) -> None:
    """Show what is linked with the memory ID, nearest first."""
    invocation.answer(calls.neighbors(id, **query), views.neighbors)


@command("path")
@click.argument("source")
@click.argument("target")
@click.option("--relation", metavar="TEXT", help="Only over links of this relation.")
def path_command(invocation: Invocation, source: str, target: str, relation: str | None) -> None:
    """Show the cheapest way over links from SOURCE to TARGET."""
    invocation.answer(calls.path(source, target, relation=relation), views.path)
