"""Rewrite the pins in the root pyproject: exact versions of everything the workspace and its checks bring in."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINS = re.compile(r"(constraint-dependencies = \[\n).*?(\])", re.DOTALL)
EXPORT = "uv export --quiet --all-packages --all-extras --all-groups --no-hashes --no-emit-workspace --no-header --no-annotate"


def resolved() -> list[tuple[str, str]]:
    """Return the newest allowed `name==version` of every dependency with its marker, the workspace's own left out."""
    subprocess.run(["uv", "lock", "--quiet", "--upgrade"], cwd=ROOT, check=True)
    export = subprocess.run(EXPORT.split(), cwd=ROOT, check=True, capture_output=True, text=True).stdout
    pairs = (line.partition(" ; ") for line in export.splitlines() if re.match(r"[A-Za-z0-9]", line))
    return [(pin.strip().lower(), marker.strip()) for pin, _, marker in pairs]


def pins(versions: list[tuple[str, str]]) -> list[str]:
    """Return one constraint a line; a marker is kept only where it tells two versions of one name apart."""
    names = [pin.split("==")[0] for pin, _ in versions]
    marked = (f"{pin}; {marker}" if names.count(pin.split("==")[0]) > 1 else pin for pin, marker in versions)
    return sorted(set(marked))


def main() -> int:
    """Resolve without the present pins, then write the new ones; a failed resolution leaves the file as it was."""
    project = ROOT / "pyproject.toml"
    before = project.read_text(encoding="utf-8")
    project.write_text(PINS.sub(r"\1\2", before), encoding="utf-8")
    try:
        found = pins(resolved())
    except subprocess.CalledProcessError:
        project.write_text(before, encoding="utf-8")
        raise
    lines = "".join(f'    "{pin}",\n' for pin in found)
    project.write_text(PINS.sub(rf"\g<1>{lines}\2", before), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
