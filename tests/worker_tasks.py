"""What workers do in the tests of ``writers.workers``, in a module that spawned processes can import by name."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial

from frl.errors import SourceError


def square(task: int) -> int:
    time.sleep(0.001 * (task * 7 % 5))  # so that workers overtake each other
    return task * task


def start_squares() -> Callable[[int], int]:
    return square


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
