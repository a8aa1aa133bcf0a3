"""The core of SomaFractalMemory: model, ports, plugin host, services and the conformance kit."""
