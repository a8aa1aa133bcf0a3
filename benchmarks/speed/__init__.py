"""What the embedded memory costs over plain SQLite and NumPy, measured in one run."""
