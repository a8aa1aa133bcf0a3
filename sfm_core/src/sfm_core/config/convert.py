"""From the text of a variable to the type of a field, with errors that name variable, what came and what is allowed."""

from __future__ import annotations

import math
import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from sfm_core.config.env import Environment
from sfm_core.config.secret import Secret
from sfm_core.errors import ConfigError, shown

__all__ = ["allowed", "convert", "nearest", "read_field", "refuse"]

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_LISTS = frozenset({tuple, list, set, frozenset, Sequence})
_NAMES = {
    int: "an integer",
    float: "a number",
    str: "a text",
    Path: "a path",
    Secret: "a text, kept secret",
    type(None): "nothing",
}
_BOUNDS = {
    "ge": "at least {}",
    "gt": "above {}",
    "le": "at most {}",
    "lt": "below {}",
    "min_length": "length at least {}",
    "max_length": "length at most {}",
    "pattern": "matching {}",
    "multiple_of": "a multiple of {}",
}


def _members(kind: Any) -> tuple[Any, ...]:
    """Return the members of a union, without annotations; a type that is none is its own only member."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, types.UnionType):
        return tuple(member for part in get_args(kind) for member in _members(part))
    return (kind,)


def allowed(kind: Any) -> str:
    """Say in words what a field of type `kind` takes."""
    if get_origin(kind) is Annotated:
        bounds = [
            text.format(getattr(meta, name))
            for meta in kind.__metadata__
            for name, text in _BOUNDS.items()
            if getattr(meta, name, None) is not None
        ]
        return ", ".join([allowed(get_args(kind)[0]), *bounds])
    parts = _members(kind)
    if len(parts) > 1:
        return " or ".join(allowed(part) for part in get_args(kind) if part is not type(None))
    if kind is bool:
        return "true or false"
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(value) for value in get_args(kind))
    if isinstance(kind, type) and hasattr(kind, "__members__"):
        return "one of " + ", ".join(str(member.value) for member in kind.__members__.values())
    if (get_origin(kind) or kind) is dict:
        return "name=value pairs with commas between, each name once"
    if (get_origin(kind) or kind) in _LISTS:
        return "values with commas between"
    return _NAMES.get(kind, f"a {getattr(kind, '__name__', kind)}")


def _hook(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value).expanduser()
    raise NotImplementedError


def _prepared(text: str, members: Sequence[Any]) -> object:
    """Return the text, or what msgspec takes for a truth value, a list or a mapping in its place."""
    if bool in members and text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    origins = {get_origin(member) or member for member in members}
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if dict in origins and all("=" in part for part in parts):
        pairs = {key.strip(): value.strip() for key, _, value in (part.partition("=") for part in parts)}
        return pairs if len(pairs) == len(parts) else text
    return parts if origins & _LISTS else text


def convert(variable: str, text: str, kind: Any) -> Any:
    """Return `text` as a value of `kind`: texts, numbers, truth values, enums, literals, paths, lists
    (`a,b`) and mappings (`a=b,c=d`) of those.

    Raises:
        ConfigError: it cannot be one; names variable, what came and what is allowed.
    """
    members = _members(kind)
    if text == "null" and str in members:
        return text
    refused = f"{variable}: got {shown(text)}, allowed: {allowed(kind)}"
    try:
        value = msgspec.convert(_prepared(text, members), kind, strict=False, dec_hook=_hook)
    except msgspec.ValidationError as error:
        raise ConfigError(refused) from error
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(refused)
    return value


def read_field(environment: Environment, variable: str, kind: Any, *, from_file: bool = False) -> Any:
    """Return the value of `variable` for a field of type `kind`, or `msgspec.UNSET` when it is not set.

    Args:
        environment: where to look.
        variable: the name.
        kind: the field's type; for `Secret` the variable `<variable>_FILE` may name a file instead.
        from_file: take `<variable>_FILE` for other types too.

    Raises:
        ConfigError: the value cannot be used; what came is told unless it is secret.
    """
    is_secret = Secret in _members(kind)
    if is_secret or from_file:
        secret = environment.secret(variable)
        if secret is None:
            return msgspec.UNSET
        return secret if is_secret else convert(variable, secret.reveal(), kind)
    text = environment.get(variable)
    return msgspec.UNSET if text is None else convert(variable, text, kind)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?` for the known name that is most like `name`, or nothing."""
    # Not needed unless something is wrong, and not free to import.
    from difflib import get_close_matches

    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def refuse(problems: Sequence[str]) -> None:
    """Raise one `ConfigError` for all `problems`; nothing happens when there are none."""
    if len(problems) == 1:
        raise ConfigError(problems[0])
    if problems:
        raise ConfigError("\n".join([f"{len(problems)} settings cannot be used:", *(f"- {text}" for text in problems)]))
