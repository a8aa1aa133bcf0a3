"""The entry point: finds the command, runs it, and turns whatever ends it into an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from sfm_app.cli.invocation import Invocation, common_options

__all__ = ["COMMANDS", "cli", "main"]

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

COMMANDS = {
    "capabilities": "stats",
    "changes": "changes",
    "consumer": "pipeline",
    "delete": "removal",
    "dev": "dev",
    "doctor": "doctor",
    "events": "events",
    "export": "transfer",
    "forget": "removal",
    "get": "memories",
    "history": "memories",
    "import": "transfer",
    "keys": "keys",
    "link": "links",
    "list": "memories",
    "migrate": "maintenance",
    "neighbors": "links",
    "operation": "removal",
    "path": "links",
    "plugins": "plugins",
    "recall": "recall",
    "reconcile": "maintenance",
    "reindex": "maintenance",
    "relay": "pipeline",
    "remember": "remember",
    "restore": "memories",
    "serve": "serve",
    "stats": "stats",
    "undo": "removal",
    "unlink": "links",
    "update": "remember",
}
"""Name of a command -> module of `sfm_app.cli.commands` that holds it, as `<name>_command`."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, or None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"sfm_app.cli.commands.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"sfm {version('sfm-app')}")
        ctx.exit()


@click.command(cls=LazyGroup, params=common_options(), context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def cli() -> None:
    """Remember, recall and look after the memories of AI agents.

    A command opens the embedded store itself, or talks to a running service with --url. The options below may stand
    before or after the command's name.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process: 0 done, 1 refused or failed, 2 bad usage, 130 interrupted.

    Args:
        arguments: stand in for those of the process.
    """
    invocation = Invocation()
    code = _run(invocation, arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _hung_up()
    sys.exit(code)


def _run(invocation: Invocation, arguments: Sequence[str] | None) -> int:
    try:
        code = cli.main(arguments, prog_name="sfm", standalone_mode=False, obj=invocation)
    except click.UsageError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        error.show()
        return FAILED
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        return _hung_up()
    except Exception as error:
        from sfm_app.cli.failures import report

        if not report(error, as_json=invocation.json):
            raise
        return FAILED
    return code if isinstance(code, int) else DONE


def _hung_up() -> int:
    """Quietly give up a standard output that nobody reads; the interpreter flushes it once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED
