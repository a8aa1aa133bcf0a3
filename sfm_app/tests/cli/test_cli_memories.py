"""The data commands on both targets: a store of one's own and a running service."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Ask = Callable[..., Any]
UNKNOWN = "01890000-0000-7000-8000-000000000000"


def test_every_field_of_a_memory_is_stored_and_read_back(ask: Ask, namespace: str) -> None:
    """All options of remember arrive, and get shows what was stored."""
    origin = ask("remember", "an earlier one", "--namespace", namespace)["memory"]["id"]
    id = "018f0000-0000-7000-8000-00000000abcd"
    receipt = ask(
        "remember", "Ada moved to Turin", "--namespace", f"{namespace}/a", "--id", id, "--kind", "semantic",
        "--payload", '{"city": "Turin", "n": [1, null]}', "--coordinate", "1,-2.5,3", "--author", "Ada", "--thread", "t",
        "--position", 7, "--importance", 0.9, "--tag", "move", "--tag", "italy", "--source", "test", "--pinned",
        "--occurred-at", "2024-05-01T10:00:00+02:00", "--valid-from", "2024-05-01", "--valid-to", "2034-05-01T00:00:00.5",
        "--expires-at", "2199-01-01", "--derived-from", origin, "--wait",
    )  # fmt: skip
    assert receipt["outcome"] == "created"
    assert receipt["indexed"] is True
    memory = ask("get", id)
    assert memory == receipt["memory"]
    assert {name: memory[name] for name in ("created_at", "updated_at")}.values() != {None}
    assert {name: value for name, value in memory.items() if name not in ("created_at", "updated_at")} == {
        "id": id,
        "namespace": f"{namespace}/a",
        "kind": "semantic",
        "content": "Ada moved to Turin",
        "payload": {"city": "Turin", "n": [1, None]},
        "coordinate": [1.0, -2.5, 3.0],
        "author": "Ada",
        "thread": "t",
        "position": 7,
        "importance": 0.9,
        "tags": ["move", "italy"],
        "source": "test",
        "pinned": True,
        "occurred_at": "2024-05-01T08:00:00Z",
        "valid_from": "2024-05-01T00:00:00Z",
        "valid_to": "2034-05-01T00:00:00.500000Z",
        "expires_at": "2199-01-01T00:00:00Z",
        "derived_from": [origin],
        "version": 1,
    }


def test_an_equal_memory_is_folded_unless_told_otherwise(ask: Ask, namespace: str) -> None:
    """A second remember of the same is a duplicate; --no-dedupe stores it again."""
    first = ask("remember", "twice", "--namespace", namespace)
    again = ask("remember", "twice", "--namespace", namespace)
    assert (again["outcome"], again["memory"]["id"]) == ("duplicate", first["memory"]["id"])
    other = ask("remember", "twice", "--namespace", namespace, "--no-dedupe")
    assert (other["outcome"], other["memory"]["id"] != first["memory"]["id"]) == ("created", True)


def test_a_repeated_idempotency_key_writes_nothing(ask: Ask, sfm: Ask, namespace: str) -> None:
    """The same key and command answers as the first time; another command with the key is refused."""
    command = (
        "remember",
        "once",
        "--no-dedupe",
        "--namespace",
        namespace,
        "--idempotency-key",
        f"key of {namespace}"[-30:].replace(" ", "-"),
    )
    first, again = ask(*command), ask(*command)
    assert again["memory"]["id"] == first["memory"]["id"]
    assert len(ask("list", "--namespace", namespace)["items"]) == 1
    refused = sfm(*command, "--author", "Ada")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("error: ")


def test_content_comes_from_a_file(ask: Ask, namespace: str, tmp_path: Path) -> None:
    """--file takes the content as it is, line feeds included."""
    file = tmp_path / "note.txt"
    file.write_text("first line\nsecond line\n", encoding="utf-8")
    assert ask("remember", "--file", file, "--namespace", namespace)["memory"]["content"] == "first line\nsecond line\n"


def test_a_payload_alone_is_enough(ask: Ask, namespace: str) -> None:
    """CONTENT may be left out when there is a payload."""
    memory = ask("remember", "--payload", '{"a": 1}', "--namespace", namespace)["memory"]
    assert (memory["content"], memory["payload"]) == (None, {"a": 1})


def test_an_update_changes_merges_and_clears(ask: Ask, namespace: str) -> None:
    """Fields are replaced, payloads merged, cleared ones empty, and the version rises by one."""
    id = ask(
        "remember", "old", "--namespace", namespace, "--author", "Ada", "--tag", "x", "--payload", '{"a": 1, "b": 2}'
    )["memory"]["id"]  # fmt: skip
    receipt = ask(
        "update", id, "--content", "new", "--payload", '{"a": null, "c": 3}', "--clear", "author", "--tag", "y",
        "--not-pinned", "--if-version", 1,
    )  # fmt: skip
    memory = receipt["memory"]
    assert (receipt["outcome"], memory["version"]) == ("versioned", 2)
    assert (memory["content"], memory["payload"]) == ("new", {"b": 2, "c": 3})
    assert (memory["author"], memory["tags"]) == (None, ["y"])


def test_a_stale_version_is_refused(ask: Ask, sfm: Ask, namespace: str) -> None:
    """--if-version guards update, restore and delete."""
    id = ask("remember", "v1", "--namespace", namespace)["memory"]["id"]
    for command in (("update", id, "--content", "v2"), ("restore", id, 1), ("delete", id)):
        refused = sfm(*command, "--if-version", 7)
        assert (refused.code, refused.out) == (1, "")
        assert "version" in refused.err
    assert ask("get", id)["version"] == 1


def test_history_shows_versions_and_restore_brings_one_back(ask: Ask, namespace: str) -> None:
    """Newest first, in pages; a restored version becomes the newest."""
    id = ask("remember", "one", "--namespace", namespace)["memory"]["id"]
    ask("update", id, "--content", "two")
    past = ask("get", id)["updated_at"]
    ask("update", id, "--content", "three")
    page = ask("history", id, "--limit", 2)
    assert [m["content"] for m in page["items"]] == ["three", "two"]
    rest = ask("history", id, "--cursor", page["next"])
    assert ([m["content"] for m in rest["items"]], rest["next"]) == (["one"], None)
    assert ask("get", id, "--as-of", past)["content"] == "two"
    restored = ask("restore", id, 1)
    assert (restored["outcome"], restored["memory"]["content"], restored["memory"]["version"]) == ("restored", "one", 4)


def test_a_list_is_filtered_ordered_and_paged(ask: Ask, namespace: str) -> None:
    """Each option of list narrows or orders it, and --all goes through every page."""
    for place, (text, kind, author) in enumerate(
        [("a", "episodic", "Ada"), ("b", "semantic", "Bob"), ("c", "episodic", "Ada")]
    ):
        ask(
            "remember", text, "--namespace", f"{namespace}/{text}", "--kind", kind, "--author", author,
            "--thread", f"t{place % 2}", "--position", place, "--tag", text, "--payload", json.dumps({"n": place}),
        )  # fmt: skip

    def listed(*options: object) -> list[str]:
        return [
            m["content"]
            for m in ask("list", "--namespace", f"{namespace}/**", "--order", "position", *options)["items"]
        ]

    assert listed() == ["a", "b", "c"]
    assert listed("--kind", "semantic") == ["b"]
    assert listed("--author", "Ada") == ["a", "c"]
    assert listed("--thread", "t1") == ["b"]
    assert listed("--tag", "c") == ["c"]
    assert listed("--filter", '{"field": "payload.n", "op": "gte", "value": 1}') == ["b", "c"]
    assert ask("list", "--namespace", f"{namespace}/a")["items"][0]["content"] == "a"
    assert listed("--as-of", "2001-01-01") == []
    page = ask("list", "--namespace", f"{namespace}/**", "--order", "-position", "--limit", 2)
    assert [m["content"] for m in page["items"]] == ["c", "b"]
    rest = ask("list", "--namespace", f"{namespace}/**", "--order", "-position", "--limit", 2, "--cursor", page["next"])
    assert ([m["content"] for m in rest["items"]], rest["next"]) == (["a"], None)
    everything = ask("list", "--namespace", f"{namespace}/**", "--order", "position", "--limit", 2, "--all")
    assert ([m["content"] for m in everything["items"]], everything["next"]) == (["a", "b", "c"], None)


def test_a_list_by_place_finds_a_point_and_a_box(ask: Ask, sfm: Ask, namespace: str) -> None:
    """--coordinate names one memory, --min and --max those between; other narrowing does not go with it."""
    for x in (1, 2, 3):
        ask("remember", f"at {x}", "--namespace", namespace, "--coordinate", f"{x},0")
    here = ("list", "--namespace", namespace)
    assert [m["content"] for m in ask(*here, "--coordinate", "2,0")["items"]] == ["at 2"]
    assert ask(*here, "--coordinate", "9,9") == {"items": [], "next": None}
    box = ask(*here, "--min", "2,-1", "--max", "3,1")
    assert [m["content"] for m in box["items"]] == ["at 2", "at 3"]
    assert sfm(*here, "--coordinate", "2,0", "--author", "Ada").code == 2
    assert sfm(*here, "--min", "2,0").code == 1


def test_recall_finds_and_explains(ask: Ask, namespace: str) -> None:
    """The best hit comes first, options narrow the answer, --explain gives reasons."""
    ask("remember", "Ada moved to Turin", "--namespace", f"{namespace}/a", "--author", "Ada", "--kind", "semantic")
    ask("remember", "Bob likes rye bread", "--namespace", f"{namespace}/b", "--author", "Bob")
    answer = ask("recall", "Where did Ada move?", "--namespace", f"{namespace}/**", "--k", 1)
    assert [hit["memory"]["content"] for hit in answer["hits"]] == ["Ada moved to Turin"]
    assert "explain" not in answer["hits"][0]
    assert answer["partial"] == []
    narrowed = ask(
        "recall", "Who likes bread?", "--namespace", f"{namespace}/**", "--kind", "episodic", "--explain",
        "--filter", '{"field": "author", "op": "eq", "value": "Bob"}', "--prefer", "recent", "--expand-links", 1,
        "--min-score", 0, "--deadline-ms", 5000, "--min-sequence", 1,
    )  # fmt: skip
    assert [hit["memory"]["author"] for hit in narrowed["hits"]] == ["Bob"]
    assert narrowed["hits"][0]["explain"]["parts"]
    assert ask("recall", "bread", "--namespace", f"{namespace}/**", "--as-of", "2001-01-01")["hits"] == []


def test_a_deleted_memory_is_hidden_and_can_be_brought_back(ask: Ask, sfm: Ask, namespace: str) -> None:
    """delete hides, operation tells how far it is, undo brings back."""
    id = ask("remember", "to be deleted", "--namespace", namespace)["memory"]["id"]
    receipt = ask("delete", id)
    assert receipt["outcome"] == "deleted"
    assert sfm("get", id).code == 1
    state = ask("operation", receipt["operation"])
    assert (state["kind"], state["state"], state["count"]) == ("delete", "done", 1)
    assert ask("undo", receipt["operation"])["state"] == "undone"
    assert ask("get", id)["content"] == "to be deleted"


def test_an_erased_memory_leaves_no_history(ask: Ask, sfm: Ask, namespace: str) -> None:
    """After --erase there is nothing to get, list or restore."""
    id = ask("remember", "to be erased", "--namespace", namespace)["memory"]["id"]
    assert ask("delete", id, "--erase")["outcome"] == "erased"
    for command in (("get", id), ("history", id), ("restore", id, 1)):
        assert sfm(*command).code == 1
    assert ask("list", "--namespace", namespace)["items"] == []


def test_forget_shows_first_and_removes_when_told(ask: Ask, namespace: str) -> None:
    """Without --yes nothing changes; with it the picked memories are gone, and undo brings them back."""
    for name, importance in (("dull", 0.1), ("vital", 0.9)):
        ask("remember", name, "--namespace", namespace, "--importance", importance)
    command = ("forget", "--namespace", namespace, "--policy", '{"max_importance": 0.5}')
    shown = ask(*command)
    assert (shown["dry_run"], shown["count"]) == (True, 1)
    assert len(ask("list", "--namespace", namespace)["items"]) == 2
    done = ask(*command, "--yes", "--wait")
    assert (done["dry_run"], done["items"]) == (False, shown["items"])
    assert [m["content"] for m in ask("list", "--namespace", namespace)["items"]] == ["vital"]
    ask("undo", done["operation"])
    assert len(ask("list", "--namespace", namespace)["items"]) == 2


def test_forget_takes_a_filter_or_all_of_a_namespace(ask: Ask, sfm: Ask, namespace: str) -> None:
    """A filter picks; --all takes that namespace and leaves those below it."""
    for name in ("a", "b"):
        ask("remember", name, "--namespace", namespace)
    ask("remember", "below", "--namespace", f"{namespace}/below")
    picked = ask("forget", "--namespace", namespace, "--filter", '{"field": "content", "op": "eq", "value": "a"}')
    assert picked["count"] == 1
    assert ask("forget", "--namespace", namespace, "--all")["count"] == 2
    done = ask("forget", "--namespace", namespace, "--all", "--erase", "--yes")
    assert (done["count"], done["dry_run"]) == (2, False)
    assert [m["content"] for m in ask("list", "--namespace", f"{namespace}/**")["items"]] == ["below"]
    assert sfm("forget", "--namespace", namespace, "--all", "--policy", "{}").code == 2
    assert sfm("forget", "--namespace", namespace).code == 1


def test_links_are_made_followed_and_removed(ask: Ask, sfm: Ask, namespace: str) -> None:
    """link, neighbors, path and unlink agree with each other."""
    a, b, c = (ask("remember", name, "--namespace", namespace)["memory"]["id"] for name in "abc")
    made = ask("link", a, b, "--relation", "next", "--weight", 2, "--metadata", '{"why": "order"}')
    assert (made["outcome"], made["link"]["weight"], made["link"]["metadata"]) == ("created", 2.0, {"why": "order"})
    assert ask("link", b, c)["link"]["relation"] == "related"
    near = ask("neighbors", a, "--depth", 2, "--direction", "out")
    assert [(item["memory"]["id"], item["depth"]) for item in near["items"]] == [(b, 1), (c, 2)]
    assert ask("neighbors", c, "--relation", "next")["items"] == []
    first = ask("neighbors", a, "--depth", 2, "--limit", 1)
    assert [item["memory"]["id"] for item in ask("neighbors", a, "--depth", 2, "--cursor", first["next"])["items"]] == [
        c
    ]
    way = ask("path", a, c)
    assert ([node["id"] for node in way["nodes"]], way["cost"]) == ([a, b, c], 3.0)
    assert ask("unlink", b, c)["outcome"] == "deleted"
    assert sfm("path", a, c).code == 1
    assert sfm("unlink", b, c).code == 1
    assert sfm("path", a, c, "--relation", "next").code == 1


def test_stats_count_by_namespace_and_in_all(ask: Ask, namespace: str) -> None:
    """One namespace or a subtree; tombstones and versions are counted apart."""
    id = ask("remember", "one", "--namespace", f"{namespace}/a")["memory"]["id"]
    ask("update", id, "--content", "two")
    ask("delete", ask("remember", "gone", "--namespace", f"{namespace}/b")["memory"]["id"])
    stats = ask("stats", "--namespace", f"{namespace}/**")
    assert (stats["namespaces"], stats["memories"], stats["deleted"]) == (2, 1, 1)
    assert [one["namespace"] for one in stats["by_namespace"]] == [f"{namespace}/a", f"{namespace}/b"]
    assert stats["indexed_sequence"] == stats["last_sequence"]
    assert ask("stats", "--namespace", f"{namespace}/a")["versions"] == 2


def test_changes_are_told_in_order_from_any_point(ask: Ask, sfm: Ask, namespace: str) -> None:
    """NDJSON with --json, a bounded number with --limit, and only what came --after."""
    receipts = [ask("remember", text, "--namespace", namespace) for text in ("a", "b", "c")]
    done = sfm("changes", "--json", "--namespace", namespace)
    assert [event["data"]["sequence"] for event in done.lines] == [receipt["sequence"] for receipt in receipts]
    assert {event["type"] for event in done.lines} == {"memory.created"}
    later = sfm("changes", "--namespace", namespace, "--json", "--after", receipts[0]["sequence"], "--limit", 1)
    assert [event["subject"] for event in later.lines] == [receipts[1]["memory"]["id"]]
    followed = sfm("changes", "--namespace", namespace, "--json", "--follow", "--limit", 3)
    assert followed.lines == done.lines


def test_an_archive_goes_out_and_comes_back_once(ask: Ask, sfm: Ask, run: Ask, namespace: str, tmp_path: Path) -> None:
    """An export holds history, tombstones and links; another store takes all of it, and a second time nothing."""
    a, b = (ask("remember", name, "--namespace", namespace)["memory"]["id"] for name in "ab")
    ask("update", a, "--content", "A")
    ask("link", a, b)
    ask("delete", ask("remember", "gone", "--namespace", namespace)["memory"]["id"])
    file = tmp_path / "archive.ndjson"
    told = ask("export", file, "--namespace", namespace)
    assert told == {"file": str(file), "lines": 6, "bytes": file.stat().st_size}
    assert len(file.read_bytes().splitlines()) == 6
    streamed = sfm("export", "--namespace", namespace, "--json")
    assert streamed.out.splitlines()[1:-1] == file.read_text().splitlines()[1:-1]

    other = ("--json", "--data-dir", tmp_path / "other")
    assert run(*other, "import", file).json == {
        "memories": 3, "links": 1, "added": 4, "skipped": 0, "sequence": 4
    }  # fmt: skip
    again = run(*other, "import", file).json
    assert (again["added"], again["skipped"]) == (0, 4)
    assert ask("import", file)["added"] == 0
    assert [m["content"] for m in run(*other, "history", a).json["items"]] == ["A", "a"]


def test_a_damaged_archive_stores_nothing(ask: Ask, sfm: Ask, namespace: str, tmp_path: Path) -> None:
    """A changed byte or a missing end is refused before anything is stored."""
    id = ask("remember", "kept", "--namespace", namespace)["memory"]["id"]
    file = tmp_path / "archive.ndjson"
    ask("export", file, "--namespace", namespace)
    whole = file.read_bytes()
    ask("delete", id, "--erase")
    for damaged in (whole.replace(b"kept", b"lost"), whole[: len(whole) // 2], b"", b"no archive\n"):
        file.write_bytes(damaged)
        refused = sfm("import", file)
        assert (refused.code, refused.out) == (1, "")
        assert refused.err.startswith("error: ")
    assert ask("list", "--namespace", namespace)["items"] == []


def test_what_is_loaded_and_can_be_done_is_told(ask: Ask) -> None:
    """plugins list names distribution and version, capabilities the plan."""
    assert "sqlite" in [plugin["name"] for plugin in ask("plugins", "list")["items"]]
    plan = ask("capabilities")
    assert (plan["mode"], plan["slots"]["storage"]["plugin"]) == ("development", "sqlite")


@pytest.mark.parametrize(
    "command",
    [
        ("get", UNKNOWN),
        ("get", "../stats"),
        ("get", ""),
        ("history", UNKNOWN),
        ("update", UNKNOWN, "--content", "x"),
        ("delete", UNKNOWN),
        ("restore", UNKNOWN, 1),
        ("neighbors", UNKNOWN),
        ("path", UNKNOWN, UNKNOWN),
        ("link", UNKNOWN, UNKNOWN),
        ("undo", UNKNOWN),
        ("operation", "x"),
        ("remember", " "),
        ("remember",),
        ("remember", "x", "--namespace", "a//b"),
        ("remember", "x", "--importance", "nan"),
        ("remember", "x", "--importance", 2),
        ("remember", "x", "--coordinate", "inf"),
        ("remember", "x", "--occurred-at", "yesterday"),
        ("remember", "x", "--payload", "[]"),
        ("remember", "x", "--id", "1"),
        ("remember", "x", "--position", -1),
        ("recall", ""),
        ("recall",),
        ("recall", "x", "--k", 0),
        ("recall", "x", "--k", 10**9),
        ("recall", "x", "--filter", '{"field": "nope", "op": "eq", "value": 1}'),
        ("recall", "x", "--namespace", "a/*"),
        ("list", "--limit", 0),
        ("list", "--cursor", "nonsense"),
        ("list", "--filter", '{"and": 1}'),
        ("stats", "--namespace", "a/*/b"),
        ("forget", "--namespace", "a b ", "--all", "--yes"),
    ],
    ids=lambda command: " ".join(map(str, command)) or "nothing",
)
def test_a_refused_value_is_one_line_and_exit_code_1(sfm: Ask, command: tuple[object, ...]) -> None:
    """Nothing on standard output, one `error:` line on standard error, no traceback."""
    done = sfm(*command)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1


def test_a_refusal_is_told_in_json_when_json_is_asked_for(sfm: Ask) -> None:
    """Standard output stays empty; standard error holds one JSON object that names field, given and allowed."""
    done = sfm("remember", "x", "--importance", 2, "--json")
    assert (done.code, done.out) == (1, "")
    error = json.loads(done.err)["error"]
    assert error["type"] == "InvalidInput"
    assert error["errors"][0]["field"] == "importance"
    assert json.loads(sfm("get", UNKNOWN, "--json").err)["error"]["type"] == "NotFound"
