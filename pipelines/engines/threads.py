"""Threads for work that runs outside of Python's lock: decoding, resampling, blurring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


class Threads:
    """A fixed number of threads that share a list of items; they live until ``close`` or garbage collection.

    Args:
        count: number of threads, at least 1.
        name: begins the threads' names.
    """

    def __init__(self, count: int, name: str) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    def for_each(self, work: Callable[[Item], object], items: Sequence[Item]) -> None:
        """Call ``work`` on every item and wait; the first exception is raised here, after all threads have stopped.

        May be called from several threads; the items of the first call are worked on first.
        """
        left = iter(items)

        def share() -> None:
            for item in left:  # each thread takes the next: a large image holds up nobody
                work(item)

        futures = [self._pool.submit(share) for _ in range(min(self.count, len(items)))]
        errors = [future.exception() for future in futures]
        for error in errors:
            if error is not None:
                raise error

    def close(self) -> None:
        """Stop the threads once they are idle."""
        self._pool.shutdown(wait=True)
