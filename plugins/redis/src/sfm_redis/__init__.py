"""The Redis backend of SomaFractalMemory's cache port."""
