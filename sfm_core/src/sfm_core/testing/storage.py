"""The conformance suite of the storage port."""

from __future__ import annotations

from sfm_core.plugins.types import Port
from sfm_core.testing.storage_deletes import EraseTests, ExpiryTests, RemoveTests
from sfm_core.testing.storage_imports import ImportTests
from sfm_core.testing.storage_isolation import IsolationTests
from sfm_core.testing.storage_log import ChangeTests, IdempotencyTests, OperationTests, OverviewTests
from sfm_core.testing.storage_places import CoordinateTests, LinkTests
from sfm_core.testing.storage_puts import PutTests, ReplaceTests, TwinTests
from sfm_core.testing.storage_races import RaceTests
from sfm_core.testing.storage_reads import GetTests, HistoryTests, ListTests

__all__ = ["StorageSuite"]


class StorageSuite(
    PutTests,
    TwinTests,
    ReplaceTests,
    RemoveTests,
    EraseTests,
    ExpiryTests,
    GetTests,
    HistoryTests,
    ListTests,
    CoordinateTests,
    LinkTests,
    ChangeTests,
    OperationTests,
    IdempotencyTests,
    OverviewTests,
    ImportTests,
    RaceTests,
    IsolationTests,
):
    """What every storage must do. Fixtures: see `Suite`."""

    port = Port.STORAGE
