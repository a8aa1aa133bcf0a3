"""The Qdrant backends against the conformance kit: the client's local mode, the engine in process, stubs, and a server.

The stubs are Qdrant's engine behind HTTP and gRPC: it filters, scores and compares versions, but is no server. The server is
the one that `TEST_QDRANT_URL` names, asked over both.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from sfm_core.plugins.types import BackendSpec, OpenContext
from sfm_core.testing.conformance import required
from sfm_core.testing.opener import specs_of
from sfm_core.testing.suite import SPACE, Suite
from sfm_qdrant import plugin, testing
from sfm_qdrant.config import QdrantConfig

SERVER, EDGE = sorted(specs_of(plugin), key=lambda spec: spec.name, reverse=True)


class InMemory:
    """The shards of the engine in process lie in memory."""

    @pytest.fixture
    def context(self, quick_folder: Path) -> OpenContext:
        return OpenContext(data_dir=quick_folder, space=SPACE)


class OnServer:
    """Collections that belong to the test."""

    wire: ClassVar[str]

    @pytest_asyncio.fixture
    async def config(self, collection: str) -> AsyncIterator[QdrantConfig]:
        config = testing.server_config(self.wire, collection)
        yield config
        await testing.drop_collections(config)


class OverStub:
    """The requests go over HTTP to the engine behind a stub."""

    @pytest.fixture
    def config(self, stub: Any) -> QdrantConfig:
        return QdrantConfig(port=stub.port, timeout=10.0)


class OverGrpcStub:
    """The same over gRPC."""

    @pytest.fixture
    def config(self, stub: Any, grpc_stub: Any) -> QdrantConfig:
        return QdrantConfig(port=stub.port, grpc_port=grpc_stub.port, timeout=10.0)


def suites(label: str, spec: BackendSpec, module: str, *own: type, **attributes: Any) -> dict[str, type]:
    """Return the test classes of a backend."""
    made: dict[str, type] = {}
    for suite in required(spec):
        name = f"Test{label}{suite.__name__.removesuffix('Suite')}"
        body = {"spec": spec, "plugin": module, "__doc__": suite.__doc__, "__module__": module, **attributes}
        made[name] = type(name, (*own, suite), body)
    return made


globals().update(suites("Local", testing.LOCAL, testing.__name__))
globals().update(suites("Edge", EDGE, plugin.__name__, InMemory))
globals().update(suites("OverStub", SERVER, plugin.__name__, OverStub, kills=1))
globals().update(suites("OverGrpcStub", SERVER, plugin.__name__, OverGrpcStub, kills=1))
for wire in testing.wires():
    globals().update(suites(f"Server{wire.title()}", SERVER, plugin.__name__, OnServer, wire=wire))


def test_the_backends_are_what_they_are_called() -> None:
    """Both are found, and a server has every ability but exactness."""
    assert (SERVER.name, EDGE.name) == ("qdrant", "edge")
    assert all(issubclass(one, Suite) for one in required(SERVER))
