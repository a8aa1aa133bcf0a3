"""Words, stems and signs of contents: what is indexed, in which scripts and languages."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfm_core.text.analysis import analyse, analyser_of
from sfm_core.text.languages import STOP_WORDS, algorithm_of
from sfm_core.text.moments import asked_share, has_duration, has_time, intent_of
from sfm_core.text.stems import Stems
from sfm_core.text.tokens import MAX_WORD, fold, words

_RUSSIAN = "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440"
_HINDI = "\u0939\u093f\u0928\u094d\u0926\u0940 \u0936\u092c\u094d\u0926"


def found(text: str) -> list[str]:
    """Return the words of a text as they are indexed."""
    return words(fold(text), singles=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", ["hello", "world"]),
        ("don't you're she'll it's I've he'd I'm", ["don", "you", "she", "it", "i", "he", "i"]),
        ("Ada\u2019s book", ["ada", "book"]),
        ("O'Brien and d'Artagnan", ["o", "brien", "and", "d", "artagnan"]),
        ("snake_case kebab-case e-mail", ["snake", "case", "kebab", "case", "e", "mail"]),
        ("3.14 in 2023", ["3", "14", "in", "2023"]),
        ("caf\u00e9 Mu\u0308ller na\u00efve", ["cafe", "muller", "naive"]),
        ("well \u2014 \u201cquoted\u201d \U0001f600 fine\u2026", ["well", "quoted", "fine"]),
        (_RUSSIAN, _RUSSIAN.lower().split()),
        (_HINDI, _HINDI.split()),
        ("\u0645\u0631\u062d\u0628\u0627", ["\u0645\u0631\u062d\u0628\u0627"]),
        ("\uff21\uff22\uff23 \ufb01ne", ["abc", "fine"]),
        ("", []),
        ("?!, --", []),
    ],
)  # fmt: skip
def test_words_are_found_in_every_script(text: str, expected: list[str]) -> None:
    """Folded words; clitics, signs and accents are dropped, marks inside words kept."""
    assert found(text) == expected


def test_scripts_without_blanks_give_characters_and_pairs() -> None:
    """A text gives both, a question the pairs, so that one character and a whole word are found in a longer run."""
    assert found("\u6c34\u66dc\u65e5") == ["\u6c34", "\u66dc", "\u65e5", "\u6c34\u66dc", "\u66dc\u65e5"]
    assert words("\u6c34\u66dc\u65e5", singles=False) == ["\u6c34\u66dc", "\u66dc\u65e5"]
    assert words("\u6c34", singles=False) == ["\u6c34"]
    assert found("Python\u5165\u9580") == ["python", "\u5165", "\u9580", "\u5165\u9580"]


def test_a_content_gives_stems_words_and_signs() -> None:
    """Stop words leave no term; words are distinct and carry their stems; all words count for the length."""
    got = analyse("The dogs were running, and the dog ran last week. Was it fun?", "Ada Lovelace")
    assert got.stems == ("dog", "run", "dog", "ran", "last", "week", "fun")
    assert got.words == (
        ("dogs", "dog"), ("running", "run"), ("dog", "dog"), ("ran", "ran"), ("last", "last"), ("week", "week"),
        ("fun", "fun"),
    )  # fmt: skip
    assert got.length == 13
    assert got.asks == 0.5
    assert got.time is True
    assert got.duration is False
    assert got.author_key == "ada lovelace"


def test_a_memory_without_content_has_no_terms() -> None:
    """Only the author is known then."""
    got = analyse(None, "Ada")
    assert (got.stems, got.words, got.length, got.author_key) == ((), (), 0, "ada")


def test_near_words_get_no_pieces_of_dense_scripts() -> None:
    """The vocabulary holds words, not pairs of characters."""
    got = analyse("\u6c34\u66dc\u65e5 Python", None)
    assert "\u6c34\u66dc" in got.stems
    assert got.words == (("python", "python"),)


def test_numbers_are_found_and_have_no_near_words() -> None:
    """They are index terms; in the vocabulary they would only be in the way, one for each memory that is numbered."""
    got = analyse("Room 1207 of area51, and ١٢", None)
    assert {"1207", "area51", "١٢"} <= set(got.stems)
    assert [word for word, _ in got.words] == ["room", "area51"]


def test_other_languages_have_stems_but_no_stop_list_and_no_times() -> None:
    """German words are stemmed by German rules, accents matter, English expressions mean nothing."""
    got = analyse("Die H\u00e4user wurden gestern yesterday gebaut", None, "de")
    assert "haus" in got.stems
    assert "die" in got.stems
    assert got.time is False
    assert analyse("Die H\u00e4user", None, "German").stems == analyse("Die H\u00e4user", None, "de").stems


def test_an_unknown_language_is_plain_words() -> None:
    """No stems, no stop list, no times; its words are searchable as they are."""
    got = analyse("The dogs yesterday", None, "klingon")
    assert got.stems == ("the", "dogs", "yesterday")
    assert got.time is False
    assert analyser_of("klingon") is analyser_of("elvish")


def test_known_languages_go_by_name_or_code() -> None:
    """ISO 639-1 codes stand for Snowball's names, case and blanks aside."""
    assert algorithm_of("EN ") == algorithm_of("english") == "english"
    assert algorithm_of("xx") is None


