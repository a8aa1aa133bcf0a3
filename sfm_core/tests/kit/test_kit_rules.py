"""The kit's own rules: nobody bends its tests, gaps are strict, nothing is left out, nothing reaches the network."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sfm_core.errors import PluginError
from sfm_core.plugins.types import Port
from sfm_core.testing.conformance import CAPABILITIES, SUITES, conformance, missing, required
from sfm_core.testing.guard import NetworkRefused, refuse_network
from sfm_core.testing.refusals import REFUSALS
from sfm_core.testing.storage import StorageSuite
from sfm_inmemory import plugin

INMEMORY = "sfm_inmemory.plugin"

GAPS = """
from sfm_core.testing.cache import CacheSuite
from sfm_inmemory import plugin
from sfm_inmemory.cache import InmemoryCache

class TestGap(CacheSuite):
    spec = plugin.sfm_cache()[0]
    known_gaps = {"test_a_cleared_cache_is_empty": "does not clear", "test_deleted_values_are_gone": "is said to keep them"}

async def keep(self):
    pass

InmemoryCache.clear = keep
"""


def test_a_suite_cannot_be_bent() -> None:
    """Overriding a test of the kit is an error, in the class itself and in what it mixes in."""
    with pytest.raises(TypeError, match="overrides test_a_taken_id_is_a_conflict"):

        class Bent(StorageSuite):
            async def test_a_taken_id_is_a_conflict(self) -> None: ...  # type: ignore[override]

    class Mixin:
        def test_a_taken_id_is_a_conflict(self) -> None: ...

    with pytest.raises(TypeError, match="overrides test_a_taken_id_is_a_conflict"):
        type("Mixed", (Mixin, StorageSuite), {})


def test_a_gap_must_name_a_test() -> None:
    """A gap that is closed by renaming is no gap."""
    with pytest.raises(TypeError, match="test_that_never_was"):
        type("Gap", (StorageSuite,), {"known_gaps": {"test_that_never_was": "reason"}})
    with pytest.raises(PluginError, match="test_that_never_was"):
        conformance(INMEMORY, known_gaps={"test_that_never_was": "reason"})


def test_a_known_gap_must_fail(tmp_path: Path) -> None:
    """It is an expected failure while it fails, and a failure as soon as it passes."""
    module = tmp_path / "test_gaps.py"
    module.write_text(GAPS)
    options = ["-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "--rootdir", str(tmp_path), "-c", "/dev/null"]
    command = [sys.executable, "-m", "pytest", *options, "-k", "cleared or deleted_values", str(module)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "1 failed, 1 xfailed" in re.sub(r", \d+ deselected", "", done.stdout), done.stdout
    assert "is said to keep them" in done.stdout


def test_every_capability_has_its_suite() -> None:
    """One for each member of each port's enum."""
    proven = {(suite.port, suite.capability) for suite in SUITES if suite.capability is not None}
    assert proven == {(port, member) for port, members in CAPABILITIES.items() for member in members}
    assert {(suite.port, suite.lacks) for suite in REFUSALS} <= proven


def test_a_missing_suite_is_named() -> None:
    """Whoever writes test classes by hand and forgets one is told which."""
    classes = conformance(INMEMORY)
    assert missing(INMEMORY, classes.values()) == []
    del classes["TestInmemoryMatching"], classes["TestInmemoryVectorsNotShared"]
    assert missing(INMEMORY, classes.values()) == [
        "storage/inmemory: MatchingSuite",
        "vectors/inmemory: VectorsNotSharedSuite",
    ]


def test_what_is_declared_decides_what_is_run() -> None:
    """A capability brings its suite, its lack the refusal."""
    names = {suite.__name__ for suite in required(plugin.sfm_storage()[0])}
    assert {"StorageSuite", "FullTextSuite", "StorageNotDurableSuite"} <= names
    assert not {"DurableStorageSuite", "NoFullTextSuite", "VectorsSuite"} & names
    assert all(suite.port in Port for suite in SUITES)


@pytest.mark.parametrize(
    "reach",
    [
        lambda: socket.create_connection(("192.0.2.1", 9), timeout=1),
        lambda: socket.getaddrinfo("example.org", 80),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9)),
        lambda: socket.socket().bind(("0.0.0.0", 0)),
        lambda: socket.socket(socket.AF_INET6).connect_ex(("2001:db8::1", 9)),
    ],
    ids=["connect", "resolve", "datagram", "bind", "connect over IPv6"],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_guard_refuses_the_network(reach: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections, look-ups, datagrams and open ports beyond loopback."""
    refuse_network(monkeypatch)
    with pytest.raises(NetworkRefused):
        reach()


def test_the_guard_lets_loopback_through(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A local server and a local socket file work as ever."""
    refuse_network(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()
    with socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "s"))
    assert socket.getaddrinfo("localhost", 80)
