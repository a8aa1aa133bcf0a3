"""Imports the packages before pytest takes the folders of the same names, here at the root, for namespace packages."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

for package in ("sfm_app", "sfm_core"):
    # A session that tests one distribution alone may not have the other.
    with suppress(ModuleNotFoundError):
        import_module(package)
