"""Every check of the project, runnable alone: `nox -l` lists them, `nox` runs the default ones.

A session installs with `uv sync` under the pins of the root `pyproject.toml`, except where its purpose is another
resolution. Nothing here downloads a Python: a version that is not installed is reported (and is an error where `CI` is
set).
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import nox

nox.needs_version = ">=2025.10"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.error_on_external_run = True
nox.options.reuse_venv = "yes"
nox.options.sessions = [
    "lint",
    "types",
    "tests",
    "conformance",
    "fault",
    "lowest",
    "wheels",
    "docs",
    "servers",
    "enterprise",
]

os.environ["UV_PYTHON_DOWNLOADS"] = "never"
# A project environment or configuration of the caller must not decide what a session tests.
for leaked in ("UV_PROJECT_ENVIRONMENT", "VIRTUAL_ENV", "PYTHONPATH"):
    os.environ.pop(leaked, None)

ROOT = Path(__file__).parent
PYTHON = "Programming Language :: Python :: 3."


def project(folder: Path) -> dict[str, object]:
    """Return the `[project]` table of a distribution."""
    table: dict[str, object] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def name_of(folder: str) -> str:
    """Return the distribution's name; the root holds the tests that need the whole workspace."""
    return str(project(ROOT / folder)["name"])


def pythons() -> list[str]:
    """Return the supported Pythons, oldest first, as the classifiers state them."""
    classifiers = project(ROOT)["classifiers"]
    assert isinstance(classifiers, list)
    return [entry.rsplit(" ", 1)[-1] for entry in classifiers if entry.startswith(PYTHON)]


PYTHONS = pythons()
PLUGINS = sorted(folder.parent.name for folder in ROOT.glob("plugins/*/pyproject.toml"))
FOLDERS = [".", "sfm_core", "sfm_app", *(f"plugins/{name}" for name in PLUGINS)]
CONFORMANCE = "test_conformance*.py"


