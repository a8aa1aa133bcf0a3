"""The steps of the schema: see `sfm_postgres.migrations`."""
