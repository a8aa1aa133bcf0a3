"""The strict reader of JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfm_app.http.strict_json import Unparsable, decode
from sfm_core.errors import InvalidInput

texts = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(['":', '"a":', "\\", '\\":', ": ", '"'])
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(values, st.sampled_from([None, 1]), st.sampled_from([(",", ":"), (", ", " : ")]), st.booleans())
def test_what_json_means_is_what_is_read(value: Any, indent: int | None, separators: Any, ascii_only: bool) -> None:
    """Whatever the spacing and escaping."""
    text = json.dumps(value, indent=indent, separators=separators, ensure_ascii=ascii_only)
    assert decode(text.encode()) == value


@settings(max_examples=200, deadline=None)
@given(
    texts,
    values,
    values,
    st.sampled_from(["", " ", "\n\t"]),
    st.sampled_from(["%s", "[%s]", '{"x": %s}', '{"\\":": [1, %s]}']),
)
def test_a_name_that_comes_twice_is_always_found(name: str, first: Any, second: Any, gap: str, around: str) -> None:
    """However deep, however spaced, whatever the values hold."""
    key = json.dumps(name)
    inner = f"{{{key}{gap}:{json.dumps(first)},{gap}{key}:{json.dumps(second)}}}"
    with pytest.raises(Unparsable, match="more than once"):
        decode((around % inner).encode() if "%" not in inner else around.replace("%s", inner).encode())


@pytest.mark.parametrize("name", ["payload", "filter"])
def test_the_member_that_is_nested_too_deeply_is_named(name: str) -> None:
    """Brackets inside texts do not count."""
    head = b'{"content": "[[[[ \\" {{{{", "%s": ' % name.encode()
    with pytest.raises(InvalidInput) as refused:
        decode(head + b"[" * 100_000)
    assert refused.value.problems[0].field == name


def test_equal_names_written_differently_are_one_name() -> None:
    """An escape does not make another name."""
    with pytest.raises(Unparsable):
        decode(b'{"a": 1, "\\u0061": 2}')
