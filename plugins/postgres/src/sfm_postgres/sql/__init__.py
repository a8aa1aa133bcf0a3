"""The SQL files that make the schema, see `sfm_postgres.migrations`."""
