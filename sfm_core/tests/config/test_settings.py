"""Settings: the table, the conversion, and what is said of values and names that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from sfm_core.config.env import Environment
from sfm_core.config.paths import default_data_dir, prepare_data_dir
from sfm_core.config.secret import Secret
from sfm_core.config.settings import SETTINGS, Settings, language_of, load_settings, override_variables
from sfm_core.errors import ConfigError
from sfm_core.services.limits import Limits

WELL_KNOWN = {
    "MEMORY_MODE",
    "EVENTING_ENABLED",
    "SOMA_RATE_LIMIT_MAX",
    "UVICORN_WORKERS",
    "UVICORN_TIMEOUT_GRACEFUL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_TRACES_EXPORTER",
    "SFM_DATA_DIR",
    "SFM_HOST",
    "SFM_PORT",
    "SFM_STORAGE",
    "SFM_VECTORS",
    "SFM_CACHE",
    "SFM_EVENTS",
    "SFM_EMBEDDING",
}


def load(**variables: str) -> Settings:
    return load_settings(Environment([variables]))


def refusal(**variables: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(**variables)
    return str(caught.value)


def test_every_setting_stands_in_the_table_once_with_help_and_default():
    """The table and the Struct name the same fields."""
    fields = {field.name for field in structs.fields(Settings)} - {"limits"}
    fields |= {f"limits.{field.name}" for field in structs.fields(Limits)}
    assert sorted(setting.field for setting in SETTINGS) == sorted(fields)
    assert len({setting.env for setting in SETTINGS}) == len(SETTINGS)
    assert all(setting.help and setting.default for setting in SETTINGS)


def test_the_well_known_names_are_declared():
    """The names of the public contract that are not a plugin's."""
    assert {setting.env for setting in SETTINGS} >= WELL_KNOWN


def test_the_secret_mark_of_the_table_is_that_of_the_type():
    """What is marked secret is a Secret, and the other way round."""
    secret = {field.name for field in structs.fields(Settings) if "Secret" in str(field.type)}
    assert {setting.field for setting in SETTINGS if setting.secret} == secret


def test_the_defaults_in_words_are_the_defaults():
    """A default that is a plain value is written as it is."""
    for setting in SETTINGS:
        if "." not in setting.field:
            value = getattr(Settings(), setting.field)
            if isinstance(value, str | int | float):
                written = (
                    str(value).lower()
                    if isinstance(value, bool)
                    else f"{value:g}"
                    if isinstance(value, float)
                    else str(value)
                )
                assert setting.default == written, setting.env
        else:
            assert setting.default == str(getattr(Limits(), setting.field.removeprefix("limits."))), setting.env


def test_an_empty_environment_gives_the_defaults():
    """Nothing has to be set."""
    assert load() == Settings()


