"""The description of the API is complete, valid, and the committed one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest

from sfm_app.http.openapi import document
from sfm_app.http.routes import HANDLERS
from sfm_core.model.memory import Memory, NewMemory
from sfm_core.model.query import RecallQuery

COMMITTED = Path(__file__).parents[3] / "docs" / "openapi.json"
DOCUMENT = document(HANDLERS)


def references(value: Any) -> set[str]:
    """Return everything that the document refers to."""
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(child) for child in value.values()))
    if isinstance(value, list):
        return set().union(*(references(child) for child in value))
    return set()


def test_the_committed_document_is_the_generated_one() -> None:
    """`python scripts/openapi.py` writes it anew."""
    assert msgspec.json.decode(COMMITTED.read_bytes()) == msgspec.json.decode(msgspec.json.encode(DOCUMENT))


async def test_the_served_document_is_the_generated_one(client: httpx.AsyncClient) -> None:
    """Every service describes itself."""
    assert (await client.get("/schema/openapi.json")).json() == msgspec.json.decode(msgspec.json.encode(DOCUMENT))


def test_every_reference_leads_somewhere_and_no_schema_is_left_over() -> None:
    """Nothing dangles, nothing is dead."""
    used = references(DOCUMENT)
    kinds = DOCUMENT["components"]
    known = {f"#/components/{kind}/{name}" for kind in kinds for name in kinds[kind]}
    assert used <= known
    assert {name for name in known if "/schemas/" in name} <= used


def test_every_schema_is_valid() -> None:
    """JSON Schema 2020-12, the dialect of OpenAPI 3.1."""
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_operation_says_what_it_does_and_answers() -> None:
    """Summary, tag, a unique id, a good answer, and the problems that any request can meet."""
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    ids = []
    for path, methods in DOCUMENT["paths"].items():
        for operation in methods.values():
            ids.append(operation["operationId"])
            assert operation["summary"]
            assert set(operation["tags"]) <= tags
            assert {"200", "201"} & set(operation["responses"])
            assert {"400", "422", "500"} <= set(operation["responses"])
            if path.startswith("/v1/"):
                assert {"400", "401", "403", "422", "429", "500", "501", "503"} <= set(operation["responses"])
            in_path = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert in_path == set(re.findall(r"\{(\w+)\}", path))
            assert all(p["in"] == "path" or p["description"] for p in operation["parameters"])
    assert len(ids) == len(set(ids))


def test_every_write_takes_an_idempotency_key_and_waits() -> None:
    """Routes that change memories, and only those."""
    others = {"/v1/recall", "/v1/recall/batch", "/v1/paths", "/v1/keys", "/v1/keys/{id}"}
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            names = {parameter["name"] for parameter in operation["parameters"]}
            writes = method != "get" and path not in others
            assert ("Idempotency-Key" in names) == writes, (method, path)
            assert ("wait" in names) == writes, (method, path)


@pytest.mark.parametrize(
    ("shape", "name"), [(Memory, "Memory"), (NewMemory, "NewMemory"), (RecallQuery, "RecallQuery")]
)
def test_the_schemas_have_the_fields_of_the_types(shape: Any, name: str) -> None:
    """None is forgotten in the document."""
    properties = DOCUMENT["components"]["schemas"][name]["properties"]
    assert list(properties) == list(shape.__struct_fields__)


async def test_the_browser_page_loads_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    """It works offline, and its policy forbids anything but itself and this service."""
    answer = await client.get("/schema")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//", answer.text)
    assert "@import" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
