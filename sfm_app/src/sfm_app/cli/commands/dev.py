"""dev: the whole evented stack on this machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from sfm_app.cli.invocation import Group, Invocation, command
from sfm_app.cli.tables import columns

__all__ = ["dev_command"]

_RUN = "uv run --all-packages --group servers --group weights sfm dev up"
_NO_VECTORS = (
    "\n\nWithout an embedding nothing goes into pgvector: install sfm-plugin-minilm and its weights "
    "(`uv run ... --group weights`), or name a plugin in SFM_EMBEDDING."
)


@click.group("dev", cls=Group)
def dev_command() -> None:
    """Develop with the real thing."""


@command("up")
@click.option("--port", type=int, default=9595, metavar="N", help="Where the service listens; 9595 unless given.")
@click.option(
    "--consumer-port", type=int, default=9596, metavar="N", help="Where the consumer listens; 9596 unless given."
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Keep the data there and go on with it next time; thrown away unless given.",
)
def up(invocation: Invocation, port: int, consumer_port: int, keep: Path | None) -> None:
    """Run PostgreSQL, Redis, Kafka, the service and a consumer until interrupted.

    The servers come from packages, without root or containers; the mode is evented_enterprise with pgvector.
    """
    invocation.refuse_url("runs the service itself", environment=False)
    import msgspec

    from sfm_core.errors import ConfigError

    try:
        from sfm_app.dev.up import stack, wait
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed; the servers come with: {_RUN}") from error
    with stack(keep, port=port, consumer_port=consumer_port) as made:
        told = {"items": msgspec.to_builtins(made.parts), "embedding": made.embedding}
        invocation.show(told, _table)
        # Whoever reads a pipe waits for it.
        sys.stdout.flush()
        wait(made.running)


def _table(document: Mapping[str, Any]) -> str:
    rows = [(part["name"], part["address"], str(part["process"]), part["log"]) for part in document["items"]]
    note = _NO_VECTORS if document["embedding"] == "none" else ""
    return columns(("PART", "ADDRESS", "PROCESS", "LOG"), rows) + note + "\n\nCtrl-C stops all of it."


dev_command.add_command(up)
