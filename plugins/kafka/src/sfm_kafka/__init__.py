"""The Kafka event bus of SomaFractalMemory."""
