"""Sentence embeddings for SomaFractalMemory by all-MiniLM-L6-v2 on onnxruntime."""
