"""Loaders side by side: ours, its stages, what others use, and the floor that nobody can go below."""

from pipelines.benchmark.run import main

__all__ = ["main"]
