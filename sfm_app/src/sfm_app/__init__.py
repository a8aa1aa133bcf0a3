"""The SomaFractalMemory service: REST API and command line."""
