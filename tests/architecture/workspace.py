"""The workspace as data: its distributions, their metadata, their modules and what these import."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

IMPORT_NAMES = {
    "grpcio": "grpc",
    "pystemmer": "Stemmer",
    "qdrant-edge-py": "qdrant_edge",
    "dependency-injector": "dependency_injector",
    "pytest-asyncio": "pytest_asyncio",
}
NAMESPACES = {"opentelemetry-api": "opentelemetry", "opentelemetry-sdk": "opentelemetry"}


def normal(name: str) -> str:
    """Return a distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required(requirement: str) -> str:
    """Return the distribution that a requirement names."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return normal(match.group())


@dataclass(frozen=True)
class Import:
    """One absolute import: the dotted name, and whether it happens when the module is imported."""

    name: str
    line: int
    at_import: bool

    @property
    def top(self) -> str:
        """Return the top-level package."""
        return self.name.split(".")[0]


@dataclass(frozen=True)
class Module:
    """A source file of a distribution."""

    path: Path

    @property
    def where(self) -> str:
        """Return the path as the reader of a failure wants it."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def dotted(self) -> str:
        """Return the module's dotted name below `src/`."""
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[parts.index("src") + 1 :]).removesuffix(".__init__")

    @cached_property
    def text(self) -> str:
        """Return the source."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """Return the syntax tree."""
        return ast.parse(self.text, filename=self.where)

    @cached_property
    def imports(self) -> list[Import]:
        """Return every import, those inside functions and under TYPE_CHECKING included."""
        return list(_imports(self.tree, at_import=True))

    def functions(self) -> Iterator[tuple[str, int]]:
        """Yield every function's qualified name and its lines without decorators and docstring."""
        yield from _functions(self.tree, "")


def _imports(node: ast.AST, *, at_import: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, at_import) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield Import("." * child.level + (child.module or ""), child.lineno, at_import)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _imports(child, at_import=False)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, at_import=at_import and not inside)


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, int]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{child.name}", _length(child)
            yield from _functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
        else:
            yield from _functions(child, prefix)


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


@dataclass(frozen=True)
class Distribution:
    """A folder with a `pyproject.toml`."""

    folder: Path

    @cached_property
    def pyproject(self) -> dict[str, Any]:
        """Return the parsed `pyproject.toml`."""
        return tomllib.loads((self.folder / "pyproject.toml").read_text(encoding="utf-8"))

    @property
    def project(self) -> dict[str, Any]:
        """Return the `[project]` table."""
        table: dict[str, Any] = self.pyproject["project"]
        return table

    @property
    def name(self) -> str:
        """Return the distribution's name."""
        return str(self.project["name"])

    @property
    def is_plugin(self) -> bool:
        """Tell whether the folder is one of `plugins/`."""
        return self.folder.parent.name == "plugins"

    @property
    def package(self) -> str:
        """Return the import package; the code-free root has none."""
        return f"sfm_{self.folder.name}" if self.is_plugin else self.folder.name

    @property
    def requirements(self) -> list[str]:
        """Return what is always installed with it."""
        return list(self.project.get("dependencies", []))

    @property
    def all_requirements(self) -> list[str]:
        """Return the requirements of all extras and dependency groups as well."""
        groups = [*self.project.get("optional-dependencies", {}).values()]
        groups += self.pyproject.get("dependency-groups", {}).values()
        return self.requirements + [entry for group in groups for entry in group if isinstance(entry, str)]

    @cached_property
    def declared(self) -> frozenset[str]:
        """Return the top-level packages that its requirements bring."""
        return frozenset(import_name(required(entry)) for entry in self.requirements)

    @cached_property
    def optional(self) -> frozenset[str]:
        """Return the top-level packages that its extras bring."""
        extras = self.project.get("optional-dependencies", {}).values()
        return frozenset(import_name(required(entry)) for extra in extras for entry in extra)

    @cached_property
    def modules(self) -> tuple[Module, ...]:
        """Return its source files."""
        return tuple(Module(path) for path in sorted((self.folder / "src").rglob("*.py")))


def import_name(name: str) -> str:
    """Return the top-level package that a distribution brings."""
    if name.startswith("sfm-plugin-"):
        return f"sfm_{name.removeprefix('sfm-plugin-')}"
    return IMPORT_NAMES.get(name) or NAMESPACES.get(name) or name.replace("-", "_")


STDLIB = sys.stdlib_module_names | {"__future__"}


@cache
def distributions() -> tuple[Distribution, ...]:
    """Return the root first, then core, application and plugins."""
    plugins = sorted(file.parent for file in ROOT.glob("plugins/*/pyproject.toml"))
    return tuple(Distribution(folder) for folder in (ROOT, ROOT / "sfm_core", ROOT / "sfm_app", *plugins))


ROOT_DISTRIBUTION = distributions()[0]
PACKAGED = distributions()[1:]
CORE, APP = PACKAGED[:2]
PLUGINS = PACKAGED[2:]
