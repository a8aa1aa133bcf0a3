"""Real servers: they start, survive what is done to them, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sfm_core.testing.servers import KafkaServer, Missing, PostgresAt, PostgresServer, RedisServer, Server, watch
from sfm_core.testing.servers.found import redis_program
from sfm_core.testing.servers.process import Folder
from sfm_core.testing.servers.secure import Authority

PROGRAM = """
import sys, time
from sfm_core.testing.servers import RedisServer
server = RedisServer()
server.start()
print(server.pid, server.folder, flush=True)
time.sleep(600)
"""


@pytest.fixture
def own_server(request: pytest.FixtureRequest) -> Server:
    """The server that the parameter names."""
    server: Server = request.getfixturevalue(request.param)
    return server


each = pytest.mark.parametrize("own_server", ["own_postgres", "own_redis", "own_kafka"], indirect=True)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(happened: Callable[[], bool], seconds: float = 20) -> bool:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if happened():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.server
@each
def test_a_killed_server_starts_again_on_its_port_and_folder(own_server: Server) -> None:
    """After SIGKILL no process is left, and a start brings the same address back."""
    port, folder = own_server.port, own_server.folder
    own_server.kill()
    assert watch.members(str(folder)) == []
    assert not own_server.ready()
    own_server.start()
    assert own_server.ready()
    assert (own_server.port, own_server.folder) == (port, folder)


@pytest.mark.server
@each
def test_a_frozen_server_answers_again_when_it_thaws(own_server: Server) -> None:
    """Frozen it takes connections and says nothing; thawed it goes on."""
    own_server.freeze()
    assert not own_server.ready()
    own_server.thaw()
    own_server.wait_ready()


@pytest.mark.server
@each
def test_a_server_has_a_process_group_of_its_own(own_server: Server) -> None:
    """A signal to the test run's group does not reach it."""
    assert os.getpgid(own_server.pid) != os.getpgid(0)


def test_postgres_keeps_what_was_committed_before_a_kill(own_postgres: PostgresServer) -> None:
    """The folder is the same after a restart, whatever ended the server."""
    url = own_postgres.new_database(extensions=["pg_trgm"])
    database = url.rsplit("/", 1)[-1]
    own_postgres.psql("CREATE TABLE kept AS SELECT 42 AS answer", database=database)
    own_postgres.kill()
    own_postgres.start()
    assert own_postgres.psql("SELECT answer FROM kept", database=database) == "42"
    own_postgres.drop_database(url)
    with pytest.raises(RuntimeError, match="does not exist"):
        own_postgres.psql("SELECT 1", database=database)


def test_every_test_has_a_database_of_its_own(postgres_server: PostgresAt, postgres_database: str) -> None:
    """Two of them do not see each other's tables."""
    other = postgres_server.new_database()
    PostgresAt(postgres_database).psql("CREATE TABLE mine ()")
    with pytest.raises(RuntimeError, match="mine"):
        PostgresAt(other).psql("SELECT * FROM mine")
    postgres_server.drop_database(other)


@pytest.mark.server
def test_pgvector_comes_with_the_newest_postgres() -> None:
    """The extension can be created."""
    with PostgresServer("18") as server:
        url = server.new_database(extensions=["vector"])
        assert PostgresAt(url).psql("SELECT '[1,2]'::vector <-> '[1,4]'::vector") == "2"


@pytest.mark.server
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_end_with_the_program_that_started_them(end: signal.Signals) -> None:
    """However it ends, kill -9 included: no process and no folder is left."""
    program = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert program.stdout is not None
    pid, folder = program.stdout.readline().decode().split()
    assert alive(int(pid))
    program.send_signal(end)
    program.communicate()
    assert until(lambda: not alive(int(pid)) and not Path(folder).exists())


@pytest.mark.server
def test_a_server_that_cannot_start_says_what_it_printed() -> None:
    """The error ends with the server's own words, and nothing of it is left."""
    server = RedisServer(options=["--no-such-option", "1"])
    with pytest.raises(RuntimeError, match="no-such-option"):
        server.start()
    server.close()
    assert not server.folder.exists()


def test_a_folder_ends_every_process_in_it(tmp_path: Path) -> None:
    """Children that made a session of their own as well; a folder that was given stays."""
    folder = Folder("kept", tmp_path / "kept")
    (folder.path / "below").mkdir()
    sleeper = subprocess.Popen(["sleep", "600"], cwd=folder.path / "below", start_new_session=True)
    assert sleeper.pid in watch.members(str(folder.path))
    folder.close()
    assert sleeper.wait() == -signal.SIGKILL
    assert folder.path.is_dir()


def test_a_missing_program_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Never a skip, never another version."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Missing, match=r"Redis 7 is not installed; run: uv run .* install"):
        redis_program("7")
    with pytest.raises(Missing, match=r"OpenSSL is not installed; run: uv run .* install"):
        Authority(tmp_path)


def test_a_broker_is_ready_only_when_it_answers(own_kafka: KafkaServer) -> None:
    """An open port alone is not an answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, own_kafka.port = own_kafka.port, listener.getsockname()[1]
        assert not own_kafka.ready()
        own_kafka.port = port
    assert own_kafka.ready()
