"""The processes of a DataLoader: how they are started, how their batches come over, and what happens when they die."""

from __future__ import annotations

import mmap
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkContext, ForkProcess
from multiprocessing.popen_fork import Popen
from typing import Any, TypeVar

import torch

from frl.errors import LoaderError

T = TypeVar("T")
TIMEOUT = 300  # seconds that the workers may take for one batch
POLL = 1  # seconds between two looks at whether they are still there
SHARED_MEMORY = "/dev/shm"
REQUESTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # to stop, which the trainer answers
MORE_ROOM = (
    "Make it larger (docker run --shm-size=8g or --ipc=host; mount -o remount,size=8G /dev/shm), "
    "use fewer --workers or a smaller --optim.batch-size, or use --engine ffcv, which does not need it."
)


class Workers(ForkContext):
    """Starts the processes of a DataLoader, and knows them.

    Attributes:
        started: all of them.
    """

    def __init__(self) -> None:
        self.started: list[Worker] = []

    def Process(self, *arguments: Any, **options: Any) -> Worker:  # type: ignore[override]  # noqa: N802
        """A process that the DataLoader is about to start."""
        self.started.append(Worker(*arguments, **options))
        return self.started[-1]

    def death(self) -> tuple[str, str] | None:
        """How one of them died, and what to do; None if none has."""
        for worker in self.started:
            if worker.exitcode:  # neither alive nor ended as it should
                return describe_death(worker)
        return None


class Worker(ForkProcess):
    """A process that leaves a request to stop to its parent: Slurm and terminals send that to every process of a run.

    The trainer must go on to a step at which all ranks can save, and for that it needs its batches.
    """

    def start(self) -> None:
        """Fork with the requests blocked, for good: there is no moment at which one could end the new process."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, REQUESTS)
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    @staticmethod
    def _Popen(process: Any) -> Popen:  # noqa: N802
        return _Killable(process)


class _Killable(Popen):
    def terminate(self) -> None:
        """SIGTERM is blocked, but the DataLoader and multiprocessing must be able to end a process that hangs."""
        self.kill()


def describe_death(worker: ForkProcess) -> tuple[str, str]:
    """The cause and the remedy."""
    code = worker.exitcode or 0
    if code == -signal.SIGBUS:
        return f"process {worker.pid} was ended by SIGBUS: {SHARED_MEMORY} is full, or a file became shorter", MORE_ROOM
    if code < 0:
        cause = f"process {worker.pid} was ended by {signal.Signals(-code).name}"
        return cause, "Look for the kernel's out-of-memory killer (dmesg), use fewer --workers, then resume."
    return f"process {worker.pid} ended with status {code}", "Look at what it printed, then resume."


def take(batches: Iterator[T], workers: Workers) -> T | None:
    """The next batch of a DataLoader, None at the end.

    Raises:
        LoaderError: if a worker has died, or none has answered for ``TIMEOUT``.
    """
    deadline = time.monotonic() + TIMEOUT
    while True:
        began = time.monotonic()
        try:
            return next(batches, None)
        except (RuntimeError, OSError) as error:  # the DataLoader's own word; the workers' errors come as values
            if death := workers.death():
                raise LoaderError("a decoding process", *death) from error
            waited = time.monotonic() - began >= POLL
            if not waited:
                remedy = "Raise the limits that it names (ulimit -n), or use --engine ffcv."
                raise LoaderError("the decoding processes", str(error), remedy) from error
            if time.monotonic() > deadline:
                cause = f"none has made its batch within {TIMEOUT} s"
                remedy = "Check that the storage answers (dmesg, a network mount), then resume."
                raise LoaderError("the decoding processes", cause, remedy) from error


class Room:
    """The part of /dev/shm in which the workers of an engine leave their batches."""

    def __init__(self) -> None:
        self.reserved = 0  # bytes that were found free

    def reserve(self, batches: int, nbytes: int) -> None:
        """See whether so many batches of that size fit, unless that was seen before.

        Raises:
            LoaderError: if they do not.
        """
        need = batches * -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
        if need <= self.reserved or not os.path.isdir(SHARED_MEMORY):
            return
        found = os.statvfs(SHARED_MEMORY)
        free, size = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
        ranks = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # which may have taken their part already
        if need > free or ranks * need > size:
            cause = f"{batches} batches made ahead, {_megabytes(nbytes)} each, do not fit for {ranks} rank(s): "
            cause += f"{_megabytes(free)} of {_megabytes(size)} are free"
            raise LoaderError(SHARED_MEMORY, cause, MORE_ROOM)
        self.reserved = need


@contextmanager
def errors_only_when_asked() -> Iterator[None]:
    """Undo that a DataLoader, once made, raises the death of a worker wherever the main thread happens to be."""
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, before)


def shared_memory(nbytes: int) -> torch.Tensor:
    """``(nbytes,)`` uint8 that another process can have without a copy.

    Raises:
        LoaderError: if there is no room for it.
    """
    try:
        return torch.empty(nbytes, dtype=torch.uint8).share_memory_()
    except (RuntimeError, OSError) as error:
        cause = f"there is no room for a batch of {_megabytes(nbytes)} ({error})"
        raise LoaderError(SHARED_MEMORY, cause, MORE_ROOM) from error


def _megabytes(nbytes: int) -> str:
    return f"{nbytes / 1e6:.3g} MB"
