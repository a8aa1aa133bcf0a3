"""The embedded store and a service answer alike, to the byte, but for times and the ids that they make."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., Any]

A, B, C = (f"018f0000-0000-7000-8000-00000000000{n}" for n in "abc")
WHEN = ("--occurred-at", "2024-05-01")
SCRIPT: list[tuple[object, ...]] = [
    (
        "remember",
        "Ada moved to Turin",
        "--id",
        A,
        "--author",
        "Ada",
        "--payload",
        '{"n": 1.5, "ü": [null, true]}',
        *WHEN,
    ),
    ("remember", "Bob likes rye bread", "--id", B, "--thread", "t", "--position", 0, "--coordinate", "1,2", *WHEN),
    ("remember", "Bob likes tea", "--id", C, "--thread", "t", "--position", 1, "--pinned", *WHEN),
    ("remember", "Bob likes tea", "--thread", "t"),
    ("remember", "Bob likes black tea", "--id", C, *WHEN),
    ("update", B, "--content", "Bob likes white bread", "--tag", "food", "--importance", 1),
    ("update", B, "--content", "Bob likes white bread"),
    ("get", A),
    ("list", "--order", "occurred_at"),
    ("list", "--coordinate", "1,2"),
    ("list", "--min", "0,0", "--max", "5,5"),
    ("history", B),
    ("recall", "Who likes bread?", "--k", 2, "--explain"),
    ("recall", "Who likes bread?", "--filter", '{"field": "nope", "op": "eq", "value": 1}'),
    ("link", A, B, "--relation", "knows", "--weight", 0.5),
    ("link", B, C),
    ("neighbors", A, "--depth", 2),
    ("path", A, C),
    ("path", C, A),
    ("unlink", B, C),
    ("unlink", B, C),
    ("restore", B, 1),
    ("forget", "--namespace", "default", "--policy", '{"max_importance": 1}'),
    ("forget", "--namespace", "default"),
    ("delete", C),
    ("get", C),
    ("delete", A, "--erase", "--if-version", 9),
    ("delete", A, "--erase"),
    ("history", A),
    ("stats",),
    ("stats", "--namespace", "default"),
    ("changes",),
    ("changes", "--after", 3, "--limit", 2),
    ("changes", "--follow", "--limit", 3),
    ("export", "-"),
]
MADE = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?Z)?"  # times, but for the days given
    r"|(?!018f0000)[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
    r'|"(took_ms|[a-z_]+)": ?\d+\.\d{4,}|[0-9a-f]{64}'
)


def played(run: Run, *target: object) -> list[tuple[object, int, str, str]]:
    """Carry out the script on a target, in JSON and for people in turns, and return what each command told."""
    told = []
    for place, command in enumerate(SCRIPT):
        for form in (
            ([], ["--json"]) if command[0] in ("get", "list", "recall", "stats") else (["--json"] * (place % 2),)
        ):
            done = run(*target, *form, *command)
            told.append((command, done.code, MADE.sub("*", done.out), MADE.sub("*", done.err)))
    return told


def test_both_targets_tell_the_same(run: Run, data_dir: Path, empty_service_url: str) -> None:
    """Every command of one script: exit code, standard output and standard error."""
    here, there = played(run, "--data-dir", data_dir), played(run, "--url", empty_service_url)
    assert [pair for pair in zip(here, there, strict=True) if pair[0] != pair[1]] == []
    assert {code for _, code, _, _ in here} == {0, 1}


def test_the_url_may_come_from_the_environment(run: Run, service_url: str, monkeypatch: Any, data_dir: Path) -> None:
    """SFM_URL chooses the service; what can only work here says that it does not go with it."""
    run("--url", service_url, "remember", "there", "--namespace", "by-environment")
    monkeypatch.setenv("SFM_URL", service_url)
    assert run("--json", "stats", "--namespace", "by-environment").json["memories"] == 1
    for command in (("reindex",), ("reconcile",), ("migrate",)):
        assert run("--data-dir", data_dir, *command).code == 2
    assert run("plugins", "check", "inmemory").code == 0
    assert not data_dir.exists()
