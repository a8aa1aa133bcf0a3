"""Over TLS and with an API key, to stubs that speak TLS alone: over HTTP and over gRPC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sfm_core.config.secret import Secret
from sfm_core.errors import BackendUnavailable, ConfigError
from sfm_core.model.namespace import ALL
from sfm_core.plugins.types import OpenContext
from sfm_core.testing.build import HERE, ids_of, memory
from sfm_core.testing.servers.secure import Authority
from sfm_core.testing.suite import SPACE
from sfm_core.testing.vectors import UP, point
from sfm_qdrant.config import QdrantConfig
from sfm_qdrant.plugin import sfm_vectors

SERVER = sfm_vectors()[0]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signed the certificate of the stubs."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(params=["http", "grpc"])
async def secured(request: pytest.FixtureRequest, stub: Any, grpc_stub: Any, authority: Authority) -> dict[str, Any]:
    """Settings of the stubs, which speak TLS from now on."""
    for listening in (stub, grpc_stub):
        await listening.stop()
        await listening.start(authority)
    grpc_port = grpc_stub.port if request.param == "grpc" else None
    return {"port": stub.port, "grpc_port": grpc_port, "tls": True, "timeout": 5.0}


async def test_requests_and_the_key_arrive_over_tls(secured: dict[str, Any], stub: Any, authority: Authority) -> None:
    """The server's certificate is of the authority that is named."""
    config = QdrantConfig(**secured, tls_ca_file=authority.ca, api_key=Secret("hush"))
    async with SERVER.open(config, OpenContext(space=SPACE)) as index:
        one = memory("one")
        await index.upsert([point(one, [1.0])])
        assert ids_of(await index.search(HERE, UP, limit=1)) == [one.id]
    assert stub.keys == {"grpc" if config.grpc_port else "http": "hush"}


@pytest.mark.parametrize("trusted", ["another authority", "the system's"])
async def test_a_certificate_that_nobody_vouches_for_is_not_spoken_to(
    secured: dict[str, Any], stub: Any, trusted: str, tmp_path: Path
) -> None:
    """Told as a server that cannot be reached; the key never leaves."""
    file = Authority(tmp_path).ca if trusted == "another authority" else None
    config = QdrantConfig(**secured, tls_ca_file=file, api_key=Secret("hush"))
    async with SERVER.open(config, OpenContext(space=SPACE)) as index:
        with pytest.raises(BackendUnavailable, match="cannot be reached") as caught:
            await index.count(ALL)
    assert "hush" not in str(caught.value)
    assert (stub.keys, stub.asked) == ({}, [])


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_a_file_without_certificates_is_refused_by_its_setting(
    secured: dict[str, Any], tmp_path: Path, content: str | None
) -> None:
    """Missing or of something else, over either wire."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match="SFM_QDRANT__TLS_CA_FILE"):
        async with SERVER.open(QdrantConfig(**secured, tls_ca_file=file), OpenContext(space=SPACE)):
            pass
