"""Servers that speak TLS, with certificates of an authority made for the run, and ask for a password."""

from __future__ import annotations

import secrets
import shutil
import socket
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from sfm_core.testing.servers.found import openssl
from sfm_core.testing.servers.kafka import KafkaServer
from sfm_core.testing.servers.postgres import PostgresServer
from sfm_core.testing.servers.process import free_port
from sfm_core.testing.servers.redis import RedisServer

__all__ = ["USER", "Authority", "SecureKafka", "SecurePostgres", "SecureRedis"]

USER = "sfm"
_PROFILE = """
[req]
distinguished_name = name
prompt = no
[name]
CN = sfm test authority
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


class Authority:
    """A certificate authority of one's own, and a certificate of it for servers on this machine.

    Attributes:
        ca: the file that clients are to trust.
        cert, key: what a server shows as `localhost` and 127.0.0.1, and its key.

    Raises:
        Missing: there is no `openssl` on this machine.
    """

    def __init__(self, folder: Path) -> None:
        self._program = openssl()
        self.ca, self.cert, self.key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
        profile, ca_key, request = folder / "profile.cnf", folder / "ca-key.pem", folder / "request.pem"
        profile.write_text(_PROFILE, encoding="utf-8")
        new = ("req", "-config", profile, "-newkey", "rsa:2048", "-nodes")
        self._run(*new, "-x509", "-days", "2", "-extensions", "authority", "-keyout", ca_key, "-out", self.ca)
        self._run(*new, "-subj", "/CN=localhost", "-keyout", self.key, "-out", request)
        signed = ("x509", "-req", "-in", request, "-days", "2", "-extfile", profile, "-extensions", "server")
        self._run(*signed, "-CA", self.ca, "-CAkey", ca_key, "-CAcreateserial", "-out", self.cert)

    def _run(self, *arguments: str | Path) -> None:
        subprocess.run([self._program, *arguments], check=True, capture_output=True)


class SecurePostgres(PostgresServer):
    """A PostgreSQL that asks `USER` for its password (SCRAM), over TLS alone where an authority is given.

    Version 15 of the system's packages speaks TLS; 18 of the Python package is built without it.
    """

    def __init__(self, version: str, authority: Authority | None = None) -> None:
        super().__init__(version)
        self.password = secrets.token_hex(16)
        self._authority = authority
        self._rules = self.folder / "hba"
        self.settings["hba_file"] = str(self._rules)
        if authority is not None:
            self.settings |= {
                "ssl": "on",
                "ssl_cert_file": str(self.folder / "cert.pem"),
                "ssl_key_file": str(self.folder / "key.pem"),
            }

    def prepare(self) -> None:
        """Make the cluster, its rules and its key."""
        super().prepare()
        kind = "host" if self._authority is None else "hostssl"
        rules = f"{kind} all {USER} 127.0.0.1/32 scram-sha-256\nhost all postgres 127.0.0.1/32 trust\n"
        self._rules.write_text(rules, encoding="utf-8")
        if self._authority is not None:
            for source in (self._authority.cert, self._authority.key):
                copy = Path(shutil.copy(source, self.folder))
                copy.chmod(0o600)
                self.give(copy)

    def start(self, *, wait: bool = True) -> None:
        """Start it, and make the user the first time."""
        super().start(wait=wait)
        if not self.psql(f"SELECT 1 FROM pg_roles WHERE rolname = '{USER}'"):
            self.psql(f"CREATE ROLE {USER} LOGIN PASSWORD '{self.password}'")

    def database_of_user(self, *, extensions: Sequence[str] = ()) -> str:
        """Make an empty database that belongs to `USER` and return its URL, with user and password."""
        url = self.new_database(extensions=extensions)
        parts = urlsplit(url)
        self.psql(f"ALTER DATABASE {parts.path[1:]} OWNER TO {USER}")
        return parts._replace(netloc=f"{USER}:{self.password}@127.0.0.1:{self.port}").geturl()


class SecureRedis(RedisServer):
    """A Redis that speaks nothing but TLS and asks for a password: 7 of the system's packages, 8 is built without TLS."""

    def __init__(self, authority: Authority) -> None:
        super().__init__("7")
        self.password = secrets.token_hex(16)
        self._authority = authority

    def prepare(self) -> None:
        """Write the configuration: a password is not for the process list."""
        lines = (
            "port 0",
            f"tls-port {self.port}",
            f"tls-cert-file {self._authority.cert}",
            f"tls-key-file {self._authority.key}",
            "tls-auth-clients no",
            f"requirepass {self.password}",
            "bind 127.0.0.1",
            f"dir {self.folder}",
            'save ""',
        )
        (self.folder / "redis.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def command(self) -> Sequence[str]:
        """Return the server's command line."""
        return [str(self.program), str(self.folder / "redis.conf")]

    def ready(self) -> bool:
        """Tell whether a PING over TLS is answered, with the demand for a password."""
        context = ssl.create_default_context(cafile=self._authority.ca)
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), timeout=2) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as connection,
            ):
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"-NOAUTH")
        except OSError:
            return False


class SecureKafka(KafkaServer):
    """A broker whose clients log in by SCRAM over TLS at `secure`; at the other port it speaks with itself."""

    def __init__(self, authority: Authority) -> None:
        super().__init__()
        self.password = secrets.token_hex(16)
        both = self.folder / "both.pem"
        both.write_text(authority.key.read_text() + authority.cert.read_text() + authority.ca.read_text())
        both.chmod(0o600)
        secure = free_port()
        self.secure = f"localhost:{secure}"
        inner = f"PLAINTEXT://127.0.0.1:{self.port}"
        self.settings |= {
            "listeners": f"{inner},SECURE://127.0.0.1:{secure},CONTROLLER://127.0.0.1:{self.controller}",
            "advertised.listeners": f"{inner},SECURE://{self.secure}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL",
            "listener.name.secure.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.secure.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(both),
        }

    def run(self, *command: str) -> str:
        """Add the user where the folder is formatted."""
        user = ("--add-scram", f"SCRAM-SHA-512=[name={USER},iterations=4096,password={self.password}]")
        return super().run(*command, *(user if "format" in command else ()))
