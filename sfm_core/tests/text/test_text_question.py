"""Names, dates and words of questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfm_core.text.analysis import analyser_of
from sfm_core.text.dates import EveryYear, Period, closeness, read_dates, windows
from sfm_core.text.names import author_key
from sfm_core.text.question import MAX_WORDS, Question, keys_of, read_question
from sfm_core.text.tokens import fold

NOW = datetime(2024, 5, 15, 12, tzinfo=UTC)  # a Wednesday


def at(year: int, month: int, day: int) -> datetime:
    """Return midnight of a day."""
    return datetime(year, month, day, tzinfo=UTC)


def day(year: int, month: int, day: int) -> Period:
    """Return the period of a day."""
    return Period(at(year, month, day), at(year, month, day) + timedelta(days=1))


MAY_2023 = Period(at(2023, 5, 1), at(2023, 6, 1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on 8 May 2023", {day(2023, 5, 8)}),
        ("on the 8th of May, 2023", {day(2023, 5, 8)}),
        ("on May 8, 2023", {day(2023, 5, 8)}),
        ("on May the 8th 2023", {day(2023, 5, 8)}),
        ("in May 2023", {MAY_2023}),
        ("in May of 2023", {MAY_2023}),
        ("Sept. 3rd 2022", {day(2022, 9, 3)}),
        ("3 Dec 2022", {day(2022, 12, 3)}),
        ("in December 2022", {Period(at(2022, 12, 1), at(2023, 1, 1))}),
        ("in May", {EveryYear(5)}),
        ("on 8 May", {EveryYear(5, 8)}),
        ("in June or July", {EveryYear(6), EveryYear(7)}),
        ("last June", {Period(at(2023, 6, 1), at(2023, 7, 1))}),
        ("last April", {Period(at(2024, 4, 1), at(2024, 5, 1))}),
        ("2023-05-08", {day(2023, 5, 8)}),
        ("2023/05/08", {day(2023, 5, 8)}),
        ("2023-05", {MAY_2023}),
        ("on 08/05/2023", {day(2023, 5, 8), day(2023, 8, 5)}),
        ("on 31.12.2022", {day(2022, 12, 31)}),
        ("in 2023", {Period(at(2023, 1, 1), at(2024, 1, 1), fading=False)}),
        ("today", {day(2024, 5, 15)}),
        ("yesterday", {day(2024, 5, 14)}),
        ("last week", {Period(at(2024, 5, 6), at(2024, 5, 13))}),
        ("this week", {Period(at(2024, 5, 13), at(2024, 5, 20))}),
        ("past week", {Period(at(2024, 5, 8), at(2024, 5, 16))}),
        ("last month", {Period(at(2024, 4, 1), at(2024, 5, 1))}),
        ("this year", {Period(at(2024, 1, 1), at(2025, 1, 1), fading=False)}),
        ("last year", {Period(at(2023, 1, 1), at(2024, 1, 1), fading=False)}),
        ("last monday", {day(2024, 5, 13)}),
        ("last wednesday", {day(2024, 5, 8)}),
        ("three days ago", {day(2024, 5, 12)}),
        ("a couple of weeks ago", {Period(at(2024, 4, 28), at(2024, 5, 5))}),
        ("6 months ago", {Period(at(2023, 11, 1), at(2023, 12, 1))}),
        ("two years ago", {Period(at(2022, 1, 1), at(2023, 1, 1), fading=False)}),
        ("in the last 3 days", {Period(at(2024, 5, 12), at(2024, 5, 16))}),
        ("May I ask what you may want?", set()),
        ("did they march in the rain", set()),
        ("on 31 February 2023", {Period(at(2023, 1, 1), at(2024, 1, 1), fading=False)}),
        ("a marvel", set()),
        ("the sum of 12/5", set()),
        ("what is the plan", set()),
        ("999 years ago", {Period(at(1025, 1, 1), at(1026, 1, 1), fading=False)}),
        ("999 months ago", {Period(at(1941, 2, 1), at(1941, 3, 1))}),
    ],
)  # fmt: skip
def test_dates_are_read_in_the_usual_forms(text: str, expected: set[object]) -> None:
    """Orders of day, month and year, ISO, numbers both ways, and what counts from now."""
    assert set(read_dates(fold(text), NOW)) == expected


def test_other_languages_know_numeric_dates_only() -> None:
    """Names of months and relative periods are English."""
    assert read_dates("yesterday, 2023-05-08", NOW, english=False) == (day(2023, 5, 8),)
    assert read_dates("last may", NOW, english=False) == ()


def test_closeness_fades_around_a_period() -> None:
    """1 inside, 0.8 just after, 0.5 just before, less with every day; years end sharply."""
    assert closeness(at(2023, 5, 31), [MAY_2023]) == 1.0
    assert closeness(at(2023, 4, 30) + timedelta(hours=12), [MAY_2023]) == pytest.approx(0.5)
    after = [closeness(at(2023, 6, 1) + timedelta(days=days), [MAY_2023]) for days in range(40)]
    assert after[0] == pytest.approx(0.8 * 2.718281828 ** (-1 / 15))
    assert after == sorted(after, reverse=True)
    assert closeness(at(2022, 12, 31), read_dates("in 2023", NOW)) == 0.0
    assert closeness(NOW, []) == 0.0


def test_a_month_without_a_year_means_every_year() -> None:
    """Also across new year: a January memory is close to December."""
    assert closeness(at(2019, 12, 24), [EveryYear(12)]) == 1.0
    assert closeness(at(2020, 1, 3), [EveryYear(12)]) > 0.6
    assert closeness(at(2023, 3, 1), [EveryYear(2, 29)]) < 0.01


def test_windows_are_exact_first_and_widened_after() -> None:
    """Months without a year give the latest ones that have begun."""
    exact, wide = windows([MAY_2023], NOW)
    assert exact == (MAY_2023.first, MAY_2023.end)
    assert wide[0] < exact[0]
    assert wide[1] > exact[1]
    firsts = [first for first, _ in windows([EveryYear(6)], NOW)]
    assert firsts[:2] == [at(2023, 6, 1), at(2022, 6, 1)]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="0123456789/-. maylstweckdgopr", max_size=30), st.datetimes(timezones=st.just(UTC)))
def test_any_text_at_any_time_gives_dates_or_none(text: str, now: datetime) -> None:
    """No overflow at the edges of the calendar."""
    dates = read_dates(text, now)
    assert 0 <= closeness(now, dates) <= 1
    assert all(first < last for first, last in windows(dates, now))


def read(text: str, known: Mapping[str, Sequence[str]] | None = None, language: str = "english") -> Question:
    """Read a question with the given known authors."""
    return read_question(text, analyser_of(language), NOW, keys_of(text), known or {})


def test_the_named_author_is_cut_and_told() -> None:
    """With the possessive, whatever the case."""
    got = read("What is ADA's favourite book, and does Ada read?", {"ada": ["Ada"]})
    assert got.authors == {"Ada"}
    assert got.text == "What is favourite book, and does read?"
    assert [word.stem for word in got.words] == ["favourit", "book", "read"]


def test_two_named_authors_are_cut_but_none_is_favoured() -> None:
    """The words of names tell nothing, and neither author is the one."""
    got = read("Did Ada meet Bob?", {"ada": ["Ada"], "bob": ["Bob"]})
    assert got.authors == frozenset()
    assert [word.word for word in got.words] == ["meet"]


def test_a_long_name_wins_over_a_short_one_inside_it() -> None:
    """Ada Lovelace is one author, not two."""
    known = {"ada": ["Ada"], "ada lovelace": ["Ada Lovelace", "ada lovelace"]}
    assert read("Where does Ada Lovelace live?", known).authors == {"Ada Lovelace", "ada lovelace"}
    assert read("Where does Ada live?", known).authors == {"Ada"}


def test_an_unknown_name_stays_a_word() -> None:
    """Only authors of the scope are names."""
    assert [word.word for word in read("Where does Ada live?").words] == ["ada", "live"]


def test_a_stop_word_is_a_name_only_with_a_capital_inside() -> None:
    """Will is a name in the middle of a sentence, not at its start."""
    known = {"will": ["Will"]}
    assert read("Where does Will live?", known).authors == {"Will"}
    assert read("Will it rain?", known).authors == frozenset()
    assert read("When will it rain?", known).authors == frozenset()


def test_a_question_of_a_name_alone_keeps_its_text() -> None:
    """There must be something to embed."""
    got = read("Ada?", {"ada": ["Ada"]})
    assert got.text == "?"
    assert got.words == ()
    assert read("Ada", {"ada": ["Ada"]}).text == "Ada"


def test_names_are_found_in_scripts_without_blanks() -> None:
    """A name inside a run of characters is cut out of it."""
    name = "\u7530\u4e2d"
    got = read(f"{name}\u3055\u3093\u306f\u3069\u3053", {author_key(name): [name]})
    assert got.authors == {name}
    assert name not in got.text


def test_author_keys_fold_case_accents_and_signs() -> None:
    """Spellings of one name have one key; other names other keys."""
    assert author_key("Ada  LOVELACE") == author_key("ada lovelace") == "ada lovelace"
    assert author_key("Jos\u00e9 O\u2019Neil") == author_key("Jose O'Neil") == "jose o neil"
    assert author_key("!?") == ""


def test_words_of_a_question_are_distinct_and_bounded() -> None:
    """A pasted page asks for its first words only."""
    assert [word.word for word in read("cat cat dogs dog").words] == ["cat", "dogs", "dog"]
    assert len(read(" ".join(f"word{i}" for i in range(5000))).words) == MAX_WORDS


def test_a_language_without_english_rules_keeps_every_word() -> None:
    """No stop list, no intent, no near words."""
    got = read("When the dogs", language="klingon")
    assert [word.word for word in got.words] == ["when", "the", "dogs"]
    assert got.intent == ""
    assert not any(word.near for word in got.words)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40), st.text(min_size=1, max_size=8))
def test_a_known_author_is_found_in_any_sentence(text: str, name: str) -> None:
    """A name of letters between blanks is always among the keys, and cutting never fails."""
    key = author_key(name)
    question = f"{text} {name} {text}"
    got = read(question, {key: [name]} if key else {})
    assert got.text or not question.strip()
