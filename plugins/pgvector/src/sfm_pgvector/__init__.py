"""Vector search in PostgreSQL with pgvector for SomaFractalMemory."""