def test_every_variable_is_converted_to_the_type_of_its_field():
    """Texts become numbers, truth values, paths, lists, mappings and secrets."""
    found = load(
        MEMORY_MODE="test",
        EVENTING_ENABLED="false",
        SFM_DATA_DIR="~/here",
        SFM_STORAGE="sqlite",
        SFM_PLUGINS="a, b,",
        SFM_LANGUAGES="acme/de=german, acme/x=none,**=fr",
        SFM_PORT="1234",
        UVICORN_WORKERS="3",
        UVICORN_TIMEOUT_GRACEFUL="1.5",
        SOMA_RATE_LIMIT_MAX="7",
        OTEL_EXPORTER_OTLP_HEADERS="key=value",
        SFM_LIMITS__K="50",
        SFM_LIMITS__UNDO_DAYS="0.5",
    )
    assert found == Settings(
        mode="test",
        eventing_enabled=False,
        data_dir=Path.home() / "here",
        storage="sqlite",
        plugins=("a", "b"),
        languages={"acme/de": "german", "acme/x": "none", "**": "fr"},
        port=1234,
        workers=3,
        graceful_timeout=1.5,
        rate_limit=7,
        otel_headers=Secret("key=value"),
        limits=Limits(k=50, undo_days=0.5),
    )


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("1", True), ("YES", True), ("off", False), ("0", False), ("False", False)]
)
def test_truth_values_are_read_in_the_usual_spellings(text, value):
    """True, 1, yes and on; false, 0, no and off."""
    assert load(EVENTING_ENABLED=text).eventing_enabled is value


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("SFM_PORT", "http", "SFM_PORT: got 'http', allowed: an integer, at least 0, at most 65535"),
        ("SFM_PORT", "70000", "SFM_PORT: got '70000', allowed: an integer, at least 0, at most 65535"),
        ("SFM_PORT", "tcp://10.0.0.1:9595", "SFM_PORT: got 'tcp://10.0.0.1:9595', allowed: an integer"),
        ("UVICORN_WORKERS", "0", "UVICORN_WORKERS: got '0', allowed: an integer, at least 1, at most 1024"),
        ("UVICORN_TIMEOUT_GRACEFUL", "nan", "UVICORN_TIMEOUT_GRACEFUL: got 'nan', allowed: a number, at least 0"),
        ("UVICORN_TIMEOUT_GRACEFUL", "inf", "UVICORN_TIMEOUT_GRACEFUL: got 'inf', allowed: a number, at least 0"),
        ("EVENTING_ENABLED", "maybe", "EVENTING_ENABLED: got 'maybe', allowed: true or false"),
        ("SFM_LOG_LEVEL", "loud", "SFM_LOG_LEVEL: got 'loud', allowed: one of debug, info, warning, error"),
        ("SFM_LIMITS__K", "0", "SFM_LIMITS__K: got 0, allowed: a number above 0"),
        ("SFM_LIMITS__WAIT_SECONDS", "-1", "SFM_LIMITS__WAIT_SECONDS: got -1.0, allowed: a number above 0"),
        ("SFM_LANGUAGES", "german", "SFM_LANGUAGES: got 'german', allowed: name=value pairs with commas between"),
        (
            "SFM_LANGUAGES",
            "acme=klingon",
            "SFM_LANGUAGES: acme: got 'klingon', allowed: a language that has a Snowball stemmer",
        ),
        ("SFM_LANGUAGES", "a//b=german", "SFM_LANGUAGES: namespace: got 'a//b', allowed: a path"),
        (
            "SFM_LANGUAGES",
            "a=german,a=french",
            "SFM_LANGUAGES: got 'a=german,a=french', allowed: name=value pairs with commas between",
        ),
    ],
)
def test_a_value_that_cannot_be_used_is_told_with_what_is_allowed(name, given, message):
    """Variable, what came, what is allowed."""
    assert refusal(**{name: given}).startswith(message)


def test_a_long_value_is_shortened_in_the_message():
    """A message stays readable."""
    assert len(refusal(SFM_PORT="9" * 10_000)) < 250


def test_an_unknown_variable_is_told_with_the_nearest_name():
    """A typing mistake must not be passed over."""
    assert refusal(SFM_STORAG="sqlite") == "SFM_STORAG: no such setting; did you mean SFM_STORAGE?"
    assert refusal(SFM_LIMITS__CONTENT_BYTE="1").endswith("did you mean SFM_LIMITS__CONTENT_BYTES?")
    assert refusal(SFM_PORT_FILE="/x").startswith("SFM_PORT_FILE: no such setting")


def test_variables_of_others_are_left_alone():
    """Only names that start with SFM_ are ours to judge."""
    assert load(OTEL_METRICS_EXPORTER="none", UVICORN_RELOAD="1", MEMORY_LIMIT="3", SFM_SQLITE__ANY="1") == Settings()


def test_all_problems_are_told_in_one_message():
    """Nobody mends one setting to be told the next."""
    lines = refusal(SFM_PORT="x", EVENTING_ENABLED="y", SFM_NOTHING="z").splitlines()
    assert lines[0] == "3 settings cannot be used:"
    assert [line.split(":")[0] for line in lines[1:]] == ["- EVENTING_ENABLED", "- SFM_PORT", "- SFM_NOTHING"]


def test_a_secret_is_never_told(tmp_path):
    """Not in repr, and not when it is given twice."""
    text = "key=hunter2"
    (tmp_path / "headers").write_text(text)
    found = load(OTEL_EXPORTER_OTLP_HEADERS_FILE=str(tmp_path / "headers"))
    assert found.otel_headers == Secret(text)
    assert "hunter2" not in repr(found)
    assert "hunter2" not in refusal(OTEL_EXPORTER_OTLP_HEADERS=text, OTEL_EXPORTER_OTLP_HEADERS_FILE=str(tmp_path))


