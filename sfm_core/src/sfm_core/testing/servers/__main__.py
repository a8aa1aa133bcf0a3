"""`python -m sfm_core.testing.servers install|list`: install what the test servers need, or say what is at hand."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sfm_core.testing.servers.found import missing
from sfm_core.testing.servers.install import install, report

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Run one of the two commands; the exit code is 1 while something is missing."""
    if list(arguments) not in (["install"], ["list"]):
        sys.stderr.write("usage: python -m sfm_core.testing.servers install|list\n")
        return 2
    left = install() if arguments[0] == "install" else []
    sys.stdout.write("\n".join([*report(), *left]) + "\n")
    return 1 if missing() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
