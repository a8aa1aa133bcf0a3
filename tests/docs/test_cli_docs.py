"""docs/CLI.md says what the command line does: every command, argument and option with its own words, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from sfm_app.cli.invocation import common_options
from sfm_app.cli.main import cli

PAGE = (Path(__file__).parents[2] / "docs" / "CLI.md").read_text(encoding="utf-8")
COMMON = {option.name for option in common_options()}


def commands(group: click.Group, above: tuple[str, ...] = ("sfm",)) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, by what is typed for it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*above, name))
        else:
            yield " ".join((*above, name)), command


COMMANDS = dict(commands(cli))


def row(option: click.Option) -> str:
    """Return the row of the table that an option must have."""
    names = [name for name in (*option.opts, *option.secondary_opts) if name.startswith("--")]
    value = "" if option.is_flag else f" {option.make_metavar(click.Context(cli))}"
    shown = ", ".join(f"`{name}{value}`" for name in names).replace("|", "\\|")
    return f"| {shown} | {option.help} |"


def rows(command: click.Command) -> list[str]:
    """Return the rows of a command's own options."""
    return [row(o) for o in command.params if isinstance(o, click.Option) and o.name not in COMMON]


def section(name: str) -> str:
    """Return what stands under the heading of a command."""
    found = re.search(rf"^### `{re.escape(name)}[^`]*`\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S)
    assert found, f"docs/CLI.md has no section for {name}"
    return found[1]


def usage(name: str, command: click.Command) -> str:
    """Return the heading that a command must have: what is typed, with its arguments."""
    arguments = [a for a in command.params if isinstance(a, click.Argument)]
    shown = (f"{a.name}".upper() if a.required else f"[{a.name}]".upper() for a in arguments)
    return f"### `{' '.join([name, *shown])}`"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_is_documented_with_its_arguments(name: str) -> None:
    """The heading is what one types."""
    assert usage(name, COMMANDS[name]) in PAGE.splitlines()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_options_of_a_command_are_the_rows_of_its_table(name: str) -> None:
    """Each once, in the words of --help; none that is gone."""
    told = [line for line in section(name).splitlines() if line.startswith("| `")]
    assert told == rows(COMMANDS[name])


def test_no_section_is_left_of_a_command_that_is_gone() -> None:
    """Every heading names a command."""
    headings = re.findall(r"^### `(.*?)`$", PAGE, re.M)
    assert sorted(headings) == sorted(usage(name, command)[5:-1] for name, command in COMMANDS.items())


def test_the_common_options_have_their_table() -> None:
    """The program's own options, `--version` and `--help` among them."""
    top = PAGE.split("## Commands")[0]
    expected = [row(option) for option in cli.params if isinstance(option, click.Option)]
    assert [line for line in top.splitlines() if line.startswith("| `--")] == [
        *expected,
        "| `--help` | Show help and exit. |",
    ]


@pytest.mark.parametrize("code", ["0", "1", "2", "130"])
def test_every_exit_code_is_explained(code: str) -> None:
    """A script can rely on them."""
    assert re.search(rf"^\| {code} \| .+ \|$", PAGE, re.M)
