"""Which plugins are installed, and whether this core is the one they need: read from metadata, nothing is imported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from sfm_core.errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

__all__ = ["GROUP", "Found", "InstalledPlugin", "check_core", "find", "installed"]

GROUP = "sfm.plugins"
"""The entry point group; an entry point's name is the plugin's name, its value the plugin's module."""

_CORE = "sfm-core"


class InstalledPlugin(Struct, frozen=True):
    """A plugin that some distribution registers; whether it works is not known yet."""

    name: str
    distribution: str
    version: str
    module: str


class Found:
    """An entry point of the group and the distribution that registers it."""

    __slots__ = ("distribution", "entry")

    def __init__(self, entry: EntryPoint, distribution: Distribution) -> None:
        self.entry = entry
        self.distribution = distribution

    @property
    def info(self) -> InstalledPlugin:
        """What the metadata say; a distribution that lost them is called unknown."""
        metadata = self.distribution.metadata
        name, version = (metadata[key] if key in metadata else "unknown" for key in ("Name", "Version"))  # noqa: SIM401 (its type has no get)
        return InstalledPlugin(self.entry.name, name, version, self.entry.value)


def _scan() -> Iterator[Found]:
    # Half of the modules that a small program needs: imported only where plugins are looked for.
    from importlib.metadata import distributions

    for distribution in distributions():
        # Parsing the table of every installed distribution would take longer than loading the plugins.
        if GROUP in (distribution.read_text("entry_points.txt") or ""):
            for entry in distribution.entry_points:
                if entry.group == GROUP:
                    yield Found(entry, distribution)


def installed() -> tuple[InstalledPlugin, ...]:
    """Return every registered plugin, by name; one that is registered twice comes twice. Nothing is imported."""
    return tuple(sorted({found.info for found in _scan()}, key=lambda plugin: (plugin.name, plugin.distribution)))


def find(names: frozenset[str]) -> dict[str, list[Found]]:
    """Return who registers each of `names`; the same version of a distribution in two places on the path counts once."""
    result: dict[str, list[Found]] = {name: [] for name in names}
    for found in _scan():
        if found.entry.name in names and all(found.info != other.info for other in result[found.entry.name]):
            result[found.entry.name].append(found)
    return result


def _requirements(distribution: Distribution) -> Iterator[str]:
    for text in distribution.requires or ():
        name = text.replace("_", "-").lower()
        # The name ends where anything but a letter, digit or dash follows.
        if name.startswith(_CORE) and not name[len(_CORE) : len(_CORE) + 1].replace("-", "a").isalnum():
            yield text


def check_core(distribution: Distribution) -> None:
    """Compare what the distribution requires of the core with the core that runs.

    Raises:
        PluginError: it states no requirement, one that cannot be read, or one that this core does not meet.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        core = version(_CORE)
    except PackageNotFoundError:
        raise PluginError(f"{_CORE} has no metadata here, so that no plugin can be checked: install it") from None
    requirements = list(_requirements(distribution))
    # What a plugin of the same release states; reading it takes no parser, which is slow to import.
    if requirements == [f"{_CORE}=={core}"]:
        return
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        parsed = [Requirement(text) for text in requirements]
    except InvalidRequirement as error:
        raise PluginError(f"its requirement of {_CORE} cannot be read: {requirements}") from error
    applying = [item for item in parsed if item.marker is None or item.marker.evaluate({"extra": ""})]
    if not applying:
        raise PluginError(f"it does not say which {_CORE} it needs (no `Requires-Dist: {_CORE}` in its metadata)")
    for item in applying:
        if not item.specifier.contains(core, prereleases=True):
            raise PluginError(f"it needs {_CORE}{item.specifier}, this is {_CORE} {core}")
