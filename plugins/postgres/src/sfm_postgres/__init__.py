"""SQLite storage and embedded vector search for SomaFractalMemory."""
