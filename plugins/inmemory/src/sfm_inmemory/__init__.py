"""In-memory backends for every SomaFractalMemory port, for tests and single processes."""
