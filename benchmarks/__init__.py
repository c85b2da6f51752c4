"""Benchmarks that are commands: ``frl bench``."""
