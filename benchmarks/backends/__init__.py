"""What each backend costs over its bare driver, in the same run."""
