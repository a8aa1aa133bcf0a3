"""What may break a limit, each with its reason. An entry that is no longer needed fails its test."""

from __future__ import annotations

LONG_MODULES: dict[str, str] = {}
"""Path of a module of 400 lines or more -> why it is not split."""

LONG_FUNCTIONS: dict[str, str] = {}
"""`path::qualified.name` of a function of 60 lines or more -> why it is not split."""

BUILDS_ON: dict[str, dict[str, str]] = {
    "sfm-plugin-pgvector": {
        "sfm_postgres": "both are one server: its connections, migrations, filters and errors exist once"
    },
}
"""Distribution of a plugin -> package of another plugin that it may import -> why."""
