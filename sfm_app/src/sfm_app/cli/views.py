"""How each kind of answer looks to people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sfm_app.cli.tables import columns, counted, fields, moment

__all__ = [
    "answer",
    "change",
    "forgotten",
    "link_receipt",
    "memory",
    "neighbors",
    "operation",
    "page",
    "path",
    "receipt",
    "versions",
]

Json = Mapping[str, Any]


def _text(memory: Json) -> str:
    """Return what stands for a memory on one line."""
    return memory["content"] if memory["content"] is not None else json.dumps(memory["payload"], ensure_ascii=False)


def _more(cursor: object) -> str:
    return "" if cursor is None else f"\nmore: --cursor {cursor}"


def memory(document: Json) -> str:
    """All fields of a memory that are set."""
    shown = {name: value for name, value in document.items() if name not in ("content", "payload")}
    if not shown["pinned"]:
        del shown["pinned"]
    payload = json.dumps(document["payload"], ensure_ascii=False) if document["payload"] else None
    return fields({**shown, "payload": payload, "content": document["content"]})


def page(document: Json) -> str:
    """A list of memories."""
    rows = [
        (m["id"], m["namespace"], m["kind"], moment(m["occurred_at"]), m["author"], _text(m)) for m in document["items"]
    ]
    table = columns(("ID", "NAMESPACE", "KIND", "OCCURRED", "AUTHOR", "CONTENT"), rows)
    return table + _more(document.get("next"))


def versions(document: Json) -> str:
    """The history of a memory, newest first."""
    rows = [(m["version"], moment(m["updated_at"]), m["author"], _text(m)) for m in document["items"]]
    return columns(("VERSION", "WRITTEN", "AUTHOR", "CONTENT"), rows) + _more(document.get("next"))


def receipt(document: Json) -> str:
    """What a write did."""
    memory = document["memory"]
    line = f"{document['outcome']} {memory['id']} (version {memory['version']}, sequence {document['sequence']})"
    operation = document.get("operation")
    return line if operation is None else f"{line}\noperation: {operation}"


def answer(document: Json) -> str:
    """The hits of a recall, best first, each with its reasons when they were asked for."""
    hits = document["hits"]
    rows = [
        (f"{hit['score']:.3f}", m["id"], moment(m["occurred_at"]), m["author"], _text(m))
        for hit in hits
        for m in (hit["memory"],)
    ]
    lines = columns(("SCORE", "ID", "OCCURRED", "AUTHOR", "CONTENT"), rows).split("\n")
    for place in range(len(hits), 0, -1):
        if "explain" in hits[place - 1]:
            lines[place + 1 : place + 1] = _reasons(hits[place - 1]["explain"])
    if document["partial"]:
        lines.append(f"not complete, missing: {', '.join(document['partial'])}")
    return "\n".join(lines)


def _reasons(explain: Json) -> list[str]:
    parts = [f"  {p['name']}: {p['value']:.4g} x {p['weight']:.4g} = {p['added']:.4g}" for p in explain["parts"]]
    return [*parts, f"  found by: {', '.join(explain['arms'])}"]


def forgotten(document: Json) -> str:
    """What a forget removed, or would."""
    count = counted(document["count"], "memory", "memories")
    if document["dry_run"]:
        lines = [f"would forget {count} of {document['namespace']}; --yes does it", *document["items"]]
    else:
        lines = [f"forgot {count} of {document['namespace']}"]
    if "operation" in document:
        lines.append(f"operation: {document['operation']}")
    return "\n".join(lines)


def operation(document: Json) -> str:
    """How far an operation has come."""
    stores = [f"{store['store']} {store['state']}" for store in document["stores"]]
    return fields({**document, "stores": stores})


def link_receipt(document: Json) -> str:
    """What became of a link."""
    link = document["link"]
    return f"{document['outcome']} {link['source']} -> {link['target']} ({link['relation']}, weight {link['weight']:g})"


def neighbors(document: Json) -> str:
    """The memories around one, nearest first."""
    rows = [
        (
            item["depth"],
            item["link"]["relation"],
            f"{item['link']['weight']:g}",
            item["memory"]["id"],
            _text(item["memory"]),
        )
        for item in document["items"]
    ]
    return columns(("DEPTH", "RELATION", "WEIGHT", "ID", "CONTENT"), rows) + _more(document.get("next"))


def path(document: Json) -> str:
    """The memories on the way and what each step costs."""
    steps = ["", *(f"{link['relation']} {link['weight']:g}" for link in document["links"])]
    rows = [(step, node["id"], _text(node)) for step, node in zip(steps, document["nodes"], strict=True)]
    return columns(("STEP", "ID", "CONTENT"), rows) + f"\ncost: {document['cost']:g}"


def change(event: Json) -> str:
    """One change of the log on one line."""
    data = event["data"]
    target = f" -> {data['target']}" if "target" in data else ""
    what = f"{event['type'].removeprefix('memory.'):<8}"
    who = f"{data['memory_id']}{target} v{data['version']}"
    return f"{data['sequence']:>8}  {event['time']}  {what}  {data['namespace']}  {who}"
