"""keys: made on the store itself or over a running service, which then asks for them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
EVERYTHING = ("--namespace", "**", "--verb", "read", "--verb", "write", "--verb", "forget", "--verb", "admin")


def make(run: Run, *arguments: object) -> Any:
    """Make a key and return its document."""
    done = run("--json", *arguments)
    assert (done.code, done.err) == (0, "")
    return done.json


def test_a_key_is_made_listed_and_revoked_on_the_store_itself(run: Run, data_dir: Path) -> None:
    """As JSON and as text; the key is in the first answer only."""
    here = ("--data-dir", data_dir)
    made = make(
        run, *here, "keys", "create", "--name", "ops", "--namespace", "a/**", "--namespace", "b", "--verb", "read"
    )
    assert {name: made[name] for name in ("name", "namespaces", "verbs", "expires_at", "revoked_at")} == {
        "name": "ops",
        "namespaces": ["a/**", "b"],
        "verbs": ["read"],
        "expires_at": None,
        "revoked_at": None,
    }
    text = run(*here, "keys", "create", *EVERYTHING).out
    assert "never shown again" in text
    listed = run(*here, "keys", "list")
    assert next(line.split()[0] for line in listed.out.splitlines()[1:]) == made["id"]
    assert "a/**, b" in listed.out
    assert run(*here, "keys", "revoke", made["id"]).out == f"revoked {made['id']}\n"
    items = make(run, *here, "keys", "list")["items"]
    assert [item["revoked_at"] is None for item in items] == [False, True]
    stored = b"".join(path.read_bytes() for path in data_dir.rglob("*") if path.is_file())
    for shown in (listed.out, json.dumps(items), stored.decode("latin-1")):
        assert made["key"].rpartition("_")[2] not in shown


def test_a_key_expires_when_it_is_told_to(run: Run, data_dir: Path) -> None:
    """At a time, or in so many days; not both."""
    create = ("--data-dir", data_dir, "keys", "create", "--namespace", "a", "--verb", "read")
    assert make(run, *create, "--expires-at", "2999-01-01")["expires_at"] == "2999-01-01T00:00:00Z"
    found = datetime.fromisoformat(make(run, *create, "--expires-in", "1.5")["expires_at"])
    assert timedelta(0) <= datetime.now(UTC) + timedelta(days=1.5) - found < timedelta(hours=1)
    for wrong in (("--expires-at", "2999-01-01", "--expires-in", "1"), ("--expires-in", "0"), ("--expires-in", "1e12")):
        assert run(*create, *wrong).code == 2
    assert run(*create, "--expires-at", "2001-01-01").code == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("create", "--verb", "read"), 2, "--namespace"),
        (("create", "--namespace", "a"), 2, "--verb"),
        (("create", "--namespace", "a", "--verb", "own"), 2, "own"),
        (("create", "--namespace", "a/*", "--verb", "read"), 1, "namespaces.0"),
        (("revoke", "x"), 1, "id: got 'x'"),
        (("revoke", "00000000-0000-7000-8000-000000000000"), 1, "no API key"),
    ],
)
def test_what_is_wrong_is_named(run: Run, data_dir: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    """Nothing is made."""
    done = run("--data-dir", data_dir, "keys", *arguments)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert make(run, "--data-dir", data_dir, "keys", "list")["items"] == []


def test_a_running_service_asks_the_command_line_for_its_key(
    run: Run, empty_service_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """From the environment or a file; without one it is told how; the key is in no output and no log."""
    caplog.set_level(logging.DEBUG)
    there = ("--url", empty_service_url)
    assert run(*there, "remember", "x", "--namespace", "a").code == 0
    admin = make(run, *there, "keys", "create", *EVERYTHING)
    refused = run(*there, "list", "--namespace", "a")
    assert (refused.code, refused.out) == (1, "")
    assert "SFM_API_KEY" in refused.err
    monkeypatch.setenv("SFM_API_KEY", admin["key"])
    reader = make(run, *there, "keys", "create", "--namespace", "a", "--verb", "read")
    outputs = [run(*there, *more) for more in (("list", "--namespace", "a"), ("doctor",), ("keys", "list"), ("stats",))]
    assert {done.code for done in outputs} == {0}
    monkeypatch.delenv("SFM_API_KEY")
    file = tmp_path / "key"
    file.write_text(reader["key"] + "\n")
    monkeypatch.setenv("SFM_API_KEY_FILE", str(file))
    assert run(*there, "list", "--namespace", "a").code == 0
    outputs += [run(*there, *more) for more in (("remember", "y", "--namespace", "a"), ("keys", "list"), ("list",))]
    assert {done.code for done in outputs[-3:]} == {1}
    assert all("Forbidden" not in done.out for done in outputs)
    told = "".join(done.out + done.err for done in outputs) + caplog.text
    assert not any(key["key"].rpartition("_")[2] in told for key in (admin, reader))


def test_the_doctor_says_what_to_do_without_a_key(run: Run, empty_service_url: str) -> None:
    """The service is there; it is the key that is missing."""
    make(run, "--url", empty_service_url, "keys", "create", *EVERYTHING)
    done = run("--url", empty_service_url, "doctor")
    assert done.code == 1
    assert "sfm keys create" in done.out


@pytest.mark.parametrize("value", ["sfm_x\r\nX-Evil: 1", "sfm x", "schlüssel"])
def test_what_cannot_be_a_key_is_refused_and_not_shown(
    run: Run, service_url: str, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """Before anything is sent."""
    monkeypatch.setenv("SFM_API_KEY", value)
    done = run("--url", service_url, "stats")
    assert done.code == 1
    assert "SFM_API_KEY" in done.err
    assert value not in done.err