def test_long_words_are_cut() -> None:
    """A blob is searched by its beginning and never becomes a large term."""
    got = analyse("x" * 100_000, None)
    assert got.stems == ("x" * MAX_WORD,)
    assert analyse("x" * (MAX_WORD + 1), None).stems == got.stems


def test_remembered_stems_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache starts over when it is full."""
    monkeypatch.setattr("sfm_core.text.stems._REMEMBERED", 10)
    stems = Stems("english", STOP_WORDS)
    for i in range(100):
        assert stems[f"words{i}"] == (f"words{i}", f"words{i}")
        assert len(stems) <= 10
    assert stems["running"] == ("running", "run")
    assert stems["the"] is None


def test_stems_are_right_from_many_threads() -> None:
    """Racing threads get the same stems as one."""
    stems = Stems("english", frozenset())
    wanted = {f"{word}{i}": Stems("english", frozenset())[f"{word}{i}"] for word in ("run", "hop") for i in range(500)}
    wrong: list[str] = []

    def work() -> None:
        wrong.extend(word for word, pair in wanted.items() if stems[word] != pair)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def timed(text: str) -> bool:
    """Tell whether a text places an event in time."""
    return has_time(found(text), fold(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I saw her yesterday", True), ("two weeks ago", True), ("see you next month", True), ("in March 2023", True),
        ("it was 2021", True), ("we met on Friday", True), ("this summer I will", True), ("a few days later", True),
        ("we should go next", False), ("this is it", False), ("room 2099b", False), ("three weeks of rain", False),
        ("the later the better", False),
    ],
)  # fmt: skip
def test_expressions_of_time_are_noticed(text: str, expected: bool) -> None:
    """Days, months, years and pointers such as next month."""
    assert timed(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("it took three weeks", True), ("10 years of work", True), ("a couple of days", True), ("next week", False)],
)  # fmt: skip
def test_durations_are_noticed(text: str, expected: bool) -> None:
    """A number of hours to decades."""
    assert has_duration(found(text), fold(text)) is expected


@pytest.mark.parametrize(
    ("text", "share"),
    [("Yes.", 0.0), ("Really?", 1.0), ("Nice! And you? Fine.", 1 / 3), ("What?! No", 0.0), ("2? 3", 0.5),
     ("\u5143\u6c17\uff1f\u306f\u3044\u3002", 0.5),
     ("  Why? ", 1.0)],
)  # fmt: skip
def test_the_share_of_questions_is_counted(text: str, share: float) -> None:
    """By sentences."""
    assert asked_share(text) == pytest.approx(share)


@pytest.mark.parametrize(
    ("question", "intent"),
    [
        ("When did Ada move?", "when"), ("when was it", "when"), ("When's her birthday?", "when"),
        ("When exactly did she leave?", "when"), ("In which year did he graduate?", "when"),
        ("What date was the party?", "when"), ("After the move, when did they marry?", "when"),
        ("Do you remember when Ada moved?", "when"), ("When Ada moved to Turin", "when"),
        ("When Ada moved to Turin, what did she buy?", ""), ("What did she say when she left?", ""),
        ("How long did it take?", "long"), ("For how long was he away?", "long"), ("How many weeks was it?", "long"),
        ("What is the plan?", ""), ("How many dogs are there?", ""), ("", ""),
    ],
)  # fmt: skip
def test_a_question_tells_whether_it_asks_for_time(question: str, intent: str) -> None:
    """Asked for a moment, a duration, or neither."""
    assert intent_of(fold(question)) == intent


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60), st.sampled_from(["english", "french", "none"]))
def test_any_text_is_analysed_and_found_again(text: str, language: str) -> None:
    """No text fails, and the terms of a question are among those of an equal content."""
    analyser = analyser_of(language)
    got = analyser.analyse(text, text)
    asked = words(analyser.fold(text), singles=False)
    assert {pair[1] for word in asked if (pair := analyser.stems[word])} <= set(got.stems)
    assert all(0 < len(stem) <= MAX_WORD + 1 for stem in got.stems)
    assert 0 <= got.asks <= 1
