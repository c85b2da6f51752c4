"""Contestants that behave in ways that a benchmark must survive."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import numpy as np

from pipelines.benchmark.task import Task

HELD_MB = 300


def busy(task: Task) -> Iterator[int]:
    """Keeps one core busy for 10 ms a batch of 5."""
    while True:
        until = time.process_time() + 0.01
        while time.process_time() < until:
            pass
        yield 5


def two_processes(task: Task) -> Iterator[int]:
    """A child process works too, and holds memory."""
    if os.fork() == 0:
        held = np.ones(HELD_MB << 17)
        while held[0]:
            pass
    yield from busy(task)


def raises(task: Task) -> Iterator[int]:
    """Fails before its first batch."""
    raise ValueError("no such operator")
    yield 0


def dies(task: Task) -> Iterator[int]:
    """Fails after its first batch."""
    yield 5
    os._exit(3)


def hangs(task: Task) -> Iterator[int]:
    """Never makes a batch."""
    time.sleep(1000)
    yield 0


def chatters(task: Task) -> Iterator[int]:
    """Waits, and prints where the answers are read, as libraries do."""
    while True:
        print("hello", flush=True)
        time.sleep(0.01)
        yield 1
