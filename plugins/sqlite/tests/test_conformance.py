"""The SQLite backends against the conformance kit."""

from sfm_core.testing.storage import StorageSuite
from sfm_sqlite import plugin


class TestSqliteStorage(StorageSuite):
    spec = plugin.sfm_storage()[0]
    plugin = "sfm_sqlite.plugin"
