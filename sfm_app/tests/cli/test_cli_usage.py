"""What the command line itself refuses, where options may stand, and what a start costs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from sfm_app.cli.main import COMMANDS, cli

Run = Callable[..., Any]


def commands(group: click.Group = cli, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with its path of names."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*above, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*above, name))


ALL = list(commands())


@pytest.mark.parametrize("path", [path for path, _ in ALL], ids=" ".join)
def test_every_command_explains_itself(run: Run, path: tuple[str, ...]) -> None:
    """--help ends with exit code 0 and shows the command's summary."""
    done = run(*path, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: sfm {' '.join(path)}")


def test_every_option_has_a_help_text() -> None:
    """No option is left to be guessed."""
    silent = [
        (path, option.name)
        for path, command in ALL
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert silent == []


def test_a_command_stands_in_the_module_that_the_table_names() -> None:
    """The lazy table knows exactly the commands that there are, each by its own name."""
    assert {name: command.name for (name, *below), command in ALL if not below} == {name: name for name in COMMANDS}


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("get",),
        ("get", "a", "b"),
        ("list", "--nonsense"),
        ("list", "--limit", "many"),
        ("list", "--kind", "strange"),
        ("list", "--order", "content"),
        ("remember", "x", "--payload", "{"),
        ("remember", "x", "--payload", '{"a": NaN}'),
        ("remember", "x", "--payload", '{"a": 1, "a": 2}'),
        ("remember", "x", "--payload", "[" * 100_000),
        ("remember", "x", "--coordinate", "1,,2"),
        ("remember", "x", "--file", "missing.txt"),
        ("update", "x", "--author", "Ada", "--clear", "author"),
        ("import", "missing.ndjson"),
        ("changes", "--limit", "0"),
        ("plugins", "nonsense"),
        ("plugins", "new", "x"),
        ("forget", "--yes"),
        ("reindex", "--url", "http://127.0.0.1:1"),
        ("migrate", "--url", "http://127.0.0.1:1"),
        ("serve", "--url", "http://127.0.0.1:1"),
        ("plugins", "check", "x", "--url", "http://127.0.0.1:1"),
    ],
    ids=lambda arguments: " ".join(arguments)[:60],
)
def test_bad_usage_is_exit_code_2(run: Run, arguments: tuple[str, ...]) -> None:
    """Told on standard error, before anything is opened."""
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "Error: " in done.err
    assert not Path("data").exists()


def test_both_file_and_content_is_bad_usage(run: Run, tmp_path: Path) -> None:
    """There is one content."""
    (tmp_path / "x").write_text("x")
    assert run("remember", "x", "--file", tmp_path / "x").code == 2


def test_common_options_may_stand_before_and_after_the_command(run: Run, data_dir: Path) -> None:
    """--json and --data-dir mean the same at both places, in groups too."""
    place = ("--data-dir", data_dir)
    id = run(*place, "--json", "remember", "here").json["memory"]["id"]
    expected = run("get", id, *place, "--json").json
    assert run("--json", "get", id, *place).json == expected
    assert run(*place, "get", "--json", id).json == expected
    plugins = [
        run("--json", "plugins", "list", *place),
        run("plugins", "--json", "list", *place),
        run(*place, "plugins", "list", "--json"),
    ]
    assert len({done.out for done in plugins}) == 1


def test_the_option_after_the_command_counts(run: Run, data_dir: Path, tmp_path: Path) -> None:
    """Given at both places, the nearer one wins."""
    run("--data-dir", tmp_path / "far", "remember", "here", "--data-dir", data_dir)
    assert data_dir.is_dir()
    assert not (tmp_path / "far").exists()


def test_without_a_command_the_help_is_shown(run: Run) -> None:
    """A newcomer who types `sfm` sees what there is."""
    done = run()
    assert "Commands:" in done.out + done.err


def test_the_version_is_told(run: Run) -> None:
    """--version names program and version."""
    done = run("--version")
    assert (done.code, done.out.split()[0]) == (0, "sfm")


@pytest.mark.parametrize("arguments", [["--help"], ["recall", "--help"], ["--version"]], ids=" ".join)
def test_a_start_loads_neither_the_web_framework_nor_numpy(arguments: list[str]) -> None:
    """Help answers at once: heavy packages, the event loop and the services are not imported."""
    code = (
        "import sys\n"
        "from sfm_app.cli.main import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit:\n"
        "    heavy = {'litestar', 'numpy', 'uvicorn', 'asyncio', 'http.client', 'sfm_core'}\n"
        "    print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_opening_the_store_loads_no_web_framework(data_dir: Path) -> None:
    """A data command pays for the store only."""
    code = (
        "import sys\n"
        "from sfm_app.cli.main import main\n"
        "try:\n"
        f"    main(['--data-dir', {str(data_dir)!r}, 'remember', 'x'])\n"
        "except SystemExit:\n"
        "    print(sorted({'litestar', 'uvicorn', 'http.client'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_standard_input_is_a_content(program: str, data_dir: Path) -> None:
    """`-` reads it, without the line feed that ends it; text that is no UTF-8 is bad usage."""
    command = [program, "--data-dir", str(data_dir), "--json", "remember", "-"]
    done = subprocess.run(command, input="Grüße\nfrom here\n".encode(), capture_output=True, check=True)
    assert json.loads(done.stdout)["memory"]["content"] == "Grüße\nfrom here"
    assert subprocess.run(command, input=b"\xff", capture_output=True, check=False).returncode == 2
