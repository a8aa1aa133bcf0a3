"""The in-memory backends against the conformance kit."""

from sfm_core.testing.storage import StorageSuite
from sfm_inmemory import plugin


class TestInmemoryStorage(StorageSuite):
    spec = plugin.sfm_storage()[0]
    plugin = "sfm_inmemory.plugin"
