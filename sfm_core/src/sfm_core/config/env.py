"""Where settings come from: what the caller gives, the process environment, and a `.env` file in the working directory.

The `.env` syntax is the common part of what shells and other readers take: `NAME=value` lines, an optional `export`,
comments from `#` on (after a blank, in an unquoted value), single quotes for literal text, double quotes with the escapes
`\\n`, `\\t`, `\\r`, `\\"`, `\\\\` and `\\$`; quoted values may span lines. `$` is not expanded. A name without `=` is passed
over, and of a repeated name the last counts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from sfm_core.config.secret import Secret
from sfm_core.errors import ConfigError

__all__ = ["Environment", "parse_env"]

_FILE = "_FILE"
_LINE = re.compile(
    r"""[^\S\n]*(?:export[^\S\n]+)?
    (?P<name>[A-Za-z_][\w.\-]*)[^\S\n]*
    (?:=[^\S\n]*(?P<value>'[^']*'|"(?:[^"\\]|\\.)*"|(?!['"])[^\n]*?))?
    [^\S\n]*(?:(?<=\s)\#[^\n]*)?(?:\n|\Z)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_BLANK = re.compile(r"[^\S\n]*(?:#[^\n]*)?(?:\n|\Z)")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "$": "$"}


def _unquote(value: str) -> str:
    if value.startswith("'"):
        return value[1:-1]
    if value.startswith('"'):
        return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[0]), value[1:-1])
    return value


def parse_env(text: str, origin: str = ".env") -> dict[str, str]:
    """Return the variables that the text of a `.env` file sets.

    Raises:
        ConfigError: a line that is neither blank, comment nor assignment; names `origin` and line, never what stands there.
    """
    text = text.replace("\r\n", "\n")
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        if match := _BLANK.match(text, at):
            at = match.end()
            continue
        match = _LINE.match(text, at)
        if match is None:
            line = text.count("\n", 0, at) + 1
            raise ConfigError(f"{origin}, line {line}: not understood, allowed: NAME=value, with quotes closed")
        if match["value"] is not None:
            found[match["name"]] = _unquote(match["value"])
        at = match.end()
    return found


def _read_env(path: Path) -> dict[str, str]:
    # `.env` may well be a folder: some keep their virtual environment there.
    if not path.is_file():
        return {}
    try:
        return parse_env(path.read_text(encoding="utf-8-sig"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name}: cannot be read as UTF-8 text ({type(error).__name__})") from error


def _read_secret(variable: str, path: str) -> Secret:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{variable}: the file it names cannot be read as UTF-8 text ({type(error).__name__})"
        ) from error
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ConfigError(f"{variable}: the file it names is empty")
    return Secret(text)


class Environment:
    """Variables in layers: the first layer that has a variable decides. Set to nothing, it counts as not set."""

    def __init__(self, layers: Iterable[Mapping[str, str]]) -> None:
        self._layers = [dict(layer) for layer in layers]

    @classmethod
    def read(
        cls,
        overrides: Mapping[str, str] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        dotenv: Path | None = Path(".env"),
    ) -> Environment:
        """Return the variables in force: `overrides`, then the process environment, then the file `dotenv` when present.

        Args:
            overrides: what the caller gives, by variable name.
            environ: stands in for the process environment.
            dotenv: the file to read, relative to the working directory; None for none.

        Raises:
            ConfigError: the file cannot be read or holds a line that is not understood.
        """
        return cls(
            [
                overrides or {},
                os.environ if environ is None else environ,
                _read_env(dotenv) if dotenv is not None else {},
            ]
        )

    def __iter__(self) -> Iterator[str]:
        """The names that are set, sorted, each once."""
        return iter(sorted({name for layer in self._layers for name in layer if self.get(name)}))

    def get(self, name: str) -> str | None:
        """Return the value of `name`, or None."""
        return next((layer[name] for layer in self._layers if name in layer), None) or None

    def secret(self, name: str) -> Secret | None:
        """Return the value of `name`, or the content of the file that `<name>_FILE` names, or None.

        Raises:
            ConfigError: both are set in the same place, or the file cannot be read or is empty.
        """
        file = name + _FILE
        layer = next((layer for layer in self._layers if name in layer or file in layer), {})
        value, path = layer.get(name), layer.get(file)
        if value and path:
            raise ConfigError(f"{name} and {file} are both set, allowed: one of them")
        if path:
            return _read_secret(file, path)
        return Secret(value) if value else None
