"""A small table of near words that widens SomaFractalMemory's lexical search, without a model."""
