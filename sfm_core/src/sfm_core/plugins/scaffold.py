"""Writes a new plugin to start from: a distribution with one small backend that passes the conformance kit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import Template

from msgspec import Struct

from sfm_core.errors import ConfigError, InvalidInput
from sfm_core.plugins.checks import ALLOWED_NAME, NAME, RESERVED
from sfm_core.plugins.types import API_VERSION, Port

__all__ = ["SCAFFOLDS", "write_plugin"]

_TEMPLATES = Path(__file__).with_name("templates")


class Scaffold(Struct, frozen=True):
    """What differs from port to port.

    Attributes:
        summary: what the new backend is, in words.
        arguments: with which its class is opened.
        capabilities: members of the port's enum that it has.
        help: what its settings are about.
        setting: one field of its config with the text that documents it.
        suites: class name of a test -> the suite of the kit that it runs.
        refusals: the same for capabilities that it lacks.
    """

    summary: str
    arguments: str
    help: str
    suites: Mapping[str, str]
    refusals: Mapping[str, str]
    capabilities: tuple[str, ...] = ()
    setting: tuple[str, str] | None = None


SCAFFOLDS: Mapping[Port, Scaffold] = {
    Port.CACHE: Scaffold(
        summary="A cache",
        arguments="entries=config.entries",
        help="Bounds of the cache.",
        setting=("entries: int = 10_000", "how many values are kept."),
        suites={"Cache": "CacheSuite"},
        refusals={"NotShared": "CacheNotSharedSuite"},
    ),
    Port.EMBEDDING: Scaffold(
        summary="An embedding of texts",
        arguments="dimension=config.dimension",
        help="The shape of the vectors.",
        setting=("dimension: int = 256", "the length of every vector."),
        capabilities=("EmbeddingCapability.TEXTS",),
        suites={"Texts": "TextEmbeddingSuite"},
        refusals={"NoWords": "NoWordVectorsSuite"},
    ),
    Port.EVENTS: Scaffold(
        summary="An event bus",
        arguments="retained=config.retained",
        help="Bounds of the bus.",
        setting=("retained: int = 100_000", "how many events are held; beyond it the oldest go, delivered or not."),
        suites={"Events": "EventsSuite"},
        refusals={"NotDurable": "EventsNotDurableSuite", "NoDeadLetters": "NoDeadLettersSuite"},
    ),
    Port.VECTORS: Scaffold(
        summary="A vector index",
        arguments="space=context.space",
        help="This index has no settings.",
        capabilities=("VectorsCapability.AMONG", "VectorsCapability.EXACT", "VectorsCapability.FILTER"),
        suites={
            "Vectors": "VectorsSuite",
            "Among": "VectorsAmongSuite",
            "Filter": "VectorsFilterSuite",
            "Exact": "ExactVectorsSuite",
        },
        refusals={
            "NoFullText": "NoVectorsFullTextSuite",
            "NotDurable": "VectorsNotDurableSuite",
            "NotShared": "VectorsNotSharedSuite",
        },
    ),
}
"""The ports for which there is a small backend to start from."""


def _core_range() -> str:
    from importlib.metadata import version

    major, minor = version("sfm-core").split(".")[:2]
    return f">={major}.{minor},<{major}.{int(minor) + 1}"


def _values(name: str, port: Port) -> dict[str, str]:
    scaffold = SCAFFOLDS[port]
    kind = "".join(part.capitalize() for part in name.replace("-", "_").split("_"))
    suites = {f"Test{kind}{test}": suite for test, suite in {**scaffold.suites, **scaffold.refusals}.items()}
    setting = scaffold.setting
    documented = (
        f"{scaffold.help}\n\n    Attributes:\n        {setting[0].partition(':')[0]}: {setting[1]}\n    "
        if setting
        else ""
    )
    return {
        "name": name,
        "package": f"sfm_{name.replace('-', '_')}",
        "port": port.value,
        "Port": port.value.capitalize(),
        "PORT": port.name,
        "SLOT": port.name,
        "PREFIX": name.upper().replace("-", "_"),
        "Class": kind,
        "api": API_VERSION,
        "core": _core_range(),
        "summary": scaffold.summary,
        "arguments": scaffold.arguments,
        "capabilities": "{" + ", ".join(scaffold.capabilities) + "}" if scaffold.capabilities else "",
        "imports": port.value.capitalize()
        + (f", {port.value.capitalize()}Capability" if scaffold.capabilities else ""),
        "help": documented or scaffold.help,
        "fields": f"\n    {setting[0]}\n" if setting else "",
        "hooks": ", ".join(sorted(['"sfm_plugin_info"', f'"sfm_{port}"'])),
        "imports_of_tests": "\n".join(
            sorted(
                f"from sfm_core.testing.{module} import {', '.join(sorted(names.values()))}"
                for module, names in ((port.value, scaffold.suites), ("refusals", scaffold.refusals))
            )
        ),
        "classes": "".join(f"\n\n\nclass {test}({suite}):\n    spec = SPEC" for test, suite in suites.items()),
    }


def write_plugin(folder: Path, name: str, port: Port) -> list[Path]:
    """Write a new distribution `sfm-plugin-<name>` with a backend of `port` into `folder`, and return its files.

    What is written is typed and formatted, can be installed, and passes the conformance kit.

    Args:
        folder: where to; made when it does not exist.
        name: the plugin's name.
        port: one of `SCAFFOLDS`.

    Raises:
        InvalidInput: the name cannot be a plugin's, or there is nothing to start from for the port.
        ConfigError: the folder holds something, or cannot be written to; nothing was overwritten.
    """
    if not NAME.fullmatch(name) or name in RESERVED:
        raise InvalidInput.of("name", name, ALLOWED_NAME)
    if port not in SCAFFOLDS:
        raise InvalidInput.of("port", str(port), ", ".join(SCAFFOLDS))
    values = _values(name, Port(port))
    package = Path("src", values["package"])
    files = {
        Path("pyproject.toml"): "pyproject.toml",
        Path("README.md"): "README.md",
        package / "__init__.py": "__init__.py",
        package / "py.typed": None,
        package / "plugin.py": "plugin.py",
        package / "config.py": "config.py",
        package / f"{port}.py": f"{port}.py",
        Path("tests", "test_conformance.py"): "test_conformance.py",
    }
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise ConfigError(f"{folder}: holds something already, allowed: a new or empty folder")
        for path, template in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(_filled(template, values), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written to ({error.strerror})") from error
    return [folder / path for path in files]


def _filled(template: str | None, values: Mapping[str, str]) -> str:
    if template is None:
        return ""
    return Template((_TEMPLATES / f"{template}.tmpl").read_text(encoding="utf-8")).substitute(values)
