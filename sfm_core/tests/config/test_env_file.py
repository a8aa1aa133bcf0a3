"""Reading `.env` and the layers of variables."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfm_core.config.env import Environment, parse_env
from sfm_core.errors import ConfigError

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=40)


def in_double_quotes(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1", {"A": "1"}),
        ("A=1\nB=2\n", {"A": "1", "B": "2"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("  export   A = 1  ", {"A": "1"}),
        ("exported=1", {"exported": "1"}),
        ("# note\n\n   # more\nA=1 # after", {"A": "1"}),
        ("A=one two  three", {"A": "one two  three"}),
        ("A=with#hash", {"A": "with#hash"}),
        ("A=#hash", {"A": "#hash"}),
        ("A= # nothing", {"A": ""}),
        ("A=", {"A": ""}),
        ("A", {}),
        ("A=1\nA=2", {"A": "2"}),
        ("A='single $B \\n # \"'  # note", {"A": 'single $B \\n # "'}),
        ('A="tab\\tline\\nquote\\" back\\\\ dollar\\$ other\\d"', {"A": 'tab\tline\nquote" back\\ dollar$ other\\d'}),
        ('A="two\nlines"\nB=1', {"A": "two\nlines", "B": "1"}),
        ("A=it's", {"A": "it's"}),
        ("A=x=y", {"A": "x=y"}),
        ("A=$HOME ${HOME}", {"A": "$HOME ${HOME}"}),
        ("dotted.name-x=1", {"dotted.name-x": "1"}),
        ("A=\u00e9\u4e2d", {"A": "\u00e9\u4e2d"}),
    ],
)
def test_the_common_syntax_is_read(text, expected):
    """Assignments, exports, comments, quotes and escapes."""
    assert parse_env(text) == expected


@pytest.mark.parametrize("bad", ["A='open", 'A="open', "A='x'y", "=1", "1A=2", "two words=1", "A B", 'A="x" y'])
def test_a_line_that_is_not_understood_is_told_by_number_and_not_shown(bad):
    """What stands in the file may be secret."""
    with pytest.raises(ConfigError) as caught:
        parse_env(f"# first\nFINE=1\n{bad}\n", "here")
    assert str(caught.value) == "here, line 3: not understood, allowed: NAME=value, with quotes closed"


@settings(max_examples=60)
@given(st.dictionaries(NAMES, TEXTS, max_size=5))
def test_double_quoted_values_come_back_as_they_were(values):
    """Any text survives quoting, newlines and quotes included."""
    text = "\n".join(f"export {name}={in_double_quotes(value)} # note" for name, value in values.items())
    assert parse_env(text) == values


@settings(max_examples=60)
@given(st.dictionaries(NAMES, TEXTS.filter(lambda value: "'" not in value), max_size=5))
def test_single_quoted_values_come_back_as_they_were(values):
    """Nothing in single quotes means anything else."""
    assert parse_env("".join(f"{name}='{value}'\n" for name, value in values.items())) == values


@settings(max_examples=100)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    """Whatever a file holds, the answer is variables or a ConfigError."""
    try:
        assert all(isinstance(value, str) for value in parse_env(text).values())
    except ConfigError:
        pass


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_the_program_gives_wins_over_the_process_and_that_over_the_file(folder, monkeypatch):
    """Three layers, the first that has a variable decides."""
    (folder / ".env").write_text("SFM_A=file\nSFM_B=file\nSFM_C=file\n")
    monkeypatch.setenv("SFM_A", "process")
    monkeypatch.setenv("SFM_B", "process")
    environment = Environment.read({"SFM_A": "program"})
    assert [environment.get(name) for name in ("SFM_A", "SFM_B", "SFM_C", "SFM_D")] == [
        "program",
        "process",
        "file",
        None,
    ]


def test_reading_leaves_the_process_environment_alone(folder, monkeypatch):
    """The file is not exported to the process."""
    import os

    (folder / ".env").write_text("SFM_ONLY_HERE=1\n")
    Environment.read()
    assert "SFM_ONLY_HERE" not in os.environ


def test_without_a_file_there_are_just_the_variables(folder):
    """A missing `.env` is fine, and so is a folder of that name."""
    assert list(Environment.read(environ={"A": "1"})) == ["A"]
    (folder / ".env").mkdir()
    assert list(Environment.read(environ={"A": "1"})) == ["A"]


@pytest.mark.parametrize("content", [b"\xff\xfeA=1", b"A='open"])
def test_a_file_that_cannot_be_read_is_refused_by_name(folder, content):
    """A broken `.env` never counts as an empty one."""
    (folder / ".env").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^\.env"):
        Environment.read()


def test_a_byte_order_mark_is_passed_over(folder):
    """Editors on Windows leave one."""
    (folder / ".env").write_bytes(b"\xef\xbb\xbfA=1")
    assert Environment.read(environ={}).get("A") == "1"


def test_set_to_nothing_counts_as_not_set_and_hides_lower_layers():
    """`NAME=` in the process environment takes back what the file sets."""
    environment = Environment([{"A": ""}, {"A": "file", "B": ""}])
    assert environment.get("A") is None
    assert environment.get("B") is None
    assert list(environment) == []


def test_a_secret_may_come_from_a_file(tmp_path):
    """The text is the file's without its last line end."""
    (tmp_path / "key").write_text("line one\ntop secret\n")
    environment = Environment([{"KEY_FILE": str(tmp_path / "key")}])
    secret = environment.secret("KEY")
    assert secret is not None
    assert secret.reveal() == "line one\ntop secret"


def test_a_secret_given_twice_in_one_place_is_refused():
    """Which one counts must not be guessed."""
    with pytest.raises(ConfigError, match=r"^KEY and KEY_FILE are both set, allowed: one of them$"):
        Environment([{"KEY": "a", "KEY_FILE": "b"}]).secret("KEY")


def test_a_secret_of_a_higher_layer_hides_the_file_of_a_lower_one(tmp_path):
    """The real environment wins over `.env` in either form."""
    (tmp_path / "key").write_text("from file")
    path = str(tmp_path / "key")
    given_text = Environment([{"KEY": "text"}, {"KEY_FILE": path}]).secret("KEY")
    given_file = Environment([{"KEY_FILE": path}, {"KEY": "text"}]).secret("KEY")
    assert given_text is not None
    assert given_file is not None
    assert (given_text.reveal(), given_file.reveal()) == ("text", "from file")
    assert Environment([{"KEY": ""}, {"KEY_FILE": path}]).secret("KEY") is None


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff"])
def test_a_secret_file_that_is_missing_empty_or_no_text_is_refused(tmp_path, content):
    """The variable is named, the content is not told."""
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^KEY_FILE: the file it names"):
        Environment([{"KEY_FILE": str(tmp_path / "key")}]).secret("KEY")
