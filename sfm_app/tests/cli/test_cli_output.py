"""What people see: one assertion for each kind of answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
A, B = "018f0000-0000-7000-8000-00000000000a", "018f0000-0000-7000-8000-00000000000b"


@pytest.fixture
def sfm_here(run: Run, data_dir: Path) -> Callable[..., str]:
    """Return what runs a command on a store of two linked memories and returns what it prints."""

    def sfm(*command: object) -> str:
        done = run("--data-dir", data_dir, *command)
        assert (done.code, done.err) == (0, "")
        return str(done.out)

    sfm("remember", "Ada moved\nto Turin", "--id", A, "--author", "Ada", "--pinned", "--tag", "x", "--tag", "y")
    sfm("remember", "--payload", '{"tea": "ü"}', "--id", B)
    sfm("link", A, B, "--weight", 2)
    return sfm


def test_a_write_tells_outcome_id_and_version(sfm_here: Callable[..., str]) -> None:
    """One line; a deletion adds the operation that undoes it."""
    assert sfm_here("update", A, "--author", "Bob") == f"versioned {A} (version 2, sequence 4)\n"
    first, second = sfm_here("delete", B).splitlines()
    assert first.startswith(f"deleted {B} (version 2")
    assert second.startswith("operation: ")
    assert "state:" in sfm_here("operation", second.split()[1])
    assert "undone" in sfm_here("undo", second.split()[1])


def test_a_memory_is_shown_field_by_field(sfm_here: Callable[..., str]) -> None:
    """What is empty is left out; a content of several lines keeps them."""
    lines = sfm_here("get", A).splitlines()
    assert f"id:          {A}" in lines
    assert "tags:        x, y" in lines
    assert "pinned:      yes" in lines
    assert lines[-2:] == ["  Ada moved", "  to Turin"]
    assert not any(line.startswith(("thread:", "payload:")) for line in lines)
    assert 'payload:     {"tea": "ü"}' in sfm_here("get", B).splitlines()


def test_lists_are_tables(sfm_here: Callable[..., str]) -> None:
    """A header, a line for each, contents on one line."""
    header, *rows = sfm_here("list", "--order", "created_at").splitlines()
    assert header.split() == ["ID", "NAMESPACE", "KIND", "OCCURRED", "AUTHOR", "CONTENT"]
    assert [row.split()[0] for row in rows] == [A, B]
    assert rows[0].endswith("Ada  Ada moved to Turin".replace("  ", "     "))
    assert rows[1].endswith('{"tea": "ü"}')
    assert sfm_here("list", "--namespace", "empty") == "(none)\n"
    assert sfm_here("list", "--limit", 1).splitlines()[-1].startswith("more: --cursor ")
    assert sfm_here("history", A).splitlines()[1].startswith("1 ")


def test_recall_shows_scores_and_reasons(sfm_here: Callable[..., str]) -> None:
    """The best first; reasons stand below their hit."""
    header, hit, *reasons = sfm_here("recall", "Who moved to Turin?", "--explain", "--k", 1).splitlines()
    assert header.split() == ["SCORE", "ID", "OCCURRED", "AUTHOR", "CONTENT"]
    assert hit.split()[:2] == ["1.000", A]
    assert reasons[-1].startswith("  found by: ")
    assert sfm_here("recall", "anything", "--namespace", "empty") == "(none)\n"


def test_links_and_paths_are_shown(sfm_here: Callable[..., str]) -> None:
    """Depth, relation and weight; the steps of a path and their sum."""
    assert sfm_here("neighbors", A).splitlines()[1].split()[:4] == ["1", "related", "2", B]
    assert sfm_here("path", A, B).splitlines()[-1] == "cost: 2"
    assert sfm_here("unlink", A, B) == f"deleted {A} -> {B} (related, weight 2)\n"


def test_counts_and_changes_are_shown(sfm_here: Callable[..., str]) -> None:
    """By namespace, then all; one line for each change."""
    assert [line.split()[:2] for line in sfm_here("stats").splitlines()[1:3]] == [["default", "2"], ["all", "2"]]
    changes = sfm_here("changes").splitlines()
    assert [line.split()[2] for line in changes] == ["created", "created", "linked"]
    assert changes[2].endswith(f"{A} -> {B} v1")
    assert "storage" in sfm_here("capabilities")
    assert "sfm-plugin-sqlite" in sfm_here("plugins", "list")


def test_forgetting_says_what_it_would_do_and_did(sfm_here: Callable[..., str]) -> None:
    """The ids first, the operation afterwards."""
    would = sfm_here("forget", "--namespace", "default", "--policy", '{"max_importance": 1}').splitlines()
    assert would == ["would forget 1 memory of default; --yes does it", B]
    did = sfm_here("forget", "--namespace", "default", "--all", "--yes").splitlines()
    assert did[0] == "forgot 2 memories of default"
    assert did[1].startswith("operation: ")


def test_archives_are_summed_up(sfm_here: Callable[..., str], tmp_path: Path) -> None:
    """How much went out and what was new."""
    assert sfm_here("export", tmp_path / "a").startswith("exported 5 lines (")
    assert sfm_here("import", tmp_path / "a") == "imported 2 memories and 1 link: 0 added, 3 there already\n"
