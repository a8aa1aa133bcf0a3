"""The `sfm` command."""
