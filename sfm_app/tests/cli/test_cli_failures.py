"""What goes wrong around the command line: settings, files, locks, pipes, interrupts. Nothing is ever overwritten."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
DATA_COMMANDS = [
    ("stats",),
    ("remember", "x"),
    ("recall", "x"),
    ("doctor",),
    ("reindex",),
    ("reconcile",),
    ("migrate",),
]


def names(folder: Path) -> list[str]:
    """Return what lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("command", DATA_COMMANDS, ids=" ".join)
def test_an_unknown_mode_is_refused_and_the_known_ones_are_listed(
    run: Run, command: tuple[str, ...], tmp_path: Path
) -> None:
    """Exit code 1, the modes by name, and nothing is made on disk."""
    done = run("--mode", "nope", *command)
    assert done.code == 1
    assert "development, test, evented_enterprise, cloud_managed" in done.out + done.err
    assert "Traceback" not in done.err
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SFM_NONSENSE", "1"),
        ("SFM_LIMITS__K", "many"),
        ("SFM_STORAGE", "none"),
        ("SFM_STORAGE", "oracle"),
        ("SFM_SQLITE__NONSENSE", "1"),
        ("SFM_URL", "ftp://host"),
        ("SFM_URL", "http://"),
        ("SFM_URL", "http://host:port"),
        ("SFM_DATA_DIR", "/dev/null"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, tmp_path: Path
) -> None:
    """One line, exit code 1, and doctor tells it too."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv(variable, value)
    done = run("stats")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    told = run("--json", "doctor")
    assert told.code == 1
    failed = [check for check in told.json["checks"] if check["state"] == "failed"]
    assert failed[0]["fix"]
    assert not (tmp_path / "xdg").exists()


def test_a_password_in_a_url_is_not_repeated(run: Run) -> None:
    """What stands before the @ may be a secret."""
    done = run("--url", "http://user:hunter2@host", "stats")
    assert done.code == 1
    assert "hunter2" not in done.err


def test_settings_are_read_from_a_file_beside(run: Run, tmp_path: Path) -> None:
    """`.env` counts where neither option nor environment speaks."""
    (tmp_path / ".env").write_text(f"SFM_DATA_DIR={tmp_path / 'of-env'}\n")
    assert run("remember", "x").code == 0
    assert (tmp_path / "of-env").is_dir()
    assert run("--data-dir", tmp_path / "of-option", "remember", "x").code == 0
    assert (tmp_path / "of-option").is_dir()


def test_a_service_that_is_not_there_is_named(run: Run) -> None:
    """The URL and the reason in one line, for every kind of request."""
    at = ("--url", "http://127.0.0.1:1")
    for command in (("stats",), ("remember", "x"), ("export", "-"), ("changes", "--follow")):
        done = run(*at, *command)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("error: service http://127.0.0.1:1: cannot be reached")
    told = run(*at, "doctor", "--json")
    assert (told.code, told.json["status"]) == (1, "failed")


@pytest.mark.parametrize("command", DATA_COMMANDS, ids=" ".join)
def test_a_damaged_file_is_refused_and_left_as_it_is(run: Run, command: tuple[str, ...], data_dir: Path) -> None:
    """Text in place of a database, and a database with a damaged page: exit code 1, not one byte changed."""
    run("--data-dir", data_dir, "remember", "precious")
    [file] = [path for path in data_dir.iterdir() if path.name == "memory.sqlite3"]
    for damaged in (b"this is no database, " * 500, file.read_bytes()[:100] + b"\xff" * 8000):
        for path in data_dir.iterdir():
            path.unlink()
        file.write_bytes(damaged)
        done = run("--data-dir", data_dir, *command)
        assert done.code == 1
        assert "Traceback" not in done.err
        assert file.read_bytes() == damaged


def test_another_programs_database_is_refused(run: Run, data_dir: Path) -> None:
    """A file that is a database, but not ours, stays what it was."""
    data_dir.mkdir()
    file = data_dir / "memory.sqlite3"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = file.read_bytes()
    done = run("--data-dir", data_dir, "remember", "x")
    assert (done.code, done.out) == (1, "")
    assert file.read_bytes() == before


def test_a_locked_file_is_told_after_a_bounded_wait(run: Run, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program that holds the write lock: exit code 1, and the write works once it is released."""
    monkeypatch.setenv("SFM_SQLITE__BUSY_TIMEOUT", "0.1")
    run("--data-dir", data_dir, "remember", "x")
    other = sqlite3.connect(data_dir / "memory.sqlite3", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    done = run("--data-dir", data_dir, "remember", "y")
    assert (done.code, done.out) == (1, "")
    assert "lock" in done.err
    other.close()
    assert run("--data-dir", data_dir, "remember", "y").code == 0


def test_a_data_directory_that_cannot_be_made_is_told(run: Run, tmp_path: Path) -> None:
    """A file stands where a folder must be."""
    (tmp_path / "file").write_text("x")
    done = run("--data-dir", tmp_path / "file" / "data", "remember", "x")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: ")


def test_an_export_that_fails_leaves_what_was_there(run: Run, data_dir: Path, tmp_path: Path) -> None:
    """The file gets its name when the archive is whole; before that nothing is replaced, and no part stays."""
    run("--data-dir", data_dir, "remember", "x")
    archive = tmp_path / "archives" / "a.ndjson"
    archive.parent.mkdir()
    archive.write_text("the old one")
    assert run("--data-dir", data_dir, "export", archive, "--namespace", "a/*").code == 1
    assert run("--url", "http://127.0.0.1:1", "export", archive).code == 1
    assert (archive.read_text(), names(archive.parent)) == ("the old one", ["a.ndjson"])
    assert run("--data-dir", data_dir, "export", tmp_path / "missing" / "a.ndjson").code == 1


def test_an_export_may_go_to_what_is_no_file(run: Run, data_dir: Path) -> None:
    """A device is written to, not replaced."""
    run("--data-dir", data_dir, "remember", "x")
    assert run("--data-dir", data_dir, "export", "/dev/null").code == 0
    assert not Path("/dev/null").is_file()


def test_control_characters_never_reach_the_terminal(run: Run, data_dir: Path) -> None:
    """What somebody stored cannot move the cursor, ring or turn text around; JSON has it as it was."""
    text = "red \x1b[31m bell \x07 turned \u202e back"
    at = ("--data-dir", data_dir)
    id = run(*at, "--json", "remember", text).json["memory"]["id"]
    assert run(*at, "--json", "get", id).json["content"] == text
    for command in (("get", id), ("list",), ("recall", "red bell"), ("history", id)):
        shown = run(*at, *command).out
        assert "red \\x1b[31m bell \\x07 turned \\u202e back" in shown


def test_text_that_the_terminal_cannot_show_is_escaped(program: str, data_dir: Path) -> None:
    """A terminal of plain ASCII gets escapes, no failure."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "SFM_DATA_DIR": str(data_dir)}
    subprocess.run([program, "remember", "Grüße"], env=environment, check=True, capture_output=True)
    done = subprocess.run([program, "list"], env=environment, check=True, capture_output=True)
    assert b"Gr\\xfc\\xdfe" in done.stdout


def test_an_argument_that_is_no_utf8_is_refused(program: str, data_dir: Path) -> None:
    """Bytes that are no text give one line and exit code 1 on either target."""
    for at in (["--data-dir", str(data_dir)], ["--url", "http://127.0.0.1:1"]):
        done = subprocess.run(
            [program.encode(), *map(str.encode, at), b"remember", b"\xff\xfe"], capture_output=True, check=False
        )
        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr.startswith(b"error: ")


def test_a_reader_that_goes_away_is_no_failure_to_talk_about(run: Run, program: str, data_dir: Path) -> None:
    """`sfm ... | head -1` ends without a word."""
    at = ["--data-dir", str(data_dir)]
    text = "many words " * 20
    for n in range(3):
        run(*at, "remember", f"{text}{n}")
    for command in (["list"], ["--json", "list"], ["export"], ["--help"]):
        reading, writing = os.pipe()
        os.close(reading)
        with subprocess.Popen([program, *at, *command], stdout=writing, stderr=subprocess.PIPE) as process:
            os.close(writing)
            _, told = process.communicate(timeout=60)
        assert told == b""
        assert process.returncode == 1


def _interrupted(command: list[str], ready: Callable[[subprocess.Popen[bytes]], object]) -> tuple[int, bytes, bytes]:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        ready(process)
        # As a user does: Python drops an interrupt that comes while it finalizes an object.
        for _ in range(12):
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
                break
        else:
            process.kill()
        assert process.stdout is not None
        assert process.stderr is not None
        return process.wait(), process.stdout.read(), process.stderr.read()


def test_an_interrupt_ends_a_stream_of_changes(program: str, target: tuple[str, ...], run: Run) -> None:
    """Exit code 130 and nothing on standard error; each change was shown when it came."""
    run(*target, "remember", "a change to see", "--no-dedupe")

    def first_line(process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["specversion"] == "1.0"

    code, _, err = _interrupted([program, *target, "--json", "changes", "--follow"], first_line)
    assert (code, err.strip()) == (130, b"")


def test_an_interrupt_ends_an_import_that_waits_for_its_archive(
    program: str, target: tuple[str, ...], run: Run, data_dir: Path
) -> None:
    """A silent pipe does not hold it up; the store is closed as after any error, and works."""
    manifest = run("--data-dir", data_dir, "export", "-").out.splitlines()[0].encode()

    def send_part(process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        process.stdin.write(manifest + b"\n")
        process.stdin.flush()
        # The progress bar stands still once the part is taken in.
        assert process.stderr is not None
        process.stderr.read(1)

    code, out, err = _interrupted([program, *target, "import", "-", "--progress"], send_part)
    assert (code, out) == (130, b"")
    assert b"Traceback" not in err
    assert run(*target, "stats").code == 0


def test_an_interrupt_is_one_from_the_moment_it_is_heard(data_dir: Path) -> None:
    """Also the one that asyncio takes for a cancellation by somebody else, since it begins to count only after it listens."""
    code = (
        "import signal\n"
        "from sfm_app.cli.main import main\n"
        "listen = signal.signal\n"
        "def interrupted(number, handler):\n"
        "    signal.signal = listen\n"
        "    listen(number, handler)\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "signal.signal = interrupted\n"
        f"main(['--data-dir', {str(data_dir)!r}, 'stats'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "")


@pytest.mark.parametrize("quiet", [True, False])
def test_warnings_go_to_standard_error_unless_quiet(data_dir: Path, quiet: bool) -> None:
    """Standard output holds the answer alone."""
    extra = ["--quiet"] if quiet else []
    code = (
        "import logging\n"
        "from sfm_app.cli.local import LocalTarget\n"
        "from sfm_app.cli.main import main\n"
        "health = LocalTarget.ask\n"
        "def ask(self, call):\n"
        "    logging.getLogger('sfm.test').warning('something to know')\n"
        "    return health(self, call)\n"
        "LocalTarget.ask = ask\n"
        f"main(['--data-dir', {str(data_dir)!r}, '--json', 'stats', *{extra!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["memories"] == 0
    assert ("something to know" in done.stderr) is not quiet
