"""Worker processes that map a function over tasks, in order, and that cannot hang or be left behind."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import mmap
import multiprocessing
import os
import pickle
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar

from frl.children import worker_server
from frl.errors import FrlError, InternalError, MachineError, WriteError, explained
from frl.machine import cores

Task = TypeVar("Task")
Result = TypeVar("Result")

CHUNK = 16
"""Tasks sent at a time, where they are few or slow: a message costs as much as several small images."""
SHARES = 32
"""Chunks that each worker gets at least, before they grow: so that in the end none waits long for another."""
AHEAD = 4
"""Chunks per worker begun before the oldest result is taken: what bounds the memory."""
POLL_S = 0.2
"""Seconds between two looks at whether to go on waiting."""
QUEUED = 2
"""Chunks a worker holds, so that it never waits for the next."""
OUTBOX_BYTES = 2 << 20
"""Memory in which a worker leaves the results of a chunk; larger ones go through its pipe."""


@dataclass(frozen=True)
class _Failure:
    """A task that raised, sent in place of its chunk's results; its index in the chunk, -1 before the first task."""

    index: int
    error: FrlError


class _Chunk(NamedTuple):
    """Tasks that travel together."""

    number: int
    tasks: Sequence[Any]


class _Left(NamedTuple):
    """Where in the outbox the results of a chunk lie, sent in their place."""

    start: int
    stop: int


class _Outbox:
    """Memory that a worker shares with its parent: one part for each chunk that it may hold, used in turn.

    What is left there is copied once each way, where a pipe would copy it four times. A chunk is sent only after the
    results of the one ``QUEUED`` before it were taken, so no part is written to before it was read. The memory has no
    name, and is gone with the last process that holds it.
    """

    def __init__(self, file: int | None = None) -> None:
        self._file = os.memfd_create("results") if file is None else file
        try:
            os.ftruncate(self._file, QUEUED * OUTBOX_BYTES)
        except OSError:
            os.close(self._file)
            raise
        self._memory = mmap.mmap(self._file, QUEUED * OUTBOX_BYTES)
        self._start = 0

    def __reduce__(self) -> tuple[Callable[[Any], _Outbox], tuple[Any]]:
        return _open_outbox, (reduction.DupFd(self._file),)

    def leave(self, results: list[Any]) -> _Left | list[Any]:
        """Put results into the next part, and say where; the results themselves if they do not fit."""
        pickled = pickle.dumps(results, pickle.HIGHEST_PROTOCOL)
        start, stop = self._start, self._start + len(pickled)
        self._start = (start + OUTBOX_BYTES) % (QUEUED * OUTBOX_BYTES)
        if len(pickled) > OUTBOX_BYTES:
            return results
        self._memory[start:stop] = pickled
        return _Left(start, stop)

    def take(self, left: _Left) -> list[Any]:
        """The results that were left."""
        with memoryview(self._memory) as memory, memory[left.start : left.stop] as part:
            results: list[Any] = pickle.loads(part)
        return results

    def close(self) -> None:
        """Let go of it."""
        self._memory.close()
        os.close(self._file)


def _open_outbox(file: Any) -> _Outbox:
    return _Outbox(file.detach())


@dataclass
class _Worker:
    """One process, its end of the pipe, and the chunks it was given, oldest first."""

    process: ForkServerProcess
    connection: Connection
    outbox: _Outbox | None
    current: Any  # ctypes.c_longlong in shared memory: the index, in its chunk, of the task at hand
    chunks: deque[_Chunk]


