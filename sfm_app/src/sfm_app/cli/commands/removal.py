"""delete, forget, operation and undo."""

from __future__ import annotations

from typing import Any

import click

from sfm_app.cli import calls, views
from sfm_app.cli.calls import Writing
from sfm_app.cli.invocation import Invocation, command
from sfm_app.cli.target import given
from sfm_app.cli.values import JSON
from sfm_app.cli.writing import writing_options

__all__ = ["delete_command", "forget_command", "operation_command", "undo_command"]

_ALL: dict[str, list[Any]] = {"and": []}
_ERASE = click.option("--erase", is_flag=True, help="Erase content and history everywhere; cannot be undone.")


@command("delete")
@click.argument("id")
@_ERASE
@writing_options(version=True)
def delete_command(invocation: Invocation, id: str, erase: bool, writing: Writing) -> None:
    """Delete the memory ID.

    It is hidden at once; `sfm undo OPERATION` brings it back within the undo window.
    """
    invocation.answer(calls.delete(id, erase=erase, writing=writing), views.receipt)


@command("forget")
@click.option("--namespace", required=True, metavar="NS", help="Where; `a/**` takes all below as well.")
@click.option("--filter", type=JSON, metavar="JSON", help="Forget what passes this filter.")
@click.option("--policy", type=JSON, metavar="JSON", help="Forget what this policy picks.")
@click.option("--all", "everything", is_flag=True, help="Forget all of that namespace, but nothing below it.")
@_ERASE
@click.option("--yes", is_flag=True, help="Do it; without it only what would go is shown.")
@writing_options()
def forget_command(
    invocation: Invocation,
    namespace: str,
    filter: Any,
    policy: Any,
    everything: bool,
    erase: bool,
    yes: bool,
    writing: Writing,
) -> None:
    """Forget what a filter or a policy picks.

    Without --yes only what would go is shown.

    A policy is an object with `older_than_days`, `max_importance` and `keep_newest`, any of them; pinned memories stay.
    """
    if everything and (filter, policy) != (None, None):
        raise click.UsageError("--all goes with neither --filter nor --policy")
    if everything and yes:
        call = calls.forget_namespace(namespace, erase=erase, writing=writing)
    else:
        chosen = given(namespace=namespace, filter=_ALL if everything else filter, policy=policy)
        call = calls.forget({**chosen, "dry_run": not yes, "erase": erase}, writing=writing)
    invocation.answer(call, views.forgotten)


@command("operation")
@click.argument("operation")
def operation_command(invocation: Invocation, operation: str) -> None:
    """Show how far a deletion has come.

    Tells the state of OPERATION in every store, and until when it can be undone.
    """
    invocation.answer(calls.operation(operation), views.operation)


@command("undo")
@click.argument("operation")
@writing_options(wait=False)
def undo_command(invocation: Invocation, operation: str, writing: Writing) -> None:
    """Bring back what OPERATION removed."""
    invocation.answer(calls.undo(operation, writing=writing), views.operation)
