"""recall: asking a question."""

from __future__ import annotations

from typing import Any

import click

from sfm_app.cli import calls, views
from sfm_app.cli.invocation import Invocation, command
from sfm_app.cli.target import given
from sfm_app.cli.values import JSON, KIND, NUMBERS

__all__ = ["recall_command"]


@command("recall")
@click.argument("query", required=False)
@click.option("--k", type=int, metavar="N", help="How many memories at most; 10 unless given.")
@click.option("--namespace", metavar="NS", help="Where to look; `a/**` takes all below as well.")
@click.option("--filter", type=JSON, metavar="JSON", help="A filter on fields and payload.")
@click.option("--kind", "kinds", type=KIND, multiple=True, help="Only this kind; may be repeated.")
@click.option("--as-of", metavar="TIME", help="Answer from what was stored at that moment.")
@click.option("--explain", is_flag=True, help="Say what made each score.")
@click.option("--deadline-ms", type=float, metavar="MS", help="Leave out what takes longer, and name it.")
@click.option("--expand-links", type=int, metavar="HOPS", help="Look at memories linked to hits too, 0 to 3 hops away.")
@click.option("--prefer", type=click.Choice(["recent", "important"]), help="What decides between near ties.")
@click.option("--min-score", type=float, metavar="0..1", help="Leave out hits below this score.")
@click.option("--min-sequence", type=int, metavar="N", help="Wait, bounded, until the index has seen this change.")
@click.option("--vector", type=NUMBERS, metavar="X,Y,...", help="A vector instead of QUERY.")
def recall_command(invocation: Invocation, kinds: tuple[str, ...], explain: bool, **query: Any) -> None:
    """Find the memories that matter for QUERY, best first."""
    asked = given(**query, kinds=list(kinds) or None, explain=explain or None)
    invocation.answer(calls.recall(asked), views.answer)
