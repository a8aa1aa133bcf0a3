"""The settings of the core and of the application: one table of variables, and the frozen Struct they fill.

Settings of plugins (`SFM_<PLUGIN>__<FIELD>`) are declared by the plugins: see `sfm_core.config.backends`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, structs

from sfm_core.config.convert import nearest, read_field, refuse
from sfm_core.config.env import Environment
from sfm_core.config.secret import Secret
from sfm_core.errors import ConfigError, InvalidInput, shown
from sfm_core.model.namespace import check_namespace
from sfm_core.services.limits import Limits

__all__ = ["PREFIX", "SETTINGS", "Setting", "Settings", "language_of", "load_settings", "override_variables"]

PREFIX = "SFM_"
_LIMITS = PREFIX + "LIMITS__"


class Settings(Struct, frozen=True, kw_only=True):
    """What the environment says, converted. A slot that is None has the backend of the mode."""

    mode: str = "development"
    eventing_enabled: bool = True
    data_dir: Path | None = None
    storage: str | None = None
    vectors: str | None = None
    cache: str | None = None
    events: str | None = None
    embedding: str | None = None
    near_words: str | None = None
    lexical: Literal["storage", "vectors"] = "storage"
    plugins: tuple[str, ...] = ()
    languages: dict[str, str] = msgspec.field(default_factory=dict)
    source: str = "urn:somafractalmemory"
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] | None = None
    require_keys: bool | None = None
    url: str | None = None
    api_key: Secret | None = None
    workers: Annotated[int, Meta(ge=1, le=1024)] | None = None
    graceful_timeout: Annotated[float, Meta(ge=0)] = 60.0
    rate_limit: Annotated[int, Meta(ge=0)] = 5000
    cache_ttl: Annotated[float, Meta(ge=0)] = 300.0
    cache_patience: Annotated[float, Meta(gt=0)] = 0.5
    consumer_group: Annotated[str, Meta(min_length=1, max_length=200)] = "sfm-projector"
    consumer_batch: Annotated[int, Meta(ge=1, le=10_000)] = 500
    consumer_attempts: Annotated[int, Meta(ge=1, le=100)] = 5
    consumer_relay: bool = True
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    otel_endpoint: str | None = None
    otel_headers: Secret | None = None
    otel_traces_exporter: Literal["otlp", "none"] = "otlp"
    otel_service_name: str = "somafractalmemory"
    limits: Limits = Limits()


class Setting(Struct, frozen=True):
    """One variable: its name, the field of `Settings` it fills (`limits.k` for a limit), its default in words, what it does.

    A secret one may come from the file that `<env>_FILE` names.
    """

    env: str
    field: str
    default: str
    help: str
    secret: bool = False


_LIMIT_HELP = {
    "body_bytes": "largest request body, in bytes",
    "content_bytes": "largest content of a memory, in bytes of UTF-8",
    "payload_bytes": "largest payload of a memory, in bytes of JSON",
    "payload_depth": "deepest nesting of a payload",
    "text_length": "longest author, thread, source, tag or relation, in characters",
    "tags": "most tags of a memory",
    "coordinate": "most numbers of a coordinate",
    "batch": "most memories in one batch",
    "recall_batch": "most queries in one batch of recalls",
    "k": "most hits of one recall",
    "page": "most items of one page",
    "filter_depth": "deepest nesting of a filter",
    "filter_tests": "most field tests of a filter",
    "query_bytes": "longest query text, in bytes of UTF-8",
    "candidates": "how many candidates each arm of a recall contributes",
    "wait_seconds": "longest wait for the projections (`wait=indexed`, `min_sequence`), in seconds",
    "undo_days": "how long a deletion can be undone, in days",
    "idempotency_hours": "how long an idempotency key is kept, in hours",
}

_SLOT_HELP = "`<plugin>`, `<plugin>:<backend>` or `none`"

SETTINGS: tuple[Setting, ...] = (
    Setting("MEMORY_MODE", "mode", "development", "the mode: development, test, evented_enterprise or cloud_managed"),
    Setting(
        "EVENTING_ENABLED",
        "eventing_enabled",
        "true",
        "false leaves the event bus out and puts indexing into the process that writes",
    ),
    Setting(
        "SFM_DATA_DIR",
        "data_dir",
        "development: somafractalmemory in the user's data directory; other modes: none",
        "the only folder where files are written",
    ),
    Setting("SFM_STORAGE", "storage", "by mode", f"the storage backend: {_SLOT_HELP} (not none)"),
    Setting(
        "SFM_VECTORS",
        "vectors",
        "by mode",
        f"the vector search backend, opened when there is an embedding: {_SLOT_HELP}",
    ),
    Setting("SFM_CACHE", "cache", "by mode", f"the cache backend: {_SLOT_HELP}"),
    Setting(
        "SFM_CACHE_TTL",
        "cache_ttl",
        "300",
        "how long copies of memories live in a shared cache, in seconds; 0 for no copies",
    ),
    Setting("SFM_CACHE_PATIENCE", "cache_patience", "0.5", "longest wait for one answer of the cache, in seconds"),
    Setting("SFM_EVENTS", "events", "by mode", f"the event bus backend: {_SLOT_HELP}"),
    Setting("SFM_EMBEDDING", "embedding", "by mode", f"what embeds texts; turns vector search on: {_SLOT_HELP}"),
    Setting("SFM_NEAR_WORDS", "near_words", "by mode", f"what finds near words for a query: {_SLOT_HELP}"),
    Setting(
        "SFM_LEXICAL",
        "lexical",
        "storage",
        "which backend finds memories by their words: `storage`, at once, or `vectors`, when they are projected",
    ),
    Setting("SFM_PLUGINS", "plugins", "none", "plugins to load besides, for their operation hooks; commas between"),
    Setting(
        "SFM_LANGUAGES",
        "languages",
        "none",
        "language of a namespace and all below it: `acme/de=german,acme/x=none`; `**` is every namespace; the longest counts",
    ),
    Setting(
        "SFM_SOURCE", "source", "urn:somafractalmemory", "names this installation as the `source` of its change events"
    ),
    Setting("SFM_HOST", "host", "127.0.0.1", "the address the service listens on"),
    Setting("SFM_PORT", "port", "9595; consumer and relay: 9596", "the port the process listens on"),
    Setting(
        "SFM_REQUIRE_KEYS",
        "require_keys",
        "cloud_managed: true; other modes: as soon as a key was made",
        "whether the service answers to API keys only; `false` for loopback addresses alone",
    ),
    Setting(
        "SFM_URL",
        "url",
        "none",
        "the running service that the command `sfm` works on, instead of opening the store itself",
    ),
    Setting(
        "SFM_API_KEY",
        "api_key",
        "none",
        "the API key that the command `sfm` shows to the service at `SFM_URL`",
        secret=True,
    ),
    Setting("UVICORN_WORKERS", "workers", "4; development and test: 1", "worker processes of the service"),
    Setting("UVICORN_TIMEOUT_GRACEFUL", "graceful_timeout", "60", "seconds that open requests get at shutdown"),
    Setting(
        "SOMA_RATE_LIMIT_MAX", "rate_limit", "5000", "requests a minute per credential and endpoint; 0 for no limit"
    ),
    Setting(
        "SFM_CONSUMER_GROUP", "consumer_group", "sfm-projector", "the consumer group that brings the index up to date"
    ),
    Setting("SFM_CONSUMER_BATCH", "consumer_batch", "500", "most events that a consumer works on at once"),
    Setting(
        "SFM_CONSUMER_ATTEMPTS",
        "consumer_attempts",
        "5",
        "how often an event that fails alone is tried before it becomes a dead letter",
    ),
    Setting(
        "SFM_CONSUMER_RELAY", "consumer_relay", "true", "whether a consumer hands the change log to the bus as well"
    ),
    Setting("SFM_LOG_LEVEL", "log_level", "info", "least level that is logged: debug, info, warning or error"),
    Setting("OTEL_EXPORTER_OTLP_ENDPOINT", "otel_endpoint", "none", "where traces go; without it nothing is sent"),
    Setting("OTEL_EXPORTER_OTLP_HEADERS", "otel_headers", "none", "headers for it, as `name=value,...`", secret=True),
    Setting("OTEL_TRACES_EXPORTER", "otel_traces_exporter", "otlp", "none switches traces off"),
    Setting("OTEL_SERVICE_NAME", "otel_service_name", "somafractalmemory", "the service's name in traces"),
    *(
        Setting(f"{_LIMITS}{name.upper()}", f"limits.{name}", str(getattr(Limits(), name)), text)
        for name, text in _LIMIT_HELP.items()
    ),
)

_BY_FIELD = {setting.field: setting.env for setting in SETTINGS}


def language_of(languages: Mapping[str, str], namespace: str) -> str | None:
    """Return the language that `languages` gives `namespace`: its own or that of the nearest namespace above, or None."""
    while namespace:
        if namespace in languages:
            return languages[namespace]
        namespace = namespace.rpartition("/")[0]
    return languages.get("**")


def override_variables(values: Mapping[Any, object]) -> dict[str, str]:
    """Return what a program gives as variables: the keys are names of variables, or of fields as in `Settings`.

    Values may be texts, numbers, truth values, paths, secrets, lists, and for `limits` a mapping or `Limits`; None leaves
    the setting to its default.

    Raises:
        ConfigError: a key that is neither, or a value of another type.
    """
    variables: dict[str, str] = {}
    for key, value in values.items():
        if key == "limits":
            variables |= override_variables({f"limits.{name}": limit for name, limit in _limits(value).items()})
            continue
        if not isinstance(key, str) or (key != key.upper() and key not in _BY_FIELD):
            raise ConfigError(f"settings: unknown setting {shown(key)}{nearest(str(key), _BY_FIELD)}")
        variables[_BY_FIELD.get(key, key)] = _text(key, value)
    return variables


def _limits(value: object) -> Mapping[str, object]:
    if isinstance(value, Limits):
        return structs.asdict(value)
    if not isinstance(value, Mapping):
        raise ConfigError(f"settings: limits: got {shown(value)}, allowed: a mapping or Limits")
    return value


def _text(key: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float | Path):
        return str(value)
    if isinstance(value, Mapping):
        return ",".join(f"{name}={part}" for name, part in value.items())
    if isinstance(value, Sequence):
        return ",".join(str(part) for part in value)
    raise ConfigError(f"settings: {key}: got {shown(value)}, allowed: a text, number, truth value, path or list")


def _fill(kind: type[Struct], environment: Environment, below: str, problems: list[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for field in structs.fields(kind):
        variable = _BY_FIELD.get(below + field.name)
        if variable is None:
            continue
        try:
            value = read_field(environment, variable, field.type)
        except ConfigError as error:
            problems.append(str(error))
            continue
        if value is not msgspec.UNSET:
            given[field.name] = value
    return given


def _is_language(name: str) -> bool:
    # Loads the stemmer: only where languages are set.
    from sfm_core.text.languages import algorithm_of

    return name == "none" or algorithm_of(name) is not None


def _check_values(settings: dict[str, Any], limits: dict[str, Any]) -> Iterator[str]:
    """Say what is wrong with values that have the right type."""
    for namespace in settings.get("languages", ()):
        try:
            check_namespace("all" if namespace == "**" else namespace)
        except InvalidInput as error:
            yield f"SFM_LANGUAGES: {error}"
    for namespace, language in settings.get("languages", {}).items():
        if not _is_language(language):
            yield (
                f"SFM_LANGUAGES: {namespace}: got {shown(language)}, allowed: a language that has a Snowball stemmer, by name "
                "or ISO 639-1 code, or none for plain words"
            )
    for name, value in limits.items():
        if value <= 0:
            yield f"{_BY_FIELD[f'limits.{name}']}: got {value}, allowed: a number above 0"


def _unknown(environment: Environment) -> Iterator[str]:
    known = {setting.env for setting in SETTINGS} | {setting.env + "_FILE" for setting in SETTINGS if setting.secret}
    for name in environment:
        ours = name.startswith(_LIMITS) or (name.startswith(PREFIX) and "__" not in name)
        if ours and name not in known:
            yield f"{name}: no such setting{nearest(name, known)}"


def load_settings(environment: Environment) -> Settings:
    """Return the settings that `environment` gives.

    Variables of plugins (`SFM_<PLUGIN>__<FIELD>`) are not looked at here.

    Raises:
        ConfigError: values that cannot be used and `SFM_` variables that no setting declares, all in one message.
    """
    problems: list[str] = []
    limits = _fill(Limits, environment, "limits.", problems)
    settings = _fill(Settings, environment, "", problems)
    problems += _check_values(settings, limits)
    problems += _unknown(environment)
    refuse(problems)
    return Settings(**settings, limits=Limits(**limits))
