"""keys: who may come into a service, and what for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from sfm_app.cli import calls
from sfm_app.cli.invocation import Group, Invocation, command
from sfm_app.cli.tables import columns, fields, moment

if TYPE_CHECKING:
    from sfm_app.cli.target import Target

__all__ = ["keys_command"]

_VERBS = click.Choice(["read", "write", "forget", "admin"])


@click.group("keys", cls=Group)
def keys_command() -> None:
    """Make, list and revoke API keys, on the store itself or on a running service."""


@command("create")
@click.option("--name", metavar="TEXT", help="What to call it.")
@click.option(
    "--namespace",
    "namespaces",
    metavar="NS",
    multiple=True,
    required=True,
    help="What it opens: a namespace, `a/**` with all below, `**` for everything; may be repeated.",
)
@click.option(
    "--verb", "verbs", type=_VERBS, multiple=True, required=True, help="What it may do there; may be repeated."
)
@click.option("--expires-at", metavar="TIME", help="From when on it opens nothing; never unless given.")
@click.option(
    "--expires-in", type=click.FloatRange(min=0, min_open=True), metavar="DAYS", help="The same, from now on."
)
def create_key(
    invocation: Invocation,
    name: str | None,
    namespaces: tuple[str, ...],
    verbs: tuple[str, ...],
    expires_at: str | None,
    expires_in: float | None,
) -> None:
    """Make an API key and print it, this once.

    From the first one on a service asks every caller for a key.
    """
    if expires_in is not None:
        if expires_at is not None:
            raise click.UsageError("give --expires-at or --expires-in, not both")
        expires_at = _from_now(expires_in)
    call = calls.create_key(name=name, namespaces=list(namespaces), verbs=list(verbs), expires_at=expires_at)
    with _target(invocation) as target:
        invocation.show(target.ask(call), _created)


def _from_now(days: float) -> str:
    try:
        return (datetime.now(UTC) + timedelta(days=days)).isoformat()
    except OverflowError:
        raise click.UsageError("--expires-in: more days than the calendar has") from None


@command("list")
def list_keys(invocation: Invocation) -> None:
    """List the API keys, oldest first, revoked and expired ones too; never their secrets."""
    items: list[Any] = []
    cursor = None
    with _target(invocation) as target:
        while True:
            page = target.ask(calls.list_keys(cursor=cursor))
            items += page["items"]
            cursor = page["next"]
            if cursor is None:
                break
    invocation.show({"items": items, "next": None}, _listed)


@command("revoke")
@click.argument("id")
def revoke_key(invocation: Invocation, id: str) -> None:
    """Revoke the API key ID for ever.

    It opens nothing any more: within 5 seconds everywhere, at once where a running service was asked.
    """
    with _target(invocation) as target:
        invocation.show(target.ask(calls.revoke_key(id)), lambda key: f"revoked {key['id']}")


def _target(invocation: Invocation) -> AbstractContextManager[Target]:
    """Return the running service, or the storage alone: keys need neither model nor index."""
    from sfm_core.config.modes import Role

    return invocation.target(role=Role.KEYS)


def _created(key: Mapping[str, Any]) -> str:
    return f"{fields(key)}\n\nThe key is not kept and never shown again."


def _listed(document: Mapping[str, Any]) -> str:
    rows = [
        (
            key["id"],
            key["name"],
            ", ".join(key["namespaces"]),
            ", ".join(key["verbs"]),
            moment(key["created_at"]),
            moment(key["expires_at"]),
            moment(key["revoked_at"]),
        )
        for key in document["items"]
    ]
    return columns(("ID", "NAME", "NAMESPACES", "VERBS", "CREATED", "EXPIRES", "REVOKED"), rows)


for _command in (create_key, list_keys, revoke_key):
    keys_command.add_command(_command)
