"""The operation hooks: order, what they may change, and what becomes of their failures."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from sfm_core.errors import Forbidden, PluginError
from sfm_core.model.memory import Memory
from sfm_core.model.query import Answer, RecallQuery
from sfm_core.plugins.hooks import OperationHooks
from sfm_core.plugins.host import PluginHost
from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import PluginInfo
from sfm_core.services.principal import EVERYTHING

MOMENT = datetime(2024, 5, 1, tzinfo=UTC)
MEMORY = Memory(
    id="0190f0d2-0000-7000-8000-000000000000", content="start", occurred_at=MOMENT, created_at=MOMENT, updated_at=MOMENT
)
HIDDEN = "what nobody may read"


class Named:
    """A plugin object with a name and no hook."""

    def __init__(self, name: str, result: object = None) -> None:
        self.name = name
        self.result = result

    @hookimpl
    def sfm_plugin_info(self) -> PluginInfo:
        return PluginInfo(name=self.name, version="1", api="1.0")

    def append(self, memory: Memory) -> Memory:
        return replace(memory, content=f"{memory.content} {self.name}")


class Plain(Named):
    @hookimpl
    def sfm_remembering(self, memory, principal):
        return self.append(memory)


class First(Named):
    @hookimpl(tryfirst=True)
    def sfm_remembering(self, principal, memory):
        return self.append(memory)


class Last(Named):
    @hookimpl(trylast=True)
    def sfm_remembering(self, memory):
        return self.append(memory)


class Returning(Named):
    """Every hook returns what the test wants."""

    @hookimpl
    def sfm_remembering(self):
        return self.result

    @hookimpl
    def sfm_recalling(self):
        return self.result

    @hookimpl
    def sfm_recalled(self):
        return self.result


class Raising(Named):
    """Every hook raises what the test wants."""

    @hookimpl
    def sfm_remembering(self):
        raise self.result

    @hookimpl
    def sfm_remembered(self):
        raise self.result

    @hookimpl
    def sfm_recalling(self):
        raise self.result

    @hookimpl
    def sfm_recalled(self):
        raise self.result

    @hookimpl
    def sfm_forgetting(self):
        raise self.result


def hooks(*objects: Named) -> OperationHooks:
    return PluginHost().load([], objects=objects).hooks


def run_all(found: OperationHooks, name: str) -> object:
    """Run one hook with fitting arguments."""
    calls = {
        "remembering": lambda: found.remembering(MEMORY, EVERYTHING),
        "remembered": lambda: found.remembered(MEMORY, EVERYTHING),
        "recalling": lambda: found.recalling(RecallQuery(query="x"), EVERYTHING),
        "recalled": lambda: found.recalled(Answer(hits=()), EVERYTHING),
        "forgetting": lambda: found.forgetting([MEMORY.id], EVERYTHING, erase=True),
    }
    return calls[name]()


def test_each_runs_on_the_result_of_the_one_before_in_order():
    """tryfirst, then the others as they are named, then trylast; arguments are taken by name."""
    found = hooks(Last("z"), Plain("a"), Plain("b"), First("first"))
    assert found.remembering(MEMORY, EVERYTHING).content == "start first a b z"


def test_none_leaves_things_as_they_are():
    """A hook that returns nothing changes nothing."""
    found = hooks(Returning("quiet"))
    assert found.remembering(MEMORY, EVERYTHING) is MEMORY
    query, answer = RecallQuery(query="x"), Answer(hits=())
    assert found.recalling(query, EVERYTHING) is query
    assert found.recalled(answer, EVERYTHING) is answer


def test_a_hook_may_put_another_query_and_answer_in_place():
    """What it returns is what counts."""
    query, answer = RecallQuery(query="other"), Answer(hits=(), partial=("x",))
    assert hooks(Returning("a", query)).recalling(RecallQuery(query="x"), EVERYTHING) is query
    assert hooks(Returning("a", answer)).recalled(Answer(hits=()), EVERYTHING) is answer


@pytest.mark.parametrize("name", ["remembering", "recalling", "recalled"])
def test_a_result_of_another_type_is_refused_by_name(name):
    """The plugin and its hook are named."""
    with pytest.raises(PluginError, match=f"^plugin 'odd': sfm_{name} returned a str, allowed: "):
        run_all(hooks(Returning("odd", "text")), name)


@pytest.mark.parametrize("change", [{"id": "other"}, {"namespace": "other"}, {"version": 2}])
def test_identity_namespace_and_version_of_a_memory_must_stay(change):
    """A hook cannot move a memory or forge its version."""
    with pytest.raises(PluginError, match=f"plugin 'odd': sfm_remembering changed {next(iter(change))}"):
        hooks(Returning("odd", replace(MEMORY, **change))).remembering(MEMORY, EVERYTHING)


@pytest.mark.parametrize("name", ["remembering", "recalling", "recalled", "forgetting"])
def test_a_refusal_reaches_the_caller_as_it_is(name):
    """An error of the tree passes through."""
    refusal = Forbidden("not this one")
    with pytest.raises(Forbidden) as caught:
        run_all(hooks(Raising("strict", refusal)), name)
    assert caught.value is refusal


@pytest.mark.parametrize("name", ["remembering", "recalling", "recalled", "forgetting"])
@pytest.mark.parametrize("error", [ValueError(HIDDEN), SystemExit(HIDDEN)])
def test_another_exception_becomes_an_error_of_the_plugin_without_its_text(name, error):
    """Plugin, hook and type are told; what an exception says may be content."""
    with pytest.raises(PluginError) as caught:
        run_all(hooks(Raising("odd", error)), name)
    assert str(caught.value) == f"plugin 'odd': sfm_{name} raised {type(error).__name__}"
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [ValueError(HIDDEN), Forbidden(HIDDEN), SystemExit(HIDDEN)])
def test_what_fails_after_a_write_is_logged_and_counted(error, caplog):
    """The write stands, the next plugin is told all the same, and the log holds no text of the error."""
    found = hooks(Raising("odd", error), Raising("other", error))
    with caplog.at_level(logging.ERROR, logger="sfm.hooks"):
        found.remembered(MEMORY, EVERYTHING)
        found.remembered(MEMORY, EVERYTHING)
    assert found.failures == {"odd": 2, "other": 2}
    assert caplog.messages[0] == f"plugin 'odd': sfm_remembered failed after the write: {type(error).__name__}"
    assert HIDDEN not in caplog.text


def test_without_implementations_nothing_is_called():
    """The booleans say which hooks can be passed over."""
    none, some = hooks(Named("idle")), hooks(Plain("a"))
    names = ("remembering", "remembered", "recalling", "recalled", "forgetting")
    assert [getattr(none, f"has_{name}") for name in names] == [False] * 5
    assert some.has_remembering
    assert not some.has_recalled
    assert none.remembering(MEMORY, EVERYTHING) is MEMORY


def test_a_plugin_is_listed_with_the_hooks_it_has():
    """What is asked on every operation is visible."""
    (info,) = PluginHost().load([], objects=[Raising("a", ValueError())]).infos
    assert info.hooks == ("sfm_remembering", "sfm_remembered", "sfm_recalling", "sfm_recalled", "sfm_forgetting")
