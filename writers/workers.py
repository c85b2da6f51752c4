"""Worker processes that map a function over a list, in order, and that cannot hang or be left behind."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from frl.errors import FrlError, WriteError

Task = TypeVar("Task")
Result = TypeVar("Result")

CHUNK = 16
"""Tasks sent at a time: a message costs as much as a small image."""
AHEAD = 4
"""Chunks per worker begun before the oldest result is taken: what bounds the memory."""
QUEUED = 2
"""Chunks a worker holds, so that it never waits for the next."""


@dataclass(frozen=True)
class _Failure:
    """A task that raised, sent in place of its chunk's results."""

    index: int
    error: FrlError | str


@dataclass
class _Worker:
    """One process, its end of the pipe, and the chunks it was given, oldest first."""

    process: ForkServerProcess
    connection: Connection
    current: Any  # ctypes.c_longlong in shared memory: the index of the task at hand
    chunks: list[int]


class WorkerPool(Generic[Task, Result]):
    """``count`` processes that each call ``start()`` once and then the function it returned for every task.

    A context manager: when it ends, for whatever reason, its processes are gone. When this process is killed, they end
    by themselves. They are forked from a server that has only imported the program: ``start``, tasks and results must
    be picklable.

    Args:
        start: makes the function; runs in the worker.
        count: worker processes; 0: one for each core this process may use.
        name: what to call a task in an error.
        patience_s: seconds without any result after which the workers are given up.
    """

    def __init__(
        self,
        start: Callable[[], Callable[[Task], Result]],
        *,
        count: int = 0,
        name: Callable[[Task], str] = str,
        patience_s: float = 300,
    ) -> None:
        self._start = start
        self._count = count or len(os.sched_getaffinity(0))
        self._name = name
        self._patience_s = patience_s
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("forkserver")
        for _ in range(self._count):
            ours, theirs = context.Pipe()
            current = context.RawValue(ctypes.c_longlong, -1)
            process = context.Process(target=_serve, args=(self._start, theirs, current), daemon=True)
            process.start()
            theirs.close()
            self._workers.append(_Worker(process, ours, current, []))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join(timeout=5)
            worker.connection.close()
        self._workers.clear()

    def map(self, tasks: Sequence[Task]) -> Iterator[Result]:
        """Yield the results in the order of ``tasks``.

        Raises:
            FrlError: what a task raised, if it was one of these.
            WriteError: naming the task, if it raised anything else, if a worker died over it, or if it takes for ever.
        """
        chunks = -(-len(tasks) // CHUNK)
        done: dict[int, list[Result]] = {}
        sent = 0
        for taken in range(chunks):
            while taken not in done:
                while sent < min(chunks, taken + AHEAD * len(self._workers)) and self._send(sent, tasks):
                    sent += 1
                done.update(self._receive(tasks))
            yield from done.pop(taken)

    def _send(self, chunk: int, tasks: Sequence[Task]) -> bool:
        """Give a chunk to the worker that has least to do; False if all have enough."""
        worker = min(self._workers, key=lambda worker: len(worker.chunks))
        if len(worker.chunks) == QUEUED:
            return False
        worker.chunks.append(chunk)
        first = chunk * CHUNK
        # The pipe of a dead worker is broken; _receive finds that too, and knows what to say.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            worker.connection.send((first, tasks[first : first + CHUNK]))
        return True

    def _receive(self, tasks: Sequence[Task]) -> Iterator[tuple[int, list[Result]]]:
        """Wait for chunks of results, and yield each with its number."""
        ready = wait([worker.connection for worker in self._workers], self._patience_s)
        if not ready:
            names = ", ".join(self._task_at_hand(worker, tasks) for worker in self._workers if worker.chunks)
            raise WriteError(
                names, f"no worker has finished anything for {self._patience_s:g} s", "Look at these files."
            )
        for worker in self._workers:
            if worker.connection not in ready:
                continue
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                raise self._death(worker, tasks) from None
            if isinstance(message, _Failure):
                raise self._blame(message, tasks)
            yield worker.chunks.pop(0), message

    def _blame(self, failure: _Failure, tasks: Sequence[Task]) -> FrlError:
        if isinstance(failure.error, FrlError):
            return failure.error
        subject = self._name(tasks[failure.index]) if failure.index >= 0 else "worker process"
        return WriteError(subject, failure.error, "Mend or remove its cause, then run the command again.")

    def _death(self, worker: _Worker, tasks: Sequence[Task]) -> WriteError:
        worker.process.join(timeout=5)
        code = worker.process.exitcode
        cause = (
            f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with status {code}"
        )
        return WriteError(
            self._task_at_hand(worker, tasks),
            f"its worker process was {cause}",
            "If the system was out of memory, use fewer --workers; else look at this file.",
        )

    def _task_at_hand(self, worker: _Worker, tasks: Sequence[Task]) -> str:
        index = worker.current.value
        if index < 0 and worker.chunks:
            index = worker.chunks[0] * CHUNK  # not begun yet
        return self._name(tasks[index]) if index >= 0 else "no image at hand"


def _serve(start: Callable[[], Callable[[Any], Any]], connection: Connection, current: Any) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    inbox: queue.SimpleQueue[tuple[int, Sequence[Any]]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, inbox), daemon=True).start()
    try:
        function = start()
        while True:
            first, tasks = inbox.get()
            results = []
            for index, task in enumerate(tasks, first):
                current.value = index
                results.append(function(task))
            connection.send(results)
    except Exception as error:
        what = error if isinstance(error, FrlError) else f"{type(error).__name__}: {error}"
        connection.send(_Failure(current.value, what))


def _listen(connection: Connection, inbox: queue.SimpleQueue[tuple[int, Sequence[Any]]]) -> None:
    """Take in tasks at any time, so that the parent never blocks on us; the end of the pipe is the parent's end."""
    while True:
        try:
            inbox.put(connection.recv())
        except (EOFError, OSError):
            os._exit(1)
