"""The operation hooks of the loaded plugins, put in order once, so that an operation without any pays nothing."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from sfm_core.errors import PluginError, SfmError
from sfm_core.model.memory import Memory
from sfm_core.model.query import Answer, RecallQuery

if TYPE_CHECKING:
    from sfm_core.services.principal import Principal

__all__ = ["OPERATION_HOOKS", "Implementation", "OperationHooks"]

OPERATION_HOOKS = ("sfm_remembering", "sfm_remembered", "sfm_recalling", "sfm_recalled", "sfm_forgetting")

_KEPT = ("id", "namespace", "version")
_log = logging.getLogger("sfm.hooks")
_T = TypeVar("_T")


class Implementation:
    """One plugin's implementation of one hook; called by keyword, it takes the arguments it declares."""

    __slots__ = ("_arguments", "_function", "hook", "plugin")

    def __init__(self, plugin: str, hook: str, function: Callable[..., object], arguments: Sequence[str]) -> None:
        self.plugin = plugin
        self.hook = hook
        self._function = function
        self._arguments = tuple(arguments)

    def __call__(self, **given: object) -> object:
        """Call it.

        Raises:
            SfmError: as the hook raised it.
            PluginError: anything else that it raised. The text of it is not told: it may hold content.
        """
        try:
            return self._function(*[given[name] for name in self._arguments])
        except SfmError:
            raise
        except (Exception, SystemExit) as error:
            raise PluginError(f"{self} raised {type(error).__name__}") from error

    def __str__(self) -> str:
        return f"plugin {self.plugin!r}: {self.hook}"


class OperationHooks:
    """Runs the operation hooks in pluggy's order; among equals, in the order in which the plugins are named.

    The `has_...` attributes say whether a hook has any implementation. `failures` counts what `remembered` swallowed, by
    plugin.
    """

    __slots__ = (
        "_by_hook",
        "failures",
        "has_forgetting",
        "has_recalled",
        "has_recalling",
        "has_remembered",
        "has_remembering",
    )

    def __init__(self, implementations: Mapping[str, Sequence[Implementation]] | None = None) -> None:
        self._by_hook = {hook: tuple((implementations or {}).get(hook, ())) for hook in OPERATION_HOOKS}
        self.has_remembering = bool(self._by_hook["sfm_remembering"])
        self.has_remembered = bool(self._by_hook["sfm_remembered"])
        self.has_recalling = bool(self._by_hook["sfm_recalling"])
        self.has_recalled = bool(self._by_hook["sfm_recalled"])
        self.has_forgetting = bool(self._by_hook["sfm_forgetting"])
        self.failures: Counter[str] = Counter()

    def _chain(
        self, hook: str, argument: str, value: _T, kind: type[_T], *, kept: Sequence[str] = (), **given: object
    ) -> _T:
        """Give each implementation the result of the one before; None leaves it as it is, the fields `kept` must stay."""
        for implementation in self._by_hook[hook]:
            result = implementation(**{argument: value}, **given)
            if result is None:
                continue
            if not isinstance(result, kind):
                raise PluginError(
                    f"{implementation} returned a {type(result).__name__}, allowed: {kind.__name__} or None"
                )
            for name in kept:
                if getattr(value, name) != getattr(result, name):
                    raise PluginError(f"{implementation} changed {name}, which must stay")
            value = result
        return value

    def remembering(self, memory: Memory, principal: Principal) -> Memory:
        """Return the memory that is to be stored in place of `memory`. Its values are for the caller to check again.

        Raises:
            SfmError: as a plugin raised it to refuse the write.
            PluginError: a plugin failed, returned no memory, or changed id, namespace or version.
        """
        return self._chain("sfm_remembering", "memory", memory, Memory, kept=_KEPT, principal=principal)

    def remembered(self, memory: Memory, principal: Principal) -> None:
        """Tell the plugins that `memory` is stored. Never raises: a failure is logged (`sfm.hooks`) and counted."""
        for implementation in self._by_hook["sfm_remembered"]:
            try:
                implementation(memory=memory, principal=principal)
            except SfmError as error:
                self.failures[implementation.plugin] += 1
                # Not the text of the error: what a hook raises may hold content.
                cause = error.__cause__ or error
                _log.error("%s failed after the write: %s", implementation, type(cause).__name__)

    def recalling(self, query: RecallQuery, principal: Principal) -> RecallQuery:
        """Return the query that is to be answered in place of `query`.

        Raises:
            SfmError: as a plugin raised it to refuse the recall.
            PluginError: a plugin failed or returned no query.
        """
        return self._chain("sfm_recalling", "query", query, RecallQuery, principal=principal)

    def recalled(self, answer: Answer, principal: Principal) -> Answer:
        """Return the answer that is to be given in place of `answer`.

        Raises:
            SfmError: as a plugin raised it.
            PluginError: a plugin failed or returned no answer.
        """
        return self._chain("sfm_recalled", "answer", answer, Answer, principal=principal)

    def forgetting(self, memory_ids: Sequence[str], principal: Principal, *, erase: bool) -> None:
        """Ask the plugins whether the memories may go.

        Raises:
            SfmError: as a plugin raised it to refuse.
            PluginError: a plugin failed.
        """
        for implementation in self._by_hook["sfm_forgetting"]:
            implementation(memory_ids=memory_ids, principal=principal, erase=erase)
