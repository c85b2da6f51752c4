"""The request to end: the first signal lets the command keep what it has, a second one ends it at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SIGNALS = (signal.SIGINT, signal.SIGTERM)

SAME_REQUEST_S = 3.0
"""Job systems may send SIGTERM to a whole tree of processes, and so twice to some: in this time it is one request."""


class Stopped(Exception):
    """The command was asked to end.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.status = 128 + number


class StopRequest:
    """Whether the command was asked to end."""

    def __init__(self) -> None:
        self._number = 0
        self._at = 0.0

    def check(self) -> None:
        """Go on, if nobody asked otherwise.

        Raises:
            Stopped: if the command is to end.
        """
        if self._number:
            raise Stopped(self._number)

    def handle(self, number: int, frame: object) -> None:
        """Take in a signal."""
        repeated = number == signal.SIGTERM == self._number and time.monotonic() - self._at < SAME_REQUEST_S
        if self._number and not repeated:
            os._exit(128 + number)
        if not self._number:
            self._number, self._at = number, time.monotonic()
            with suppress(OSError):
                os.write(2, b"\nstopping; once more to end at once\n")


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turn the first SIGINT or SIGTERM into a request."""
    request = StopRequest()
    before = {}
    try:
        with suppress(ValueError):  # only the main thread may handle signals; elsewhere nobody asks
            for number in SIGNALS:
                before[number] = signal.signal(number, request.handle)
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
