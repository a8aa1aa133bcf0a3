"""Build every distribution, then prove that each installs and imports alone and that the small ones stay small.

Usage: `python scripts/check_wheels.py WORKDIR` (needs `uv` on the path).

The distributions' names are held to the wheels built here: a package of the same name elsewhere must never be what is
tested.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MEGABYTE = 1_000_000

LOAD = """
import importlib, importlib.metadata, sys
for package in sys.argv[2:]:
    importlib.import_module(package)
for point in importlib.metadata.distribution(sys.argv[1]).entry_points:
    point.load()
"""


@dataclass(frozen=True)
class Limit:
    """What an installation may bring at most, the distributions themselves included."""

    requirement: str
    packages: int
    megabytes: int


LIMITS = (Limit("sfm-core[embedded]", packages=8, megabytes=90), Limit("somafractalmemory", packages=48, megabytes=200))


class Failure(Exception):
    """A distribution breaks one of the rules checked here."""


def uv(*arguments: str) -> str:
    """Run uv in the workspace, so that its pins hold, and return what it printed."""
    done = subprocess.run(["uv", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"uv {' '.join(arguments)}\n{done.stderr}")
    return done.stdout


def folders() -> list[Path]:
    """Return the folders of all distributions."""
    return [
        ROOT,
        ROOT / "sfm_core",
        ROOT / "sfm_app",
        *sorted(file.parent for file in ROOT.glob("plugins/*/pyproject.toml")),
    ]


def name_of(folder: Path) -> str:
    """Return the distribution's name."""
    return str(tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"])


def packages_of(folder: Path) -> list[str]:
    """Return the import packages that a distribution ships."""
    return sorted(init.parent.name for init in folder.glob("src/*/__init__.py"))


def build(target: Path) -> dict[str, Path]:
    """Build every sdist and, from it, the wheel; return the wheels by distribution."""
    uv("build", "--quiet", "--all-packages", "--out-dir", str(target))
    wheels = {}
    for folder in folders():
        name = name_of(folder)
        (wheels[name],) = target.glob(f"{name.replace('-', '_')}-*.whl")
    return wheels


def check_contents(wheel: Path, packages: list[str]) -> None:
    """Refuse a wheel without its licence or typing marker, or with anything outside its packages."""
    entries = zipfile.ZipFile(wheel).namelist()
    tops = {entry.split("/")[0] for entry in entries if ".dist-info/" not in entry}
    if sorted(tops) != packages:
        raise Failure(f"{wheel.name}: holds {sorted(tops)}, expected {packages}")
    for needed in ("licenses/LICENSE", "licenses/NOTICE", *(f"{package}/py.typed" for package in packages)):
        if not any(entry.endswith(needed) for entry in entries):
            raise Failure(f"{wheel.name}: lacks {needed}")


def install(requirement: str, own: Path, environment: Path) -> Path:
    """Install a requirement into a fresh environment and return its Python."""
    uv("venv", "--quiet", "--python", sys.executable, str(environment))
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    uv(
        "pip",
        "install",
        "--quiet",
        "--compile-bytecode",
        "--constraints",
        str(own),
        "--python",
        str(python),
        requirement,
    )
    uv("pip", "check", "--quiet", "--python", str(python))
    return python


def load(python: Path, name: str, packages: list[str]) -> None:
    """Import a distribution's packages and entry points in its own environment, away from the checkout."""
    with tempfile.TemporaryDirectory() as elsewhere:
        command = [str(python), "-I", "-W", "error", "-c", LOAD, name, *packages]
        done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"{name}: installed alone it does not import\n{done.stderr}")


def measure(python: Path) -> tuple[int, float]:
    """Return how many packages an environment holds, and their size on disk in megabytes."""
    count = len(uv("pip", "freeze", "--quiet", "--python", str(python)).splitlines())
    files = (file for file in (python.parent.parent / "lib").rglob("*") if file.is_file())
    return count, sum(file.stat().st_blocks * 512 for file in files) / MEGABYTE


def check_limit(limit: Limit, own: Path, environment: Path) -> str:
    """Install a requirement of limited size and return the finding, or refuse it."""
    count, size = measure(install(limit.requirement, own, environment))
    found = f"{limit.requirement}: {count} of {limit.packages} packages, {size:.0f} of {limit.megabytes} MB"
    if count > limit.packages or size > limit.megabytes:
        raise Failure(found)
    return found


def main(workdir: Path) -> int:
    """Check every distribution; return 1 with all findings when one breaks a rule."""
    shutil.rmtree(workdir, ignore_errors=True)
    wheels = build(workdir / "dist")
    own = workdir / "own.txt"
    own.write_text("".join(f"{name} @ {wheel.as_uri()}\n" for name, wheel in wheels.items()), encoding="utf-8")
    failures = 0
    for folder in folders():
        name, packages = name_of(folder), packages_of(folder)
        try:
            check_contents(wheels[name], packages)
            load(install(name, own, workdir / name), name, packages)
            print(f"{name}: installs and imports alone")
        except Failure as failure:
            failures += 1
            print(f"FAILED {failure}")
    for limit in LIMITS:
        try:
            print(check_limit(limit, own, workdir / f"limit-{limit.requirement.partition('[')[0]}"))
        except Failure as failure:
            failures += 1
            print(f"FAILED {failure}")
    checks = len(wheels) + len(LIMITS)
    print(f"{checks - failures} passed, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
