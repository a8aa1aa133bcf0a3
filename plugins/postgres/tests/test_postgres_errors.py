"""What the driver's errors mean; no server is needed."""

from __future__ import annotations

import pytest
from psycopg import errors as pg

from sfm_core.errors import BackendError, BackendUnavailable, ConfigError, SfmError
from sfm_postgres.errors import meaning


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (pg.UndefinedTable, ConfigError),
        (pg.UndefinedColumn, ConfigError),
        (pg.InvalidSchemaName, ConfigError),
        (pg.InsufficientPrivilege, ConfigError),
        (pg.DiskFull, BackendUnavailable),
        (pg.ReadOnlySqlTransaction, BackendUnavailable),
        (pg.AdminShutdown, BackendUnavailable),
        (pg.UniqueViolation, BackendError),
    ],
)
def test_what_no_request_is_to_blame_for_is_told_apart(error: type[Exception], kind: type[SfmError]) -> None:
    """A consumer waits for what somebody has to mend, instead of giving up one event after the other."""
    assert type(meaning(error("secret"), "postgres/storage")) is kind