def test_a_program_overrides_by_variable_or_field_name():
    """Both kinds of key fill the same settings, plugin settings included."""
    given_values = {
        "SFM_PORT": 1,
        "data_dir": Path("/here"),
        "eventing_enabled": False,
        "plugins": ["a", "b"],
        "languages": {"acme": "german"},
        "limits": {"k": 5},
        "otel_headers": Secret("x=y"),
        "host": None,
        "SFM_SQLITE__ANYTHING": True,
    }
    variables = override_variables(given_values)
    assert variables["SFM_SQLITE__ANYTHING"] == "true"
    found = load_settings(Environment([variables, {"SFM_HOST": "0.0.0.0"}]))
    assert found == Settings(
        port=1,
        data_dir=Path("/here"),
        eventing_enabled=False,
        plugins=("a", "b"),
        languages={"acme": "german"},
        limits=Limits(k=5),
        otel_headers=Secret("x=y"),
    )


def test_limits_may_be_given_as_they_are():
    """A program that has `Limits` need not take them apart."""
    assert load_settings(Environment([override_variables({"limits": Limits(k=5)})])).limits == Limits(k=5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prot": 1}, "settings: unknown setting 'prot'; did you mean port?"),
        ({"limits": {"kk": 1}}, "settings: unknown setting 'limits.kk'"),
        ({"Port": 1}, "settings: unknown setting 'Port'"),
        ({3: 1}, "settings: unknown setting 3"),
        ({"port": object()}, "settings: port: got a object, allowed: a text, number"),
        ({"limits": 3}, "settings: limits: got 3, allowed: a mapping"),
    ],
)
def test_an_override_that_cannot_be_used_is_told(values, message):
    """Unknown names and odd types of a program are refused like those of the environment."""
    with pytest.raises(ConfigError) as caught:
        override_variables(values)
    assert str(caught.value).startswith(message)


@settings(max_examples=60)
@given(st.sampled_from(SETTINGS), st.text(max_size=20).filter(lambda text: "\0" not in text))
def test_any_value_of_any_setting_is_used_or_refused_with_its_name(setting, text):
    """There is no third way, and never another exception."""
    message = None
    try:
        load(**{setting.env: text})
    except ConfigError as error:
        message = str(error)
    assert message is None or setting.env in message


def test_the_nearest_namespace_above_decides_the_language():
    """By whole segments; `**` is for all others."""
    languages = {"acme": "german", "acme/fr": "french", "**": "english"}
    assert language_of(languages, "acme/fr/x") == "french"
    assert language_of(languages, "acme/frx") == "german"
    assert language_of(languages, "acme") == "german"
    assert language_of(languages, "acmes") == "english"
    assert language_of({}, "acme") is None


def test_the_data_directory_is_the_users_by_default(monkeypatch, tmp_path):
    """XDG_DATA_HOME where it is absolute, else ~/.local/share; the usual places elsewhere."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert default_data_dir() == tmp_path / "xdg" / "somafractalmemory"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert default_data_dir() == tmp_path / ".local" / "share" / "somafractalmemory"
    monkeypatch.setattr("sys.platform", "darwin")
    assert default_data_dir() == tmp_path / "Library" / "Application Support" / "somafractalmemory"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert default_data_dir() == tmp_path / "local" / "somafractalmemory"


def test_a_new_data_directory_belongs_to_this_user_alone(tmp_path):
    """It is made with mode 0700; one that exists keeps its own."""
    made = prepare_data_dir(tmp_path / "a" / "b")
    assert made.stat().st_mode & 0o777 == 0o700
    tmp_path.chmod(0o755)
    assert prepare_data_dir(tmp_path).stat().st_mode & 0o777 == 0o755


def test_a_data_directory_that_is_a_file_is_refused(tmp_path):
    """Nothing is overwritten."""
    (tmp_path / "file").write_text("kept")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=r"^SFM_DATA_DIR: .*file"):
            prepare_data_dir(path)
    assert (tmp_path / "file").read_text() == "kept"
