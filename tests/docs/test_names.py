"""Whatever the code offers is named in the docs: hooks, settings, errors, capabilities, routes, ports, methods."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import msgspec
import pytest

from sfm_app.observability.metrics import GAUGES, Metrics
from sfm_core import errors
from sfm_core.config.modes import MODES
from sfm_core.config.settings import SETTINGS
from sfm_core.memory import AgentMemory
from sfm_core.model.memory import Memory
from sfm_core.plugins import specs
from sfm_core.plugins.contracts import CAPABILITIES
from sfm_core.plugins.host import PluginHost

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def read(name: str) -> str:
    """Return a page."""
    return (DOCS / name).read_text(encoding="utf-8")


def test_every_hook_is_described() -> None:
    """A plugin author finds every hook on the page about plugins."""
    hooks = [name for name in vars(specs) if name.startswith("sfm_")]
    assert len(hooks) == 11
    assert [name for name in hooks if f"`{name}`" not in read("plugins.md")] == []


def test_every_capability_is_described_with_its_port() -> None:
    """Every member of every capability enum has its row."""
    page = read("plugins.md")
    missing = [
        f"{port}: {member.name}"
        for port, members in CAPABILITIES.items()
        for member in members
        if f"| {port} | `{member.name}` |" not in page
    ]
    assert missing == []


def test_every_setting_has_its_row_with_default() -> None:
    """The table of the configuration page holds every variable with its default."""
    page = read("CONFIGURATION.md")
    missing = [
        s.env for s in SETTINGS if not re.search(rf"^\| `{re.escape(s.env)}` \| {re.escape(s.default)} \|", page, re.M)
    ]
    assert missing == []


@pytest.mark.parametrize(
    "plugin", ["inmemory", "kafka", "minilm", "nearwords", "pgvector", "postgres", "qdrant", "sqlite"]
)
def test_every_setting_of_a_plugin_is_described(plugin: str) -> None:
    """Each field of a backend's configuration is named as its variable."""
    page = read("CONFIGURATION.md")
    registry = PluginHost().load([plugin])
    fields = {field.name for spec in registry.specs(plugin) for field in msgspec.structs.fields(spec.config)}
    missing = [f for f in sorted(fields) if f"`SFM_{plugin.upper()}__{f.upper()}`" not in page]
    assert missing == []


def test_every_metric_is_described_in_its_own_words() -> None:
    """The table of metrics has each with what its HELP line says."""
    page = read("CONFIGURATION.md")
    metrics = Metrics("1")
    metrics.observe("GET", "/", 200, 0.1)
    names = {line.split()[2] for line in metrics.exposition().splitlines() if line.startswith("# HELP")} | set(GAUGES)
    assert len(names) > 20
    assert [name for name in sorted(names) if f"| `{name}` | " not in page] == []


def test_every_mode_is_described() -> None:
    """Each mode stands in the table."""
    assert [mode for mode in MODES if f"| `{mode}` |" not in read("ARCHITECTURE.md")] == []


def test_every_error_is_described() -> None:
    """Each class of the error tree stands in the table."""
    classes = [
        name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, errors.SfmError)
    ]
    assert [name for name in classes if f"| `{name}` |" not in read("ARCHITECTURE.md")] == []


def test_every_field_of_a_memory_is_described() -> None:
    """Each field stands on the page of concepts."""
    assert [f for f in Memory.__struct_fields__ if f"`{f}`" not in read("concepts.md")] == []


def test_every_method_of_the_facade_is_described() -> None:
    """Each public method stands on the page of the API."""
    page = read("api.md")
    methods = [name for name in vars(AgentMemory) if not name.startswith("_")]
    assert [name for name in methods if not re.search(rf"`{name}[(`]", page)] == []


def test_every_route_is_described_and_every_described_route_exists() -> None:
    """The table of routes and the committed OpenAPI document name the same routes."""
    document = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
    served = {
        f"{method.upper()} {re.sub(r'{[^}]*}', '{}', path)}"
        for path, methods in document["paths"].items()
        for method in methods
        if method in ("get", "post", "put", "patch", "delete")
    }
    rows = re.findall(r"^\| `(GET|POST|PATCH|DELETE) (/[^` ]*)`", read("api.md"), re.M)
    described = {f"{method} {re.sub(r'{[^}]*}', '{}', path)}" for method, path in rows}
    undocumented_by_nature = {"GET /schema/openapi.json", "GET /schema", "GET /metrics", "GET /healthz", "GET /readyz"}
    assert served - described == set()
    assert described - served <= undocumented_by_nature


def test_every_link_between_pages_leads_somewhere() -> None:
    """Relative links name a file that exists."""
    pages = [*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []
