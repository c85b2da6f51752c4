"""The request to end: the first SIGTERM lets the run save and stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Termination:
    """Whether the process was asked to end."""

    def __init__(self) -> None:
        self.requested = False


@contextmanager
def termination_requests() -> Iterator[Termination]:
    """Turn the first SIGTERM into a request; a second one ends the process at once."""
    termination = Termination()

    def request(signum: int, frame: object) -> None:
        termination.requested = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    try:
        before = signal.signal(signal.SIGTERM, request)
    except ValueError:  # only the main thread may handle signals; elsewhere nobody asks
        yield termination
        return
    try:
        yield termination
    finally:
        signal.signal(signal.SIGTERM, before)
