"""Work ahead of the consumer on a thread, with a bound on how far, and an end to every wait."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from frl.errors import LoaderError

S = TypeVar("S")
T = TypeVar("T")
POLL = 0.1  # seconds between two looks at whether the other side is still there
PATIENCE = 10.0  # seconds for the thread to finish the item at hand; if storage hangs, it is left behind


@dataclass(frozen=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True)
class _End:
    error: BaseException | None


def prefetch(source: Iterable[T], depth: int, timeout: float = 300.0) -> Iterator[T]:
    """Yield the items of ``source``, which a thread computes up to ``depth`` ahead.

    An exception of the source is raised here, after the items before it. A consumer that stops early (``close``,
    garbage collection, an exception in its loop) stops the thread.

    Args:
        source: iterated on the thread.
        depth: finished items that may wait, at least 1.
        timeout: seconds to wait for one item.

    Raises:
        LoaderError: if an item takes longer than ``timeout``.
    """
    ready: queue.Queue[_Item[T] | _End] = queue.Queue(maxsize=max(1, depth))
    stop = threading.Event()

    def put(message: _Item[T] | _End) -> None:
        while not stop.is_set():
            try:
                return ready.put(message, timeout=POLL)
            except queue.Full:
                continue

    def produce() -> None:
        try:
            for value in source:
                put(_Item(value))
                if stop.is_set():
                    return
        except BaseException as error:
            put(_End(error))
        else:
            put(_End(None))

    thread = threading.Thread(target=produce, name="frl-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            message = _take(ready, thread, timeout)
            if isinstance(message, _End):
                if message.error is not None:
                    raise message.error
                return
            yield message.value
            del message  # the consumer alone decides how long an item lives
    finally:
        stop.set()
        thread.join(timeout=PATIENCE)


def overlapped(work: Callable[[S], T], items: Iterable[S], at_once: int = 2) -> Iterator[T]:
    """``map``, but the next call has begun before the last one has ended: nobody waits for the slowest of its workers.

    An exception, of a call or of ``items``, is raised after the results before it.
    """
    with ThreadPoolExecutor(at_once, thread_name_prefix="frl-overlap") as pool:
        begun: deque[Future[T]] = deque()
        left, end = iter(items), None
        while begun or end is None:
            while end is None and len(begun) < at_once:
                try:
                    begun.append(pool.submit(work, next(left)))
                except Exception as error:  # StopIteration is one
                    end = error
            if begun:
                yield begun.popleft().result()
        if not isinstance(end, StopIteration):
            raise end


def _take(ready: queue.Queue[_Item[T] | _End], thread: threading.Thread, timeout: float) -> _Item[T] | _End:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            return ready.get(timeout=POLL)
        except queue.Empty:
            if not thread.is_alive() and ready.empty():
                raise LoaderError("the prefetch thread", "it ended without a word", "Please report this.") from None
    raise LoaderError(
        "the next batch",
        f"it was not decoded within {timeout:g} s",
        "Check that the storage answers (dmesg, a network mount), then resume.",
    )