class WorkerPool(Generic[Task, Result]):
    """``count`` processes that each call ``start()`` once and then the function it returned for every task.

    A context manager: when it ends, for whatever reason, its processes are gone. When this process is killed, they end
    by themselves. They are forked from a server that has only imported the module of ``start``, and does so from here
    on, while the caller goes about its business. ``start``, tasks and results must be picklable.

    Args:
        start: makes the function; runs in the worker.
        count: worker processes; 0: one for each core this process may use.
        name: what to call a task in an error.
        weight: how much of a chunk a task fills, 1 by default; for tasks that carry data.
        most: tasks sent at a time, where there are many: 64, say, of quick ones.
        patience_s: seconds without any result after which the workers are given up.
        check: called several times a second while results are awaited; may raise, to stop.

    Raises:
        MachineError: if no process can be started here.
    """

    def __init__(
        self,
        start: Callable[[], Callable[[Task], Result]],
        *,
        count: int = 0,
        name: Callable[[Task], str] = str,
        weight: Callable[[Task], float] = lambda task: 1,
        most: int = CHUNK,
        patience_s: float = 300,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._start = start
        self._count = count or cores()
        self._name = name
        self._weight = weight
        self._most = most
        self._patience_s = patience_s
        self._check = check
        self._workers: list[_Worker] = []
        self._context = multiprocessing.get_context("forkserver")
        worker_server().prepare(start.__module__)

    def __enter__(self) -> Self:
        for _ in range(self._count):
            ours, theirs = self._context.Pipe()
            current = self._context.RawValue(ctypes.c_longlong, -1)
            outbox = None
            with contextlib.suppress(OSError):  # where files may not be so large (ulimit -f), all goes through the pipe
                outbox = _Outbox()
            process = worker_server().start(_serve, self._start, theirs, outbox, current)
            theirs.close()
            self._workers.append(_Worker(process, ours, outbox, current, deque()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join(timeout=5)
            worker.connection.close()
            if worker.outbox is not None:
                worker.outbox.close()
        self._workers.clear()

    def map(self, tasks: Iterable[Task], total: int = 0) -> Iterator[Result]:
        """Yield the results in the order of ``tasks``, which are only taken as results are.

        Args:
            tasks: what to do.
            total: how many there are about, if that is known.

        Raises:
            FrlError: what a task raised, if it was one of these.
            MachineError, InternalError: naming the task, if it raised anything else.
            WriteError: naming the task, if a worker died over it, or if it takes for ever.
            Whatever ``check`` raises.
        """
        full = min(self._most, max(CHUNK, total // (SHARES * len(self._workers))))
        chunks = self._chunks(tasks, full)
        done: dict[int, list[Result]] = {}
        taken, waiting = 0, next(chunks, None)
        while waiting or any(worker.chunks for worker in self._workers) or done:
            while waiting and waiting.number < taken + AHEAD * len(self._workers) and self._send(waiting):
                waiting = next(chunks, None)
            if taken in done:
                yield from done.pop(taken)
                taken += 1
            else:
                done.update(self._receive())

    def _chunks(self, tasks: Iterable[Task], full: int) -> Iterator[_Chunk]:
        number, chunk, weight = 0, [], 0.0
        for task in tasks:
            chunk.append(task)
            weight += self._weight(task)
            if weight >= full:
                yield _Chunk(number, chunk)
                number, chunk, weight = number + 1, [], 0.0
        if chunk:
            yield _Chunk(number, chunk)

    def _send(self, chunk: _Chunk) -> bool:
        """Give a chunk to the worker that has least to do; False if all have enough."""
        worker = min(self._workers, key=lambda worker: len(worker.chunks))
        if len(worker.chunks) == QUEUED:
            return False
        worker.chunks.append(chunk)
        # The pipe of a dead worker is broken; _receive finds that too, and knows what to say.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            worker.connection.send(chunk.tasks)
        return True

    def _receive(self) -> Iterator[tuple[int, list[Result]]]:
        """Wait for chunks of results, and yield each with its number."""
        ready = self._wait()
        if not ready:
            names = ", ".join(self._task_at_hand(worker) for worker in self._workers if worker.chunks)
            raise WriteError(
                names, f"no worker has finished anything for {self._patience_s:g} s", "Look at these files."
            )
        for worker in self._workers:
            if worker.connection not in ready:
                continue
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                raise self._death(worker) from None
            if isinstance(message, _Failure):
                raise self._blame(worker, message)
            results = worker.outbox.take(message) if worker.outbox and isinstance(message, _Left) else message
            yield worker.chunks.popleft().number, results

    def _wait(self) -> Sequence[Any]:
        """The connections from which there is something to receive; none if that takes for ever."""
        connections = [worker.connection for worker in self._workers]
        deadline = time.monotonic() + self._patience_s
        while True:
            self._check()
            ready = wait(connections, min(POLL_S, self._patience_s))
            if ready or time.monotonic() >= deadline:
                return ready

    def _blame(self, worker: _Worker, failure: _Failure) -> FrlError:
        if not isinstance(failure.error, MachineError | InternalError):
            return failure.error
        at = self._name(worker.chunks[0].tasks[failure.index]) if failure.index >= 0 else "a worker process"
        return failure.error.within(at)

    def _death(self, worker: _Worker) -> WriteError:
        worker.process.join(timeout=5)
        code = worker.process.exitcode
        cause = (
            f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with status {code}"
        )
        return WriteError(
            self._task_at_hand(worker),
            f"its worker process was {cause}",
            "If the system was out of memory, use fewer --workers; else look at this file.",
        )

    def _task_at_hand(self, worker: _Worker) -> str:
        # Before the first chunk begins the index is -1: then the task at hand is its first.
        return self._name(worker.chunks[0].tasks[max(0, worker.current.value)]) if worker.chunks else "no image at hand"


def _serve(
    start: Callable[[], Callable[[Any], Any]], connection: Connection, outbox: _Outbox | None, current: Any
) -> None:
    """The life of a worker."""
    inbox: queue.SimpleQueue[Sequence[Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, inbox), daemon=True).start()
    try:
        function = start()
        gc.freeze()  # what is there now stays: no collection has to look at it
        while True:
            results = []
            for current.value, task in enumerate(inbox.get()):
                results.append(function(task))
            current.value = 0  # valid in the next chunk, too
            connection.send(outbox.leave(results) if outbox else results)
    except Exception as error:
        doing = "preparing it" if current.value >= 0 else "its start"
        connection.send(_Failure(current.value, explained(error, doing)))


def _listen(connection: Connection, inbox: queue.SimpleQueue[Sequence[Any]]) -> None:
    """Take in tasks at any time, so that the parent never blocks on us; the end of the pipe is the parent's end."""
    while True:
        try:
            inbox.put(connection.recv())
        except (EOFError, OSError):
            os._exit(1)
