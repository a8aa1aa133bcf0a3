"""The conformance kit: plain pytest classes that say what a backend of each port, and each of its capabilities, must do."""

from __future__ import annotations

import pkgutil

import pytest

__all__: list[str] = []

# The suites are library modules: without this their failing asserts would say nothing.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))
