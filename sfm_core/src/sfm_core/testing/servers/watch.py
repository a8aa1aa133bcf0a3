"""Ends servers with the program that started them: run as a script, it waits until its standard input closes, however that
program ended, kills every process of the folder it was told and removes the folder.

It imports the standard library only, because it is started by path, without the package.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

__all__ = ["main", "members", "signalled"]

KEEP = "keep"
PAUSE = 0.02


def _belongs(process: Path, folder: str) -> bool:
    try:
        place = os.readlink(process / "cwd")
    except PermissionError:
        # Of another user, and this one may not look at it (a container's root without the ptrace capability): servers
        # that run as another user carry the folder in their command line.
        with contextlib.suppress(OSError):
            return Path(folder).name.encode() in (process / "cmdline").read_bytes()
        return False
    except OSError:
        return False
    return place == folder or place.startswith(f"{folder}/")


def members(folder: str) -> list[int]:
    """Return the ids of the processes whose working folder is `folder` or below, in ascending order.

    The working folder tells what process ids and groups do not: it survives `setsid`, the death of the parent, and it is
    there from the moment the process is.
    """
    found = (path for path in Path("/proc").iterdir() if path.name.isdigit())
    return sorted(int(path.name) for path in found if _belongs(path, folder))


def signalled(folder: str, number: signal.Signals, *, seconds: float) -> bool:
    """Send a signal to every member until there is none left that has not got it; tell whether that came about.

    SIGKILL is sent until no member is left.
    """
    done: set[int] = set()
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        fresh = [pid for pid in members(folder) if pid not in done or number is signal.SIGKILL]
        if not fresh:
            return True
        for pid in fresh:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        done.update(fresh)
        if number is signal.SIGKILL:
            time.sleep(PAUSE)
    return False


def main() -> int:
    """Read the folder, and whether to keep it, from the first two lines; then wait for the end of the input."""
    folder, fate = sys.stdin.readline().strip(), sys.stdin.readline().strip()
    if not folder:
        return 1
    sys.stdin.read()
    gone = signalled(folder, signal.SIGKILL, seconds=30)
    if fate != KEEP:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if gone else 1


if __name__ == "__main__":
    sys.exit(main())
