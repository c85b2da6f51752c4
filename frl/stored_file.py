"""One file of an object store, read in any order and by several processes, all of which must see the same version."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from frl import store
from frl.errors import StoreError

BLOCK = 64 << 10
"""Bytes asked for at a time at least: an image or two. Larger ones save few requests, and fetch much for nothing."""
KEPT = 1024
"""Blocks that a reader keeps: 64 MiB."""
NEAR = 64 << 10
"""Bytes between two ranges that are fetched with them rather than asked around."""
MEMORY = "memory://"
"""The store that lies in one process."""


@dataclass(frozen=True)
class StoredFile:
    """A file as it was when it was first looked at. It can be pickled; what lies in ``memory://`` then goes with it.

    Attributes:
        where: its address.
        state: by what it is known to be the same.
        content: all of it if other processes do not see it, else None.
    """

    where: str
    state: store.State
    content: bytes | None = field(default=None, repr=False)

    @classmethod
    def now(cls, where: str) -> StoredFile:
        """The file as it is now.

        Raises:
            StoreError: if it is not there, may not be read, or the store does not answer.
        """
        state = store.state(where)
        return cls(where, state, store.read(where, absent=False) if where.startswith(MEMORY) else None)

    def confirm(self) -> None:
        """See to it that it is still the same.

        Raises:
            StoreChanged: if it is not.
            StoreError: if it is gone, or the store does not answer.
        """
        if self.content is None:
            store.require_same(self.where, self.state)

    def read(self, start: int, nbytes: int) -> bytes:
        """Some of its bytes.

        Raises:
            StoreChanged: if they cannot be read because the file is another now.
            StoreError: if the store does not give them.
        """
        if self.content is not None:
            return self.content[start : start + nbytes]
        try:
            return store.read(self.where, start, nbytes, absent=False)
        except StoreError:
            self.confirm()
            raise

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Several ranges, given by first byte and size; what lies near each other is asked for at once.

        Raises: as ``read``.
        """
        runs: list[list[int]] = []
        for start, nbytes in sorted(filter(lambda part: part[1], ranges)):
            if runs and start <= runs[-1][1] + NEAR:
                runs[-1][1] = max(runs[-1][1], start + nbytes)
            else:
                runs.append([start, start + nbytes])
        fetched = [(start, self.read(start, stop - start)) for start, stop in runs]
        found = []
        for start, nbytes in ranges:
            first, data = max((part for part in fetched if part[0] <= start), default=(start, b""))
            found.append(data[start - first : start - first + nbytes])
        return found

    def open(self) -> BinaryIO:
        """It as an open file of Python's.

        Raises:
            StoreChanged: if it is another now.
        """
        self.confirm()
        return cast(BinaryIO, io.BytesIO(self.content) if self.content is not None else _Blocks(self))


class _Blocks(io.RawIOBase):
    """A file read block by block; those used last are kept."""

    def __init__(self, file: StoredFile) -> None:
        self._file = file
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position; nothing is fetched."""
        self._position = offset + (0, self._position, self._file.state.size)[whence]
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, but for what is behind the end: HDF5's library does not look whether it was filled."""
        start = self._position
        stop = max(start, min(start + len(buffer), self._file.state.size))
        while self._position < stop:
            number, begin = divmod(self._position, BLOCK)
            part = self._block(number, -(-stop // BLOCK))[begin : begin + stop - self._position]
            buffer[self._position - start : self._position - start + len(part)] = part
            self._position += len(part)
        return stop - start

    def _block(self, number: int, stop: int) -> bytes:
        """A block. One that is not here is fetched with those behind it that are wanted, too, up to ``stop``."""
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        last = number + 1
        while last < min(stop, number + store.PART // BLOCK) and last not in self._blocks:
            last += 1
        nbytes = min(last * BLOCK, self._file.state.size) - number * BLOCK
        data = self._file.read(number * BLOCK, nbytes)
        for index in range(number, last):
            self._blocks[index] = data[(index - number) * BLOCK : (index - number + 1) * BLOCK]
        while len(self._blocks) > max(KEPT, last - number):
            self._blocks.popitem(last=False)
        return self._blocks[number]
