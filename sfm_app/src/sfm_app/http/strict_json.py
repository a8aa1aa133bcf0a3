"""Strict JSON: what RFC 8259 leaves open is refused, so that what is stored is what was meant.

NaN, Infinity, numbers beyond a double, lone surrogates and a name that comes twice in one object are unparsable.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from sfm_core.errors import InvalidInput, Problem

__all__ = ["Unparsable", "decode"]

_DECODER = msgspec.json.Decoder()
_NAME_END = re.compile(rb'"[ \t\r\n]*:')
_TOKEN = re.compile(rb'"((?:[^"\\]|\\.)*)"|([\[{])|([\]}])', re.DOTALL)
_MOST_LEVELS = 512
_UNNAMED = "body"


class Unparsable(ValueError):
    """The text is not JSON, or means different things to different readers."""


def decode(data: bytes) -> Any:
    """Return the value that `data` stands for.

    Raises:
        Unparsable: it is no strict JSON.
        InvalidInput: it is nested deeper than any value of this API may be; names the top-level member.
    """
    try:
        value = _DECODER.decode(data)
        # Every name of an object ends in a quote and a colon, so a count that equals the names that are left proves that
        # none came twice. Texts that look alike only make the count larger; the slow reader decides then.
        if len(_NAME_END.findall(data)) != _names(value):
            json.loads(data, object_pairs_hook=_object)
    except RecursionError:
        raise InvalidInput([Problem(_deepest_member(data), "a value nested too deeply", "fewer levels")]) from None
    except msgspec.MsgspecError as error:
        raise Unparsable(str(error)) from None
    except UnicodeDecodeError:
        raise Unparsable("the text is not UTF-8") from None
    return value


def _names(value: object) -> int:
    """Return how many names the objects inside `value` have, without recursion."""
    found = 0
    rest = [value]
    while rest:
        item = rest.pop()
        if type(item) is dict:
            found += len(item)
            rest += [child for child in item.values() if type(child) in (dict, list)]
        elif type(item) is list:
            rest += [child for child in item if type(child) in (dict, list)]
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in members if names.count(name) > 1)
        raise Unparsable(f"the name {twice[:80]!r} comes more than once in one object")
    return members


def _deepest_member(data: bytes) -> str:
    """Return the name of the top-level member in which `data` is nested too deeply."""
    level = 0
    name = b""
    for token in _TOKEN.finditer(data):
        text, opens, closes = token.groups()
        if opens:
            level += 1
        elif closes:
            level -= 1
        elif level == 1 and data[token.end() : token.end() + 64].lstrip()[:1] == b":":
            name = text
        if level > _MOST_LEVELS:
            break
    return name.decode("ascii", "replace")[:80] or _UNNAMED
