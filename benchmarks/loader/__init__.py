"""Loaders side by side: ours, its stages, what others use, and the floor that nobody can go below."""

from benchmarks.loader.run import main

__all__ = ["main"]
