"""A real PostgreSQL: 18 with pgvector from a Python package, or 15 from the system's packages."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from sfm_core.testing.servers import watch
from sfm_core.testing.servers.found import postgres_programs
from sfm_core.testing.servers.process import Server, reachable

__all__ = ["PostgresAt", "PostgresServer"]

VERSIONS = ("18", "15")

QUICK = {"fsync": "off", "full_page_writes": "off"}
"""What loses data with the machine's power only, never with a killed process."""

SETTINGS = {"max_connections": "200", "shared_buffers": "64MB", "jit": "off", "unix_socket_directories": ""}


class PostgresAt:
    """Makes and drops databases on the PostgreSQL that an URL names, by `psql`."""

    def __init__(self, url: str, *, programs: Path | None = None) -> None:
        self.url = url
        self.programs = programs or postgres_programs(VERSIONS[0])

    def psql(self, statement: str, *, database: str | None = None) -> str:
        """Run one statement and return its rows as text, columns separated by "|".

        Raises:
            RuntimeError: it failed; the message is the server's.
        """
        parts = urlsplit(self.url)
        # A password is not for the process list.
        secret = {"PGPASSWORD": unquote(parts.password)} if parts.password else {}
        bare = parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", "@", 1))
        target = bare._replace(path=f"/{database}") if database is not None else bare
        done = subprocess.run(
            [self.programs / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", target.geturl(), "-c", statement],
            env={**os.environ, **secret, "PGOPTIONS": "-c client_min_messages=warning"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"psql: {done.stderr.strip()}")
        return done.stdout.strip()

    def new_database(self, *, extensions: Sequence[str] = ()) -> str:
        """Make an empty database of its own name and return its URL."""
        name = f"sfm_{uuid4().hex}"
        self.psql(f"CREATE DATABASE {name}")
        for extension in extensions:
            self.psql(f"CREATE EXTENSION {extension}", database=name)
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    def drop_database(self, url: str) -> None:
        """Drop a database that `new_database` made, with whoever is connected to it."""
        self.psql(f"DROP DATABASE IF EXISTS {urlsplit(url).path[1:]} WITH (FORCE)")


class PostgresServer(PostgresAt, Server):
    """A PostgreSQL of one's own, superuser `postgres` without a password, database `postgres`."""

    title = "PostgreSQL"
    gentle = signal.SIGINT
    drops_root = True

    def __init__(
        self,
        version: str = VERSIONS[0],
        *,
        folder: Path | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        found = postgres_programs(version)
        Server.__init__(self, folder=folder, port=port)
        url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        PostgresAt.__init__(self, url, programs=self._at_hand(found))
        self.settings = {**SETTINGS, **(QUICK if folder is None else {}), **(settings or {})}

    def _at_hand(self, programs: Path) -> Path:
        """Copy the programs where the server's user may not walk to where they are."""
        if reachable(programs):
            return programs
        copy = self.folder / "programs"
        shutil.copytree(programs.parent, copy, dirs_exist_ok=True, symlinks=True)
        return copy / programs.name

    def prepare(self) -> None:
        """Make the cluster; in an old one, note that nothing runs."""
        data = self.folder / "data"
        if (data / "PG_VERSION").exists():
            if not watch.members(str(self.folder)):
                # The process of a killed server may be known to the system for a while, which looks as if it ran.
                (data / "postmaster.pid").unlink(missing_ok=True)
            return
        data.mkdir(mode=0o700, exist_ok=True)
        self.give(data)
        options = ("-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
        self.run(str(self.programs / "initdb"), "-D", str(data), *options)

    def command(self) -> Sequence[str]:
        """Return the postmaster's command line; the cluster's name tells its children's processes apart."""
        fixed = {"port": str(self.port), "listen_addresses": "127.0.0.1", "cluster_name": self.folder.name}
        options = [part for name, value in {**fixed, **self.settings}.items() for part in ("-c", f"{name}={value}")]
        return [str(self.programs / "postgres"), "-D", str(self.folder / "data"), *options]

    def ready(self) -> bool:
        """Tell whether connections are accepted."""
        command = [
            str(self.programs / "pg_isready"),
            "-q",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "postgres",
            "-t",
            "2",
        ]
        return subprocess.run(command, check=False).returncode == 0
