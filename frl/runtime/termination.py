"""The request to end: the first SIGTERM or Ctrl-C lets the run save and stop, a later one ends the process at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from signal import Signals
from types import FrameType

# Seconds in which one that comes again is taken for the same request. What a machine sends may come twice: Slurm
# signals every process of a job, and torchrun passes its own signal on; `timeout` signals a process, then its group.
# A person who presses Ctrl-C twice means it.
REPEATS = {Signals.SIGINT: 1.0, Signals.SIGTERM: 5.0, Signals.SIGHUP: 5.0}
Handler = Callable[[int, FrameType | None], None]


class Meaning(Enum):
    """What a signal says: stop, the same once more, or stop now."""

    REQUEST = auto()
    REPEAT = auto()
    INSISTENCE = auto()


class Termination:
    """Whether this process was asked to end, and by what.

    Attributes:
        signal: the first signal that asked: SIGINT (Ctrl-C), SIGTERM or SIGHUP (the terminal is gone); None before.
    """

    def __init__(self) -> None:
        self.signal: Signals | None = None
        self._asked = 0.0  # seconds of the monotonic clock

    @property
    def requested(self) -> bool:
        """Whether the process was asked to end."""
        return self.signal is not None

    def receive(self, number: int) -> Meaning:
        """Take note of a signal, one of ``REPEATS``."""
        if self.signal is None:
            self.signal, self._asked = Signals(number), time.monotonic()
            return Meaning.REQUEST
        again = time.monotonic() - self._asked <= REPEATS[Signals(number)]
        return Meaning.REPEAT if again else Meaning.INSISTENCE


@contextmanager
def termination_requests() -> Iterator[Termination]:
    """Turn the first SIGTERM, SIGINT or SIGHUP into a request.

    The same may come again shortly after (``REPEATS``); any later one ends the process at once, as if nobody had
    handled it. Only the main thread may handle signals; elsewhere nobody ever asks.
    """
    termination, process = Termination(), os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        # A forked process inherits the handler, but has nothing to save.
        if os.getpid() != process or termination.receive(number) is Meaning.INSISTENCE:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    with handling(handle):
        yield termination


@contextmanager
def handling(handler: Handler) -> Iterator[None]:
    """Let ``handler`` handle the signals of ``REPEATS`` which this process was not started to ignore (``nohup``)."""
    before = {}
    try:
        for number in REPEATS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    except ValueError:  # this is not the main thread
        pass
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
