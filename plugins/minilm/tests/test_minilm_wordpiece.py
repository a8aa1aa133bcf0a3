"""Our tokeniser against the one that the model was trained with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfm_core.errors import ConfigError, CorruptData
from sfm_minilm.folder import ModelFolder
from sfm_minilm.tokens import Tokeniser, read_tokeniser
from sfm_minilm.wordpiece import WordPiece

LIMIT = 32
TEXTS = (
    "",
    "   ",
    "The quick brown fox, twice!",
    "Ünïcödé naïve café ĀÉ",
    "İstanbul ΟΔΟΣ ΣΣ straße ﬁn",
    "tab\tnew\nline\r\x0bfeed\x85next\u2028para\u2029nb\u00a0sp",
    "zero\u200bwidth so\u00adft \ufffd \x00nul \ufeffbom",
    "東京タワー 한국어 ไทย हिन्दी עברית",
    "emoji 😀👩‍👩‍👧 x²+y³=z $5 €5 «quoted» \u2018it\u2019s\u2019 don't",
    "x" * 101 + " " + "y" * 100,
    "[CLS] [MASK] ##er [unused1]",
    "word " * 500,
)


@pytest.fixture(params=["made_up", "published"])
def pair(request: pytest.FixtureRequest) -> tuple[Tokeniser, Callable[[str], list[int]]]:
    """Ours and theirs, of a made-up vocabulary and of the published one."""
    theirs = pytest.importorskip("tokenizers")
    folder: Path = request.getfixturevalue(request.param)
    tokenizer = theirs.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LIMIT)
    return read_tokeniser(ModelFolder(folder, "any"), LIMIT), lambda text: list(tokenizer.encode(text).ids)


@pytest.mark.parametrize("text", [text for text in TEXTS if "[" not in text])
def test_odd_texts_give_the_same_numbers(pair: tuple[Tokeniser, Tokeniser], text: str) -> None:
    """Accents, marks, ideographs, white space and what cannot be seen."""
    ours, theirs = pair
    assert ours(text) == theirs(text)


# The other package's tables of Unicode are older than Python's: some five hundred signs of rare scripts came in between.
SETTLED = [
    st.characters(min_codepoint=low, max_codepoint=high, exclude_categories=("Cn",))
    for low, high in ((0, 0x5FF), (0x1E00, 0x2BFF), (0x3000, 0x30FF), (0xAC00, 0xAC80), (0xFB00, 0xFB06))
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.one_of(*SETTLED, st.sampled_from("abc ter-.東京ééİσς")), max_size=40))
def test_any_text_gives_the_same_numbers(pair: tuple[Tokeniser, Tokeniser], text: str) -> None:
    """Whatever is typed."""
    ours, theirs = pair
    assert ours(text) == theirs(text)


def test_special_pieces_in_a_text_are_plain_text(made_up: Path) -> None:
    """What a memory says never steers the model."""
    tokenise = read_tokeniser(ModelFolder(made_up, "any"), LIMIT)
    assert set(tokenise("[CLS] [SEP]")[1:-1]).isdisjoint({0, 2, 3})


def test_a_lone_surrogate_is_dropped(made_up: Path) -> None:
    """It stands for nothing."""
    tokenise = read_tokeniser(ModelFolder(made_up, "any"), LIMIT)
    assert tokenise("a\ud800b") == tokenise("ab")


@pytest.mark.parametrize("text", ["the " * 100_000, "x" * 1_000_000, " " * 1_000_000])
def test_a_huge_text_is_cut_to_the_limit(made_up: Path, text: str) -> None:
    """The first and the last number are those of the special pieces."""
    ids = read_tokeniser(ModelFolder(made_up, "any"), LIMIT)(text)
    assert len(ids) <= LIMIT
    assert (ids[0], ids[-1]) == (2, 3)


def test_a_vocabulary_without_special_pieces_is_corrupt_data() -> None:
    """The message names them."""
    with pytest.raises(CorruptData, match=r"lacks \[CLS\], \[SEP\] or \[UNK\]"):
        WordPiece({"[CLS]": 0, "[SEP]": 1, "a": 2}, 16)


def test_a_folder_without_tokeniser_is_a_wrong_setting(make_model: Callable[..., Path]) -> None:
    """The message names the file."""
    folder = make_model()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ConfigError, match=r"allowed: a folder with tokenizer\.json"):
        read_tokeniser(ModelFolder(folder, "any"), LIMIT)


def test_a_damaged_tokeniser_is_corrupt_data(make_model: Callable[..., Path]) -> None:
    """Bytes that are no JSON."""
    folder = make_model()
    (folder / "tokenizer.json").write_bytes(b'{"model": ')
    with pytest.raises(CorruptData, match=r"tokenizer\.json cannot be read"):
        read_tokeniser(ModelFolder(folder, "any"), LIMIT)


def test_another_kind_of_tokeniser_is_read_by_its_package(make_model: Callable[..., Path]) -> None:
    """A cased model: the numbers are those of the package."""
    pytest.importorskip("tokenizers")
    words = {"[UNK]": 0, "Tea": 1, "tea": 2, "time": 3}
    cased = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"},
    }
    tokenise = read_tokeniser(ModelFolder(make_model(**{"tokenizer.json": cased}), "any"), 3)
    assert tokenise("Tea tea time time") == [1, 2, 3]


def test_a_tokeniser_that_its_package_refuses_is_corrupt_data(make_model: Callable[..., Path]) -> None:
    """A kind that nobody knows."""
    pytest.importorskip("tokenizers")
    folder = make_model(**{"tokenizer.json": {"model": {"type": "Guess"}}})
    with pytest.raises(CorruptData, match="is not a tokeniser"):
        read_tokeniser(ModelFolder(folder, "any"), LIMIT)
