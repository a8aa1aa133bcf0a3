"""The kit is tested with backends that are wrong on purpose: each must fail the test that is named for it."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import sfm_core
from sfm_core.testing.conformance import SUITES, SpecSuite
from sfm_core.testing.refusals import REFUSALS
from sfm_core.testing.suite import Suite, names_of_tests

FAULTY = Path(__file__).parent / "faulty"
MODULES = sorted(path.stem for path in FAULTY.glob("faulty_*.py"))
PORTS = Path(sfm_core.__file__).parent / "ports"


@pytest.fixture(scope="module")
def faults() -> Iterator[list[Any]]:
    """Every declared fault."""
    sys.path.insert(0, str(FAULTY))
    try:
        yield [fault for name in MODULES for fault in importlib.import_module(name).FAULTS]
    finally:
        sys.path.remove(str(FAULTY))


@pytest.fixture(scope="module")
def outcomes(faults: list[Any], tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], set[str]]:
    """Run each faulty backend against its tests, in one other process: (class, test) -> outcomes."""
    report = tmp_path_factory.mktemp("kit") / "report.xml"
    nodes = [f"{FAULTY / fault.module}.py::{fault.test_class}::{fault.test}" for fault in faults]
    options = ["-q", "-p", "no:cacheprovider", "--tb=no", "--assert=plain", f"--junitxml={report}"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(FAULTY),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(report.parent),
    }
    command = [sys.executable, "-m", "pytest", *options, *nodes]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=FAULTY, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[tuple[str, str], set[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        key = (case.attrib["classname"].rsplit(".", 1)[-1], case.attrib["name"].partition("[")[0])
        found.setdefault(key, set()).add(next((child.tag for child in case), "passed"))
    return found


def test_every_fault_is_caught_by_the_test_that_names_it(faults: list[Any], outcomes: dict[Any, set[str]]) -> None:
    """It fails, and does not merely break; honest backends pass the same tests."""
    wrong = {}
    for fault in faults:
        seen = outcomes.get((fault.test_class, fault.test), {"not run"})
        right = "failure" in seen and not seen & {"error", "not run"} if fault.caught else seen == {"passed"}
        if not right:
            wrong[f"{fault.test_class}::{fault.test}"] = sorted(seen)
    assert wrong == {}


def guarantees() -> set[str]:
    """Return every test that a docstring of a port names."""
    named: set[str] = set()
    for path in PORTS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
                text = ast.get_docstring(node) or ""
                named |= {word.strip("`.,;:()") for word in text.split() if word.strip("`.,;:()").startswith("test_")}
    return named


def kit_tests() -> dict[str, list[type[Suite]]]:
    """Return the suites that have each test of the kit."""
    found: dict[str, list[type[Suite]]] = {}
    for suite in (*SUITES, *REFUSALS, SpecSuite):
        for test in names_of_tests(suite):
            found.setdefault(test, []).append(suite)
    return found


def test_every_guarantee_of_a_port_is_a_test_of_the_kit() -> None:
    """A test that a docstring names exists, so that no contract rests on nothing."""
    assert len(guarantees()) >= 20
    assert guarantees() - kit_tests().keys() == set()


def test_every_test_of_the_kit_has_a_fault_that_it_catches(faults: list[Any]) -> None:
    """No test of the kit is there for show."""
    assert kit_tests().keys() - {fault.test for fault in faults if fault.caught} == set()


def test_every_refused_capability_has_a_suite() -> None:
    """For each capability of a port there is a suite, and a refusal suite where its lack can be seen."""
    assert {(s.port, s.capability) for s in SUITES if s.capability} >= {(s.port, s.lacks) for s in REFUSALS}
