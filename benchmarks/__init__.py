"""Benchmarks: speed as ratios to a floor measured in the same run (`speed`), and recall quality (`locomo`)."""
