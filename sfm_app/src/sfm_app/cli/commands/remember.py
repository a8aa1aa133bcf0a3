"""remember and update: writing what a memory says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from sfm_app.cli import calls, views
from sfm_app.cli.calls import Writing
from sfm_app.cli.invocation import Invocation, command
from sfm_app.cli.target import given
from sfm_app.cli.values import JSON, KIND, NUMBERS
from sfm_app.cli.writing import writing_options

__all__ = ["remember_command", "update_command"]

_FIELDS = (
    click.option("--kind", type=KIND, help="Kind of memory."),
    click.option("--payload", type=JSON, metavar="JSON", help="A JSON object that goes with the content."),
    click.option("--coordinate", type=NUMBERS, metavar="X,Y,...", help="A place, unique within its namespace."),
    click.option("--author", metavar="TEXT", help="Who said it."),
    click.option("--thread", metavar="TEXT", help="The conversation or document it belongs to."),
    click.option("--position", type=int, metavar="N", help="Its place within the thread."),
    click.option("--importance", type=float, metavar="0..1", help="How much it matters."),
    click.option("--tag", "tags", multiple=True, metavar="TEXT", help="A tag; may be repeated."),
    click.option("--source", metavar="TEXT", help="The application that wrote it."),
    click.option("--pinned/--not-pinned", default=None, help="Whether forgetting policies spare it."),
    click.option("--occurred-at", metavar="TIME", help="When it happened, in ISO 8601; UTC without a zone."),
    click.option("--valid-from", metavar="TIME", help="From when it holds."),
    click.option("--valid-to", metavar="TIME", help="Until when it holds."),
    click.option("--expires-at", metavar="TIME", help="From when it is hidden like a deleted one."),
    click.option("--derived-from", multiple=True, metavar="ID", help="A memory it was made from; may be repeated."),
)


def _memory_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_FIELDS):
        function = option(function)
    return function


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that were given, as JSON values."""
    listed = {name: list(value) or None if isinstance(value, tuple) else value for name, value in fields.items()}
    return given(**listed)


def _content(argument: str | None, file: Path | None) -> str | None:
    """Return the content: the argument, standard input for `-` (without the line feed at its end), or the file as it is."""
    if file is not None and argument is not None:
        raise click.UsageError("give CONTENT or --file, not both")
    if file is not None:
        return _decoded(file.read_bytes(), str(file))
    if argument != "-":
        return argument
    return _decoded(sys.stdin.buffer.read(), "standard input").removesuffix("\n").removesuffix("\r")


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise click.UsageError(f"{name} is no UTF-8 text") from None


@command("remember")
@click.argument("content", required=False)
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Take CONTENT from a file.",
)
@click.option("--namespace", metavar="NS", help="Where it belongs; `default` unless given.")
@click.option("--id", metavar="ID", help="Its id, a UUID; one is made unless given.")
@_memory_options
@click.option("--no-dedupe", is_flag=True, help="Store it even if an equal memory is there.")
@writing_options()
def remember_command(
    invocation: Invocation, content: str | None, file: Path | None, no_dedupe: bool, writing: Writing, **fields: Any
) -> None:
    """Remember CONTENT; `-` reads it from standard input.

    CONTENT may be left out when there is a --payload.
    """
    memory = _given({"content": _content(content, file), **fields})
    invocation.answer(calls.remember(memory, dedupe=not no_dedupe, writing=writing), views.receipt)


@command("update")
@click.argument("id")
@click.option("--content", metavar="TEXT", help="The new content; `-` reads it from standard input.")
@_memory_options
@click.option("--clear", multiple=True, metavar="FIELD", help="A field to empty; may be repeated.")
@writing_options(version=True)
def update_command(
    invocation: Invocation, id: str, content: str | None, clear: tuple[str, ...], writing: Writing, **fields: Any
) -> None:
    """Change fields of the memory ID, as its next version.

    --tag and --derived-from replace what was there; members of --payload are merged into it, null removes one.
    """
    changes = _given({"content": _content(content, None), **fields})
    if both := sorted(set(clear) & set(changes)):
        raise click.UsageError(f"--clear and a new value for {', '.join(both)}")
    invocation.answer(calls.update(id, {**changes, **dict.fromkeys(clear)}, writing=writing), views.receipt)
