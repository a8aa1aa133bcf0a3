"""What may break a limit, each with its reason. An entry that is no longer needed fails its test."""

from __future__ import annotations

LONG_MODULES: dict[str, str] = {}
"""Path of a module of 400 lines or more -> why it is not split."""

LONG_FUNCTIONS: dict[str, str] = {}
"""`path::qualified.name` of a function of 60 lines or more -> why it is not split."""
