"""export and import: archives."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from sfm_app.cli import calls
from sfm_app.cli.invocation import Invocation, command
from sfm_app.cli.progress import PROGRESS, bar
from sfm_app.cli.tables import counted
from sfm_app.cli.target import Target

__all__ = ["export_command", "import_command"]

_PIECE = 1024 * 1024
_STREAM = "-"


@command("export")
@click.argument("file", default=_STREAM, type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--namespace", metavar="NS", help="Only this namespace; `a/**` takes all below as well.")
@PROGRESS
def export_command(invocation: Invocation, file: Path, namespace: str | None, progress: bool | None) -> None:
    """Write an archive to FILE, or to standard output.

    It holds memories with their history and tombstones, and links. FILE takes its name when the archive is whole.
    """
    with invocation.target() as target:
        total = _lines(target, namespace)
        lines = size = 0
        with _output(file) as out, bar("export", progress, quiet=invocation.quiet) as advance:
            for piece in target.export(namespace):
                out.write(piece)
                lines, size = lines + piece.count(b"\n"), size + len(piece)
                advance(min(lines, total), total)
    if str(file) != _STREAM:
        summary = {"file": str(file), "lines": lines, "bytes": size}
        invocation.show(summary, lambda done: f"exported {counted(done['lines'], 'line')} ({done['bytes']} bytes)")


def _lines(target: Target, namespace: str | None) -> int:
    """Return how many lines an archive will have, as far as is known before: it is what the bar is drawn for."""
    sums = target.ask(calls.stats(namespace=namespace))
    return int(sums["memories"]) + int(sums["deleted"]) + int(sums["links"]) + 2


@contextmanager
def _output(file: Path) -> Iterator[IO[bytes]]:
    """Yield where the archive goes: a file gets its name when all of it is written, so that none is ever half there."""
    if str(file) == _STREAM:
        yield sys.stdout.buffer
        return
    file = Path(os.path.realpath(file))
    if file.exists() and not file.is_file():
        with file.open("wb") as special:
            yield special
        return
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as part:
        try:
            yield part
            part.flush()
            os.fsync(part.fileno())
            os.replace(part.name, file)
        except BaseException:
            os.unlink(part.name)
            raise


@command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--idempotency-key", metavar="KEY", help="Repeating the command with the same key writes nothing.")
@PROGRESS
def import_command(invocation: Invocation, file: Path, idempotency_key: str | None, progress: bool | None) -> None:
    """Store the archive in FILE, `-` for standard input.

    A damaged archive stores nothing; a second import of one adds nothing.
    """
    with invocation.target() as target, bar("import", progress, quiet=invocation.quiet) as advance:
        report = target.import_(_pieces(file, advance), idempotency_key, advance)
    invocation.show(report, _view)


def _pieces(file: Path, advance: Callable[[int, int], None]) -> Iterator[bytes]:
    """Yield the archive as it comes; the bar shows how much of a file is read, then starts again for what is stored."""
    if str(file) == _STREAM:
        while piece := os.read(sys.stdin.fileno(), _PIECE):
            yield piece
        return
    size, done = file.stat().st_size, 0
    with file.open("rb") as opened:
        while piece := opened.read(_PIECE):
            yield piece
            done += len(piece)
            advance(done, max(size, done))


def _view(report: Any) -> str:
    read = f"{counted(report['memories'], 'memory', 'memories')} and {counted(report['links'], 'link')}"
    return f"imported {read}: {report['added']} added, {report['skipped']} there already"
