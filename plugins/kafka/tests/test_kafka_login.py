"""Logging in and TLS, on a broker with a listener for each."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sfm_core.config.secret import Secret
from sfm_core.errors import BackendError, BackendUnavailable, ConfigError
from sfm_core.testing.events import change_events, drain
from sfm_core.testing.servers.kafka import KafkaServer
from sfm_core.testing.servers.process import free_port
from sfm_kafka.events import open_events

pytestmark = [pytest.mark.slow, pytest.mark.server]

PASSWORD = "tip-of-the-tongue"
WRONG = "slip-of-the-tongue"
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


def certificate(folder: Path) -> tuple[Path, Path]:
    """Return a certificate for 127.0.0.1, and the same with its key as the broker reads it."""
    key, cert, both = folder / "key.pem", folder / "cert.pem", folder / "both.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=broker"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    both.write_text(key.read_text() + cert.read_text())
    return cert, both


class WithUsers(KafkaServer):
    """A broker that knows users of SCRAM from its first start on."""

    def run(self, *command: str) -> str:
        """Add the users where the folder is formatted."""
        kinds = ("SCRAM-SHA-256", "SCRAM-SHA-512") if "format" in command else ()
        users = [f"{kind}=[name=sfm,iterations=4096,password={PASSWORD}]" for kind in kinds]
        return super().run(*command, *(part for user in users for part in ("--add-scram", user)))


class Listeners:
    """A broker with three more listeners: PLAIN, SCRAM over TLS, and TLS without login."""

    def __init__(self, folder: Path) -> None:
        self.server = server = WithUsers()
        self.plain, self.scram, self.tls = free_port(), free_port(), free_port()
        self.cert, both = certificate(folder)
        ports = {"PLAINTEXT": server.port, "PLAIN": self.plain, "SCRAM": self.scram, "TLS": self.tls}
        named = ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())
        server.settings |= {
            "listeners": f"{named},CONTROLLER://127.0.0.1:{server.controller}",
            "advertised.listeners": named,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PLAIN:SASL_PLAINTEXT,"
            "SCRAM:SASL_SSL,TLS:SSL",
            "listener.name.plain.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.plain.plain.sasl.jaas.config": f'{PLAIN} user_sfm="{PASSWORD}";',
            "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.scram.scram-sha-256.sasl.jaas.config": SCRAM,
            "listener.name.scram.scram-sha-512.sasl.jaas.config": SCRAM,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(both),
        }


@pytest.fixture(scope="module")
def listeners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listeners]:
    """The broker."""
    broker = Listeners(tmp_path_factory.mktemp("tls"))
    try:
        broker.server.start()
        yield broker
    finally:
        broker.server.close()


@pytest.fixture
def login() -> dict[str, Any]:
    """The right login."""
    return {"username": "sfm", "password": Secret(PASSWORD)}


async def works(config: Any) -> bool:
    """Tell whether events come through."""
    async with open_events(config, create=True) as events:
        await events.publish(change_events(3))
        return len(await drain(events, "index", 5.0)) == 3


async def test_the_right_password_logs_in_by_plain(
    listeners: Listeners, login: dict[str, Any], make_config: Any, kafka_topic: str
) -> None:
    """Publishing and consuming work."""
    assert await works(make_config(f"127.0.0.1:{listeners.plain}", kafka_topic, **login))


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_the_right_password_logs_in_by_scram_over_tls(
    listeners: Listeners, login: dict[str, Any], make_config: Any, kafka_topic: str, mechanism: str
) -> None:
    """The broker's certificate is one that is trusted by setting."""
    secure = {"tls": True, "tls_ca_file": listeners.cert, "sasl_mechanism": mechanism}
    assert await works(make_config(f"127.0.0.1:{listeners.scram}", kafka_topic, **login, **secure))


async def test_tls_alone_works_and_a_stranger_is_not_trusted(
    listeners: Listeners, make_config: Any, kafka_topic: str
) -> None:
    """Without the setting the certificate is nobody's."""
    address = f"127.0.0.1:{listeners.tls}"
    assert await works(make_config(address, kafka_topic, tls=True, tls_ca_file=listeners.cert))
    async with open_events(make_config(address, kafka_topic, tls=True), create=True) as events:
        with pytest.raises(BackendUnavailable, match="SSLCertVerificationError"):
            await events.check()


@pytest.mark.parametrize("kind", ["PLAIN", "SCRAM-SHA-512"])
async def test_a_wrong_password_is_told_at_once_and_not_shown(
    listeners: Listeners, make_config: Any, kafka_topic: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in the error, nor in what the driver logs, whatever level is on."""
    caplog.set_level(logging.DEBUG)
    secure = {} if kind == "PLAIN" else {"tls": True, "tls_ca_file": listeners.cert}
    port = listeners.plain if kind == "PLAIN" else listeners.scram
    config = make_config(
        f"127.0.0.1:{port}", kafka_topic, username="sfm", password=Secret(WRONG), sasl_mechanism=kind, **secure
    )
    with pytest.raises(ConfigError, match="refuses the login; check username, password") as caught:
        async with open_events(config, create=True):
            pass
    shown = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r} {config!r} {caplog.text}"
    assert WRONG not in shown


async def test_the_password_is_not_logged_by_a_login_that_works(
    listeners: Listeners, login: dict[str, Any], make_config: Any, kafka_topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The driver logs every request at its lowest level, but not here."""
    caplog.set_level(logging.DEBUG)
    async with open_events(make_config(f"127.0.0.1:{listeners.plain}", kafka_topic, **login), create=True) as events:
        await events.check()
    assert PASSWORD not in caplog.text


async def test_a_mechanism_that_the_broker_does_not_offer_is_told(
    listeners: Listeners, login: dict[str, Any], make_config: Any, kafka_topic: str
) -> None:
    """The error names the setting."""
    config = make_config(f"127.0.0.1:{listeners.plain}", kafka_topic, **login, sasl_mechanism="SCRAM-SHA-512")
    with pytest.raises(ConfigError, match="sasl_mechanism"):
        async with open_events(config, create=True):
            pass


async def test_no_login_where_one_is_needed_is_an_error_in_time(
    listeners: Listeners, make_config: Any, kafka_topic: str
) -> None:
    """The broker hangs up on who does not log in."""
    config = make_config(f"127.0.0.1:{listeners.plain}", kafka_topic, request_timeout=3.0)
    async with open_events(config, create=True) as events:
        with pytest.raises(BackendError, match="kafka/events"):
            await events.check()
