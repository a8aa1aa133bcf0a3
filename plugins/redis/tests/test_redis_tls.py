"""The Redis cache over TLS: certificates are verified, and what is wrong with them is told at once."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from sfm_core.errors import BackendUnavailable, ConfigError
from sfm_core.testing.servers.redis import RedisServer
from sfm_redis.cache import open_cache
from sfm_redis.config import RedisConfig


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for `localhost` that vouches for itself, and its key."""
    file, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*made, *names, "-keyout", key, "-out", file], check=True, capture_output=True)
    return file, key


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until there are no more."""
    with suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
async def port(own_redis: RedisServer, certificate: tuple[Path, Path]) -> AsyncIterator[int]:
    """The port of a stub that speaks TLS and passes everything on to a real server (the packaged one has no TLS)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", own_redis.port)
        for ends in ((reader, behind_writer), (behind_reader, writer)):
            tasks.add(asyncio.create_task(copy(*ends)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)


def at(port: int, **settings: object) -> RedisConfig:
    return RedisConfig(
        **{"host": "localhost", "port": port, "tls": True, "timeout": 10.0, "connect_timeout": 10.0, **settings}
    )  # type: ignore[arg-type]


async def test_a_trusted_server_is_spoken_to(port: int, certificate: tuple[Path, Path]) -> None:
    """Its certificate is of the authority that is named."""
    async with open_cache(at(port, tls_ca_file=certificate[0])) as cache:
        await cache.set({"a": b"x" * 2**20}, ttl=60)
        assert await cache.get(["a"]) == [b"x" * 2**20]


async def test_a_server_that_nobody_vouches_for_is_refused(port: int) -> None:
    """The system's authorities do not know it."""
    with pytest.raises(ConfigError, match="certificate that is not trusted"):
        async with open_cache(at(port)):
            pass


async def test_a_server_of_another_name_is_refused(port: int, certificate: tuple[Path, Path]) -> None:
    """The certificate is for `localhost`, not for the address."""
    with pytest.raises(ConfigError, match="certificate that is not trusted"):
        async with open_cache(at(port, host="127.0.0.1", tls_ca_file=certificate[0])):
            pass


async def test_a_server_without_tls_is_unavailable(own_redis: RedisServer) -> None:
    """It does not answer in TLS; nothing is sent in the clear."""
    async with open_cache(at(own_redis.port, timeout=1.0)) as cache:
        with pytest.raises(BackendUnavailable):
            await cache.check()
