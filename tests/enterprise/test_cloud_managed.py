"""`cloud_managed` as it is meant to be run: TLS and passwords to all servers, migrations by command, API keys for callers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from sfm_app.dev.program import Program
from sfm_app.dev.stack import apart, embedding
from sfm_core.services.authentication import KEPT_SECONDS
from sfm_core.testing.servers import Missing
from sfm_core.testing.servers.secure import USER, Authority, SecureKafka, SecurePostgres, SecureRedis
from tests.enterprise.tls_stub import tls_in_front_of

pytestmark = pytest.mark.server

ALL = ("read", "write", "forget", "admin")
SFM = Path(sys.executable).with_name("sfm")


class Cloud:
    """Servers with TLS and passwords, and the environment of processes that know how to reach them.

    Records are in PostgreSQL 15, which speaks TLS itself; vectors in 18, which needs a stub for it; copies in Redis 7.
    """

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self.authority = authority = Authority(folder)
        self.postgres = running.enter_context(SecurePostgres("15", authority))
        self.index = running.enter_context(SecurePostgres("18"))
        self.redis = running.enter_context(SecureRedis(authority))
        self.kafka = running.enter_context(SecureKafka(authority))
        self.database = self.postgres.database_of_user()
        vectors = urlsplit(self.index.database_of_user(extensions=("vector",)))
        stub = running.enter_context(tls_in_front_of(self.index.port, authority))
        self.vectors = vectors._replace(netloc=f"{USER}:{self.index.password}@127.0.0.1:{stub}").geturl()
        self.passwords = [server.password for server in (self.postgres, self.index, self.redis, self.kafka)]
        secrets = {
            "POSTGRES_URL": self.database,
            "SFM_PGVECTOR__URL": self.vectors,
            "SFM_REDIS__PASSWORD": self.redis.password,
            "SFM_KAFKA__PASSWORD": self.kafka.password,
        }
        files = {}
        for name, text in secrets.items():
            path = folder / name
            path.write_text(text + "\n")
            path.chmod(0o600)
            files[f"{name}_FILE"] = str(path)
        trusted = str(authority.ca)
        self.environment = {
            **apart(),
            **files,
            "MEMORY_MODE": "cloud_managed",
            "SFM_VECTORS": "pgvector",
            "SFM_EMBEDDING": embedding(),
            **{f"SFM_{name}__SSLMODE": "verify-full" for name in ("POSTGRES", "PGVECTOR")},
            **{f"SFM_{name}__SSLROOTCERT": trusted for name in ("POSTGRES", "PGVECTOR")},
            "REDIS_HOST": "localhost",
            "REDIS_PORT": str(self.redis.port),
            "SFM_REDIS__TLS": "true",
            "SFM_REDIS__TLS_CA_FILE": trusted,
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.secure,
            "SFM_KAFKA__TLS": "true",
            "SFM_KAFKA__TLS_CA_FILE": trusted,
            "SFM_KAFKA__USERNAME": USER,
            "SFM_KAFKA__SASL_MECHANISM": "SCRAM-SHA-512",
            "SFM_KAFKA__PARTITIONS": "2",
            "UVICORN_WORKERS": "1",
            "OMP_NUM_THREADS": "1",
        }

    def sfm(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command line to its end."""
        return subprocess.run(
            [SFM, *arguments],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def tables(self) -> str:
        """Return the schemas of the records' database that are not PostgreSQL's own."""
        name = urlsplit(self.database).path[1:]
        return self.postgres.psql("SELECT nspname FROM pg_namespace WHERE nspname ~ '^sfm'", database=name)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The servers, empty."""
    with ExitStack() as running:
        try:
            yield Cloud(tmp_path_factory.mktemp("cloud"), running)
        except Missing as gap:
            pytest.fail(str(gap), pytrace=False)


def test_nothing_starts_before_the_migration_and_it_is_a_command(bare: Cloud) -> None:
    """Neither a service nor a key; the error names the command, nothing was made. Then the command does it."""
    for arguments in (("serve", "--port", "0"), ("consumer", "--port", "0"), ("keys", "list"), ("migrate", "--check")):
        done = bare.sfm(*arguments)
        assert (done.returncode, done.stdout) == (1, ""), arguments
        assert "sfm migrate" in done.stderr
        assert "Traceback" not in done.stderr
    assert bare.tables() == ""
    migrated = bare.sfm("migrate", "--json")
    assert migrated.returncode == 0, migrated.stderr
    assert json.loads(migrated.stdout)["backends"] == [
        "cache:redis",
        "events:kafka",
        "storage:postgres",
        "vectors:pgvector",
    ]
    assert bare.sfm("migrate", "--check").returncode == 0
    assert bare.tables() == "sfm"


@pytest.fixture(scope="module")
def cloud(bare: Cloud) -> Cloud:
    """The servers with their schema."""
    done = bare.sfm("migrate")
    assert done.returncode == 0, done.stderr
    return bare


class Running:
    """Service and consumer, and the first key, which the command line made."""

    def __init__(self, cloud: Cloud, closing: ExitStack) -> None:
        self.cloud = cloud
        made = cloud.sfm("keys", "create", "--json", "--name", "ops", "--namespace", "**", *verbs(*ALL))
        assert made.returncode == 0, made.stderr
        self.admin = json.loads(made.stdout)
        self.api = Program("api", ["serve"], cloud.environment)
        self.consumer = Program("consumer", ["consumer"], cloud.environment)
        self.keys = [self.admin]
        for program in (self.api, self.consumer):
            closing.callback(program.close)
            program.start()

    def client(self, key: Any = None) -> httpx.Client:
        """Return a client that shows a key."""
        shown = {} if key is None else {"Authorization": f"Bearer {key['key']}"}
        return httpx.Client(base_url=self.api.url, timeout=60, headers=shown)

    def key(self, *namespaces: str, may: tuple[str, ...]) -> Any:
        """Make a key over the service."""
        with self.client(self.admin) as client:
            answer = client.post("/v1/keys", json={"namespaces": namespaces, "verbs": may})
        assert answer.status_code == 201, answer.text
        self.keys.append(answer.json())
        return answer.json()


def verbs(*names: str) -> tuple[str, ...]:
    return tuple(part for name in names for part in ("--verb", name))


@pytest.fixture(scope="module")
def running(cloud: Cloud) -> Iterator[Running]:
    """The processes."""
    with ExitStack() as closing:
        yield Running(cloud, closing)


def test_memories_are_remembered_recalled_and_erased_with_a_key(running: Running) -> None:
    """Through the whole pipeline, consumer included; without a key only probes answer."""
    key = running.key("acme/**", may=("read", "write", "forget"))
    body = {"content": "Ada bought a puppy and named it Rex", "namespace": "acme/agent-7"}
    with running.client() as nobody:
        refused = nobody.post("/v1/memories", json=body)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert nobody.get("/readyz").status_code == 200
    with running.client(key) as client:
        stored = client.post("/v1/memories", params={"wait": "indexed"}, json=body)
        assert (stored.status_code, stored.json()["indexed"]) == (201, True), stored.text
        id = stored.json()["memory"]["id"]
        for query, arm in (("puppy Rex", "lexical"), ("Who has got a young dog?", "vectors")):
            asked = {"query": query, "namespace": "acme/**", "explain": True}
            [hit] = client.post("/v1/recall", json=asked).json()["hits"]
            assert hit["memory"]["id"] == id
            assert arm in hit["explain"]["arms"]
        assert client.delete(f"/v1/memories/{id}", params={"erase": "true", "wait": "indexed"}).status_code == 200
        assert client.get(f"/v1/memories/{id}").status_code == 404
        asked = {"query": "puppy Rex", "namespace": "acme/**"}
        assert client.post("/v1/recall", json=asked).json()["hits"] == []


def test_a_key_opens_its_namespaces_for_its_verbs_only(running: Running) -> None:
    """403 beyond them; a name that only begins alike is beyond."""
    reader, writer = running.key("acme/**", may=("read",)), running.key("acme/**", may=("write",))
    with running.client(reader) as reads, running.client(writer) as writes:
        for namespace, status in (("acme", 201), ("acme/b", 201), ("acme-b", 403), ("acmeb", 403), ("b", 403)):
            body = {"content": "x", "namespace": namespace}
            assert writes.post("/v1/memories", json=body, params={"dedupe": "off"}).status_code == status
            assert reads.post("/v1/memories", json=body).status_code == 403
            assert (reads.get("/v1/stats", params={"namespace": namespace}).status_code == 200) == (status == 201)
        assert writes.post("/v1/recall", json={"query": "x", "namespace": "acme"}).status_code == 403
        assert reads.post("/v1/keys", json={"namespaces": ["acme"], "verbs": ["read"]}).status_code == 403


def test_a_revoked_key_is_refused(running: Running) -> None:
    """At once when the service was asked to revoke it, within seconds when the command line did it in the store."""
    over_rest, in_the_store = running.key("acme/**", may=("read",)), running.key("acme/**", may=("read",))
    for key in (over_rest, in_the_store):
        with running.client(key) as client:
            assert client.get("/v1/stats").status_code == 200
    with running.client(running.admin) as admin:
        assert admin.delete(f"/v1/keys/{over_rest['id']}").status_code == 200
    with running.client(over_rest) as client:
        assert client.get("/v1/stats").status_code == 401
    done = running.cloud.sfm("keys", "revoke", in_the_store["id"])
    assert done.returncode == 0, done.stderr
    until = time.monotonic() + KEPT_SECONDS + 20
    with running.client(in_the_store) as client:
        while client.get("/v1/stats").status_code != 401:
            assert time.monotonic() < until
            time.sleep(0.1)


def test_the_command_line_shows_its_key_to_the_service(running: Running) -> None:
    """From a file; it lists the keys, without secrets, as the store itself does."""
    file = running.api.folder / "key"
    file.write_text(running.admin["key"])
    there = running.cloud.sfm("keys", "list", "--json", "--url", running.api.url, SFM_API_KEY_FILE=str(file))
    here = running.cloud.sfm("keys", "list", "--json")
    assert (there.returncode, here.returncode) == (0, 0), there.stderr + here.stderr
    assert json.loads(there.stdout) == json.loads(here.stdout)
    assert {item["id"] for item in json.loads(here.stdout)["items"]} >= {key["id"] for key in running.keys}


def test_a_server_that_nobody_vouches_for_is_not_spoken_to(cloud: Cloud, tmp_path: Path) -> None:
    """Neither the storage nor the index, whatever they would answer."""
    stranger = str(Authority(tmp_path).ca)
    for plugin in ("POSTGRES", "PGVECTOR"):
        done = cloud.sfm("migrate", "--check", **{f"SFM_{plugin}__SSLROOTCERT": stranger})
        assert done.returncode == 1
        assert plugin.lower() in done.stderr


def test_secrets_are_in_no_log_and_not_in_the_database(running: Running) -> None:
    """Neither those of the keys nor the servers' passwords; of a key its id and hash are kept."""
    command = [running.cloud.postgres.programs / "pg_dump", "--inserts", "-U", "postgres", "-h", "127.0.0.1"]
    target = ["-p", str(running.cloud.postgres.port), urlsplit(running.cloud.database).path[1:]]
    dumped = subprocess.run([*command, *target], capture_output=True, text=True, check=True).stdout
    logs = running.api.log + running.consumer.log
    for key in running.keys:
        secret = key["key"].rpartition("_")[2]
        assert key["id"] in dumped
        assert secret not in dumped + logs
    assert not any(password in logs for password in running.cloud.passwords)
