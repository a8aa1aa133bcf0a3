"""How large a module or function may become before it needs a written reason."""

from __future__ import annotations

from tests.architecture.allowed import LONG_FUNCTIONS, LONG_MODULES
from tests.architecture.workspace import PACKAGED, ROOT, Module

MODULE_LINES = 400
FUNCTION_LINES = 60


def measured() -> list[Module]:
    """Return every source file of the distributions and of the project's own tooling."""
    tooling = [ROOT / "noxfile.py", *sorted((ROOT / "scripts").rglob("*.py"))]
    return [module for distribution in PACKAGED for module in distribution.modules] + [Module(path) for path in tooling]


def test_modules_are_short() -> None:
    """A module of 400 lines has a reason in `allowed.py`, and no reason is left over."""
    long = {module.where for module in measured() if len(module.text.splitlines()) >= MODULE_LINES}
    assert long == set(LONG_MODULES)


def test_functions_are_short() -> None:
    """A function of 60 lines, docstring aside, has a reason in `allowed.py`, and no reason is left over."""
    long = {
        f"{module.where}::{name}"
        for module in measured()
        for name, lines in module.functions()
        if lines >= FUNCTION_LINES
    }
    assert long == set(LONG_FUNCTIONS)


def test_every_exception_has_a_reason() -> None:
    """A bare entry is not a reason."""
    assert all(len(reason.split()) >= 4 for reason in [*LONG_MODULES.values(), *LONG_FUNCTIONS.values()])


def test_there_is_no_drawer_for_odds_and_ends() -> None:
    """A module is named after what it does."""
    drawers = {"utils", "util", "helpers", "misc", "common"}
    assert [module.where for module in measured() if module.path.stem in drawers] == []