def suites(folder: str) -> list[str]:
    """Return the files of a distribution that subclass the conformance kit."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder / "tests").rglob(CONFORMANCE))


def has_own_tests(folder: str) -> bool:
    """Tell whether a distribution has tests beside its conformance suites."""
    return any(not path.match(CONFORMANCE) for path in (ROOT / folder / "tests").rglob("test_*.py"))


# What runs against real servers: a distribution's folder, and the versions where two are at hand.
SERVED: dict[str, dict[str, dict[str, str]]] = {
    "sfm_core": {},
    "plugins/postgres": {
        "18": {"SFM_TEST_POSTGRES": "18"},
        "15": {"SFM_TEST_POSTGRES": "15"},
    },
    "plugins/pgvector": {},
    "plugins/redis": {"8": {"SFM_TEST_REDIS": "8"}, "7": {"SFM_TEST_REDIS": "7"}},
    "plugins/qdrant": {},
    "plugins/kafka": {},
}
TESTED = [folder for folder in FOLDERS if has_own_tests(folder) and (folder not in SERVED or folder == "sfm_core")]
CONFORMING = [name for name in PLUGINS if suites(f"plugins/{name}") and f"plugins/{name}" not in SERVED]
OLDEST, NEWEST = PYTHONS[0], PYTHONS[-1]


def tested() -> list[object]:
    """Return each distribution with the Pythons it is tested on alone.

    The oldest Python runs everything in `lowest`; between it and the newest, the plugins alone, and `conformance`.
    """
    return [
        nox.param(python, folder, id=f"{name_of(folder)}-{python}")
        for python in PYTHONS[1:]
        for folder in TESTED
        if python == NEWEST or folder.startswith("plugins/")
    ]


def served() -> list[object]:
    """Return each distribution with real servers in two corners: the newest of everything and the oldest of everything."""
    corners = []
    for folder, versions in SERVED.items():
        name = Path(folder).name
        newest, oldest = list(versions)[:1], list(versions)[1:]
        corners += [(NEWEST, folder, versions[key], f"{name}-{key}") for key in newest]
        corners += [(OLDEST, folder, versions[key], f"{name}-{key}") for key in oldest]
        if not versions:
            corners.append((NEWEST, folder, {}, name))
    return [nox.param(python, folder, version, id=f"{label}-{python}") for python, folder, version, label in corners]


def sync(session: nox.Session, *options: str) -> None:
    """Bring the session's environment to exactly what the options name, under the workspace's pins."""
    session.run_install(
        "uv",
        "sync",
        "--quiet",
        "--no-default-groups",
        f"--python={session.virtualenv.location}",
        *options,
        env={"UV_PROJECT_ENVIRONMENT": session.virtualenv.location},
    )


def pytest(session: nox.Session, *arguments: str) -> None:
    """Run pytest; a selection without any test is a failure."""
    session.run("pytest", "-q", *arguments, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Formatting and the rules of ruff."""
    sync(session, "--only-group=lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict, and pyright, over everything that is shipped."""
    sync(session, "--all-packages", "--group=dev")
    session.run("mypy")
    session.run("pyright", f"--pythonpath={Path(session.bin, 'python')}")


@nox.session
@nox.parametrize("python,folder", tested())
def tests(session: nox.Session, folder: str) -> None:
    """One distribution's tests with only its own dependencies installed, so that an undeclared one shows."""
    if folder == ".":
        sync(session, "--all-packages", "--group=test")
    else:
        sync(session, f"--package={name_of(folder)}", "--group=test")
    pytest(session, "-m", "not slow", f"--ignore-glob=*/{CONFORMANCE}", "--ignore=tests/docs", f"{folder}/tests")


@nox.session(python=PYTHONS)
@nox.parametrize("plugin", CONFORMING)
def conformance(session: nox.Session, plugin: str) -> None:
    """A plugin against the conformance kit."""
    sync(session, f"--package={name_of(f'plugins/{plugin}')}", "--group=test")
    pytest(session, "-m", "not slow", *suites(f"plugins/{plugin}"))


@nox.session
def fault(session: nox.Session) -> None:
    """The crash and fault tests of every distribution: minutes by nature, so on one Python."""
    sync(session, "--all-packages", "--group=test")
    session.env["SFM_TEST_KILLS"] = "50"
    pytest(session, "-m", "slow")


def oldest(session: nox.Session, *options: str) -> None:
    """Install the whole workspace with the oldest dependencies that the distributions allow."""
    editable = [argument for folder in FOLDERS for argument in ("-e", f"./{folder}".replace("/.", ""))]
    session.run_install(
        "uv",
        "pip",
        "install",
        "--quiet",
        # The pins of the root would leave nothing to resolve.
        "--no-config",
        "--resolution=lowest-direct",
        "--group=test",
        *options,
        *editable,
    )


@nox.session(python=OLDEST)
def lowest(session: nox.Session) -> None:
    """Everything on the oldest Python with the oldest dependencies that the distributions allow."""
    oldest(session)
    left_out = [f"--ignore=tests/{part}" for part in ("docs", "architecture", "simulation")]
    # The Qdrant plugin asks for one minor release of its engine and for the client that was made with it.
    folders = [f"{folder}/tests" for folder in FOLDERS if folder != "plugins/qdrant"]
    pytest(session, "-m", "not slow", *left_out, *folders)


def provide(session: nox.Session) -> None:
    """See to it that the test servers can be started; fail with what is to be done where this may not do it."""
    session.run("python", "-m", "sfm_core.testing.servers", "install")


@nox.session
@nox.parametrize("python,folder,version", served())
def servers(session: nox.Session, folder: str, version: dict[str, str]) -> None:
    """One distribution against real servers: the kit and its own tests."""
    chosen = ["--servers"]
    if session.python == OLDEST:
        oldest(session, "--group=servers")
        chosen += ["-m", "not slow"]
    else:
        sync(session, f"--package={name_of(folder)}", "--group=test")
        sync(session, "--inexact", "--only-group=servers")
    provide(session)
    session.env.update(version)
    if folder == "sfm_core":
        chosen = ["-m", "server"]
    pytest(session, *chosen, f"{folder}/tests")


@nox.session
def enterprise(session: nox.Session) -> None:
    """The whole stack in its own processes on real servers, and the short form of its fault suite."""
    sync(session, "--all-packages", "--group=test", "--group=servers", "--group=weights")
    provide(session)
    pytest(session, "--servers", "tests/enterprise", "tests/fault")


@nox.session(name="fault-long", default=False)
def fault_long(session: nox.Session) -> None:
    """The long form of the fault suite: fifty kills of each process, servers frozen for half a minute."""
    sync(session, "--all-packages", "--group=test", "--group=servers")
    provide(session)
    session.env["SFM_FAULT_LONG"] = "1"
    pytest(session, "--servers", "tests/fault")


@nox.session(default=False)
def simulation(session: nox.Session) -> None:
    """Ten thousand seeds of the simulated pipeline; `SFM_TEST_SEEDS` and `SFM_TEST_FIRST_SEED` choose others."""
    sync(session, "--all-packages", "--group=test")
    session.env["SFM_TEST_SEEDS"] = os.environ.get("SFM_TEST_SEEDS", "10000")
    pytest(session, "tests/simulation")


@nox.session
def wheels(session: nox.Session) -> None:
    """Every distribution built, installed and imported alone; package counts and sizes within their limits."""
    sync(session, "--only-group=wheels")
    session.run("python", "scripts/check_wheels.py", session.create_tmp())


@nox.session
def docs(session: nox.Session) -> None:
    """What the documentation says against what the code does; examples are executed."""
    sync(session, "--all-packages", "--group=test")
    pytest(session, "tests/docs")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """The benchmarks; arguments after `--` go to them."""
    sync(session, "--all-packages", "--group=test")
    session.run("python", "-m", "benchmarks", *session.posargs)
