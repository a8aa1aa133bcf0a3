"""The one dependency of all handlers: the services, already built and opened."""

from __future__ import annotations

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from sfm_core.services.wiring import Services

__all__ = ["TheServices"]

TheServices = SkipValidation[NamedDependency[Services]]
