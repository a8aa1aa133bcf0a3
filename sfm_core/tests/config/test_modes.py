"""Modes and plans: what each mode fills its slots with, and what settings change of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfm_core.config.modes import MODES, SLOTS, Indexing, Plan, Role, make_plan
from sfm_core.config.settings import Settings
from sfm_core.errors import ConfigError
from sfm_core.ports.embedding import EmbeddingCapability
from sfm_core.ports.events import EventsCapability
from sfm_core.ports.storage import StorageCapability
from sfm_core.ports.vectors import VectorsCapability


def filled(plan: Plan) -> dict[str, str]:
    return {name: slot.backend for name, slot in plan.slots.items()}


def plan(mode: str = "development", role: Role = Role.SERVICE, *, embed: bool = False, **values) -> Plan:
    return make_plan(Settings(mode=mode, **values), role, embed=embed)


SERVERS = {
    "storage": "postgres",
    "near_words": "nearwords",
    "embedding": "minilm",
    "vectors": "qdrant",
    "cache": "redis",
    "events": "kafka",
}


@pytest.mark.parametrize(
    ("mode", "slots"),
    [
        ("development", {"storage": "sqlite", "near_words": "nearwords", "cache": "inmemory", "events": "inmemory"}),
        ("test", {"storage": "inmemory", "cache": "inmemory", "events": "inmemory"}),
        ("evented_enterprise", SERVERS),
        ("cloud_managed", SERVERS),
    ],
)
def test_each_mode_fills_its_slots(mode, slots):
    """The table of modes, for a service."""
    assert filled(plan(mode)) == slots


def test_every_mode_fills_known_slots_only():
    """The table names slots of settings."""
    for mode in MODES.values():
        assert set(mode.slots) <= set(SLOTS)


def test_the_library_opens_cache_and_bus_only_when_named():
    """In process there is no request to limit and no consumer to feed."""
    assert filled(plan(role=Role.LIBRARY)) == {"storage": "sqlite", "near_words": "nearwords"}
    assert filled(plan(role=Role.LIBRARY, cache="inmemory"))["cache"] == "inmemory"


def test_vector_search_is_planned_only_when_something_embeds():
    """An embedding, by setting or by function, brings the vector index of the mode."""
    assert not plan().has_vectors
    by_setting = plan(embedding="minilm")
    assert by_setting.has_vectors
    assert filled(by_setting)["vectors"] == "sqlite"
    by_function = plan(embed=True)
    assert by_function.has_vectors
    assert "embedding" not in by_function.slots


def test_a_function_stands_in_for_the_embedding_slot():
    """The configured embedding is not loaded then."""
    assert "minilm" not in plan(embedding="minilm", embed=True).plugins


def test_a_slot_may_be_overridden_and_emptied():
    """`<plugin>`, `<plugin>:<backend>` or `none`."""
    found = plan(storage="other:fast", near_words="none")
    assert (found.slots["storage"].plugin, found.slots["storage"].backend) == ("other", "fast")
    assert "near_words" not in found.slots


def test_plugins_are_those_of_the_slots_and_the_named_ones_each_once():
    """What is to be loaded, in order."""
    assert plan(plugins=("redact", "sqlite")).plugins == ("sqlite", "nearwords", "inmemory", "redact")


def test_without_eventing_indexing_is_inline_and_there_is_no_bus():
    """`EVENTING_ENABLED=false` wins over the mode and over SFM_EVENTS."""
    assert plan("evented_enterprise").indexing is Indexing.CONSUMER
    found = plan("evented_enterprise", eventing_enabled=False, events="kafka")
    assert found.indexing is Indexing.INLINE
    assert "events" not in found.slots
    assert "kafka" not in found.plugins


def test_cloud_managed_differs_in_policy():
    """TLS, credentials and keys are required, and nothing changes a schema at start."""
    cloud, enterprise = plan("cloud_managed"), plan("evented_enterprise")
    assert (cloud.require_tls, cloud.require_credentials, cloud.require_keys, cloud.create_schema) == (
        True,
        True,
        True,
        False,
    )
    assert (enterprise.require_tls, enterprise.require_credentials, enterprise.require_keys) == (False, False, None)
    assert enterprise.create_schema


def test_keys_are_required_by_mode_or_setting_and_else_as_soon_as_one_was_made():
    """cloud_managed does not let go of them; who requires them needs a storage that keeps them."""
    assert [plan(require_keys=value).require_keys for value in (None, True, False)] == [None, True, False]
    assert plan("cloud_managed", require_keys=True).require_keys is True
    with pytest.raises(ConfigError, match=r"SFM_REQUIRE_KEYS: got false, allowed: true, because mode cloud_managed"):
        plan("cloud_managed", require_keys=False)
    needs = [plan(require_keys=value).slots["storage"].needs for value in (True, False, None)]
    assert [StorageCapability.API_KEYS in found for found in needs] == [True, False, False]


@pytest.mark.parametrize("mode", MODES)
def test_who_looks_after_the_keys_opens_the_storage_alone(mode):
    """No model is loaded and no other server asked, whatever the settings name."""
    found = plan(mode, role=Role.KEYS, embedding="minilm", lexical="vectors", events="kafka")
    assert list(found.slots) == ["storage"]
    assert StorageCapability.API_KEYS in found.slots["storage"].needs


def test_workers_are_those_of_the_mode_unless_set():
    """One where nothing is shared, four where servers are; the library is one process."""
    assert [plan(mode).workers for mode in MODES] == [1, 1, 4, 4]
    assert plan(workers=3).workers == 3
    assert plan(workers=3, role=Role.LIBRARY).workers == 1


def test_a_data_directory_is_planned_where_the_mode_has_one_or_one_is_set(monkeypatch, tmp_path):
    """Tests and servers write no files unless told where."""
    monkeypatch.setenv("HOME", str(tmp_path))
    development = plan().data_dir
    assert development is not None
    assert development.is_relative_to(tmp_path)
    assert not development.exists()
    assert plan("test").data_dir is None
    assert plan("test", data_dir=Path("/here")).data_dir == Path("/here")


def test_slots_need_what_the_plan_makes_of_them():
    """Near words need a vocabulary, several workers shared stores, a consumer a shared bus."""
    slots = plan("evented_enterprise").slots
    assert slots["storage"].needs == {
        StorageCapability.FULL_TEXT,
        StorageCapability.VOCABULARY,
        StorageCapability.SHARED,
    }
    assert slots["vectors"].needs == {VectorsCapability.SHARED}
    assert slots["events"].needs == {EventsCapability.SHARED}
    assert slots["embedding"].needs == {EmbeddingCapability.TEXTS}
    assert slots["near_words"].needs == {EmbeddingCapability.WORDS}
    assert plan("test").slots["storage"].needs == {StorageCapability.FULL_TEXT}
    assert plan("test").slots["events"].needs == frozenset()


def test_a_consumer_opens_what_the_service_opens():
    """One process, on stores that the service shares with it."""
    found = plan("evented_enterprise", Role.CONSUMER, workers=3)
    assert filled(found) == SERVERS
    assert found.workers == 1
    assert StorageCapability.SHARED in found.slots["storage"].needs
    assert found.slots["vectors"].needs == {VectorsCapability.SHARED}
    assert found.slots["events"].needs == {EventsCapability.SHARED}


def test_a_relay_opens_log_and_bus_only():
    """It needs no model in memory; a service that indexes by itself may have one, too."""
    found = plan("evented_enterprise", Role.RELAY, cache="redis")
    assert filled(found) == {"storage": "postgres", "events": "kafka"}
    assert filled(plan("development", Role.RELAY, events="kafka")) == {"storage": "sqlite", "events": "kafka"}


@pytest.mark.parametrize(
    ("role", "values", "message"),
    [
        (
            Role.CONSUMER,
            {"mode": "development"},
            "MEMORY_MODE, EVENTING_ENABLED: got development, true, allowed: a mode",
        ),
        (
            Role.CONSUMER,
            {"mode": "evented_enterprise", "eventing_enabled": False},
            "MEMORY_MODE, EVENTING_ENABLED: got",
        ),
        (
            Role.CONSUMER,
            {"mode": "evented_enterprise", "events": "none"},
            "SFM_EVENTS: got 'none', allowed: an event bus",
        ),
        (Role.RELAY, {"mode": "development", "events": "none"}, "SFM_EVENTS, EVENTING_ENABLED: got no event bus"),
        (Role.RELAY, {"mode": "evented_enterprise", "eventing_enabled": False}, "SFM_EVENTS, EVENTING_ENABLED: got no"),
    ],
)
def test_processes_that_have_nothing_to_do_are_refused(role, values, message):
    """The message says why."""
    with pytest.raises(ConfigError) as caught:
        plan(role=role, **values)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"mode": "develop"},
            "MEMORY_MODE: got 'develop', allowed: development, test, evented_enterprise, cloud_managed; did you mean develop",
        ),
        ({"storage": "none"}, "SFM_STORAGE: got 'none'"),
        (
            {"vectors": "none", "embedding": "minilm"},
            "SFM_VECTORS: got 'none', allowed: <plugin> or <plugin>:<backend>, because",
        ),
        ({"vectors": "none", "embed": True}, "SFM_VECTORS: got 'none'"),
        ({"cache": "Not A Name"}, "SFM_CACHE: got 'Not A Name', allowed: <plugin>, <plugin>:<backend> or none"),
        ({"cache": "a:b:c"}, "SFM_CACHE: got 'a:b:c'"),
        ({"plugins": ("fine", "not fine")}, "SFM_PLUGINS: got 'not fine'"),
        ({"mode": "evented_enterprise", "events": "none"}, "SFM_EVENTS: got 'none', allowed: an event bus"),
        ({"mode": "test", "workers": 2}, "UVICORN_WORKERS: got 2, allowed: 1 in mode test"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values, message):
    """The message names the variable and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        plan(**values)
    assert str(caught.value).startswith(message)


def test_all_contradictions_are_told_in_one_message():
    """One refusal for the whole plan."""
    with pytest.raises(ConfigError) as caught:
        plan("test", workers=2, storage="none", cache="?")
    assert str(caught.value).startswith("3 settings cannot be used:")
