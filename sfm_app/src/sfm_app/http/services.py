"""The one dependency of all handlers: the services, already built and opened."""

from __future__ import annotations

from typing import Annotated

from litestar.params import Dependency

from sfm_core.services.wiring import Services

__all__ = ["TheServices"]

TheServices = Annotated[Services, Dependency(skip_validation=True)]
