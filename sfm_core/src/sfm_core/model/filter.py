"""Placeholder of the filter language."""
from __future__ import annotations
from typing import Any
Filter = Any
