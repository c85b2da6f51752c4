"""What workers do in the tests of the writers, in a module that spawned processes can import by name."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from frl.errors import SourceError
from writers.image.crop import Face
from writers.items import Item
from writers.prepare import Preparation
from writers.reject import Reject

GRACE = 20
"""Images that a doomed worker prepares."""


def square(task: int) -> int:
    time.sleep(0.001 * (task * 7 % 5))  # so that workers overtake each other
    return task * task


def start_squares() -> Callable[[int], int]:
    return square


def blow_up(task: int) -> bytes:
    return task.to_bytes(4, "big") * (task << 10)


def start_blowing_up() -> Callable[[int], bytes]:
    return blow_up


def fail_at(bad: int, error: Exception, task: int) -> int:
    if task == bad:
        raise error
    return task


def start_failing(bad: int, error: Exception) -> Callable[[int], int]:
    return partial(fail_at, bad, error)


def die_at(bad: int, number: int, task: int) -> int:
    if task == bad:
        os.kill(os.getpid(), number)
        time.sleep(60)
    return task


def start_dying(bad: int, number: int) -> Callable[[int], int]:
    return partial(die_at, bad, number)


def start_never() -> Callable[[int], int]:
    raise SourceError("libfaces", "is not installed", "Install it.")


def start_reading_environment() -> Callable[[str], str | None]:
    return os.environ.get


@dataclass(frozen=True, kw_only=True)
class Doomed(Preparation):
    """Prepares a few images, and then comes to grief."""

    end: Callable[[], object]

    def __call__(self) -> Callable[[Item], list[Face | Reject]]:
        prepare, done = super().__call__(), itertools.count()
        return lambda item: self.end() and [] if next(done) == GRACE else prepare(item)


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail_to_read() -> None:
    raise OSError(errno.EIO, "Input/output error")
