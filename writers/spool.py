"""Bring samples that arrive in a stream's order into the order of the file, in little memory."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from frl.errors import REMEDIES, WriteError

BUCKETS = 256
"""Temporary files; one of them at a time is held in memory: a 256th of the data set."""

BUFFER_BYTES = 1 << 16
"""Of each bucket, so that its pieces are written in large blocks."""


class Spool:
    """Results put aside by their rank, to be taken in ascending ranks: a bucket sort on the disk.

    Everything is written once and read once, from front to back. The buckets are files without a name, so nothing is
    left behind, whatever happens. A context manager.

    Args:
        count: ranks are below this.
        target: the file for which they are put aside; the buckets lie in its folder.
    """

    def __init__(self, count: int, target: Path) -> None:
        self._count = count
        self._target = target
        self._loaded = -1
        self._results: dict[int, Any] = {}

    def __enter__(self) -> Self:
        with self._errors(), ExitStack() as stack:
            folder = self._target.parent
            self._buckets = [
                stack.enter_context(tempfile.TemporaryFile(dir=folder, buffering=BUFFER_BYTES)) for _ in range(BUCKETS)
            ]
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bucket in self._buckets:
            with suppress(OSError):  # what was not written yet is of no use, nor is a full disk's complaint
                bucket.close()

    def put(self, rank: int, result: Any) -> None:
        """Put the result of one rank aside.

        Raises:
            WriteError: if the disk takes no more.
        """
        with self._errors():
            pickle.dump((rank, result), self._buckets[self._bucket(rank)], pickle.HIGHEST_PROTOCOL)

    def take(self, rank: int) -> Any:
        """The result of a rank. Ranks must not descend.

        Raises:
            KeyError: if there is none.
            WriteError: if the disk fails.
        """
        number = self._bucket(rank)
        if number != self._loaded:
            with self._errors():
                self._results = dict(_load(self._buckets[number]))
            self._loaded = number
        return self._results.pop(rank)

    def _bucket(self, rank: int) -> int:
        return rank * BUCKETS // self._count

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            cause = f"samples could not be put aside in its folder ({error.strerror})"
            remedy = REMEDIES.get(error.errno or 0, "Check the disk (dmesg)")
            raise WriteError(
                self._target, cause, f"{remedy}: it needs room for about twice the file, and {BUCKETS} open files."
            ) from error


def _load(bucket: Any) -> Iterator[tuple[int, Any]]:
    bucket.seek(0)
    while True:
        try:
            yield pickle.load(bucket)
        except EOFError:
            return
