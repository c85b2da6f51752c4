"""Files that appear under their names complete or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from frl.files import InUseError, try_lock

GATHERED_BYTES = 1 << 19
GATHERED_PIECES = 1024
"""What is held back at most of what is written piece behind piece: Linux takes so many at once (IOV_MAX)."""


class PartialFile:
    """A file that grows under a temporary name, hidden beside its final one, until it is published.

    Pieces that follow each other are gathered, and written together: by then, for whoever reads the file by another
    way, or needs to know that the disk took them, ``flush`` has to be called. ``sync`` and ``publish`` do.

    The temporary name of a path is always the same, and a lock that dies with its process guards it: a later run
    takes over what a killed one left, and two runs cannot write one file. Raises OSError like any file.

    Args:
        final: its name to be.
        keep: whether to begin with what an earlier run left, rather than empty.

    Raises:
        InUseError: another process is writing this file.
    """

    def __init__(self, final: Path, *, keep: bool = False) -> None:
        self.final = final
        self.path = partial_path(final)
        self._gathered: list[bytes] = []
        self._gathered_at = self._gathered_stop = 0  # where in the file
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            self._lock()
            self.size = os.fstat(self._file).st_size
            if not keep:
                self.truncate(0)
        except BaseException:
            self.close()
            raise

    def _lock(self) -> None:
        try:
            ours = try_lock(self._file) and os.path.samestat(os.fstat(self._file), os.stat(self.path))
        except FileNotFoundError:
            ours = False
        # The other writer may have published the file between our opening and our locking it.
        if not ours:
            raise InUseError

    def fileno(self) -> int:
        """The open descriptor of a file in which everything is that was written."""
        self.flush()
        return self._file

    def append(self, data: bytes | memoryview) -> None:
        """Write at the end."""
        self.write_at(data, self.size)

    def write_at(self, data: bytes | memoryview, offset: int) -> None:
        """Write all of ``data`` at ``offset``; a gap before it reads as zeros."""
        nbytes = len(data) if type(data) is bytes else memoryview(data).nbytes
        if offset != self._gathered_stop or nbytes >= GATHERED_BYTES:
            self.flush()
            self._gathered_at = offset
        self._gathered_stop = stop = offset + nbytes
        if stop > self.size:
            self.size = stop
        if nbytes >= GATHERED_BYTES:
            self._gathered_at = stop
            self._write(data, offset)
            return
        self._gathered.append(data if type(data) is bytes else bytes(data))
        if stop - self._gathered_at >= GATHERED_BYTES or len(self._gathered) == GATHERED_PIECES:
            self.flush()

    def flush(self) -> None:
        """Hand to the system what is held back."""
        pieces, offset, stop = self._gathered, self._gathered_at, self._gathered_stop
        self._gathered, self._gathered_at = [], stop
        if pieces and (written := os.pwritev(self._file, pieces, offset)) < stop - offset:
            self._write(b"".join(pieces)[written:], offset + written)  # a disk that is full says so when asked again

    def _write(self, data: bytes | memoryview, offset: int) -> None:
        rest = memoryview(data).cast("B")
        while rest:
            written = os.pwrite(self._file, rest, offset)
            rest, offset = rest[written:], offset + written

    def read_at(self, nbytes: int, offset: int) -> bytes:
        """So many bytes from ``offset`` on; fewer where the file ends."""
        self.flush()
        blocks = []
        while nbytes and (block := os.pread(self._file, nbytes, offset)):
            blocks.append(block)
            nbytes, offset = nbytes - len(block), offset + len(block)
        return b"".join(blocks)

    def truncate(self, size: int) -> None:
        """Cut off what lies behind ``size``."""
        self.flush()
        os.ftruncate(self._file, size)
        self.size = size

    def sync(self) -> None:
        """Wait until the disk has the content."""
        self.flush()
        os.fsync(self._file)

    def publish(self) -> None:
        """Give the file its final name, replacing what is there; follow with ``frl.files.fsync_folder``."""
        self.flush()
        os.rename(self.path, self.final)
        self.close()

    def discard(self) -> None:
        """Remove the temporary file, whatever state it is in; nothing happens to a published one."""
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(self._file), os.stat(self.path)):
                os.unlink(self.path)
        self.close()

    def close(self) -> None:
        """Leave the file as it is, for a later run."""
        # The number of a closed descriptor may soon be another file's, so it is forgotten.
        file, self._file = self._file, -1
        with contextlib.suppress(OSError):
            os.close(file)


def partial_path(final: Path) -> Path:
    """The temporary name of a path."""
    return final.with_name(f".{final.name}.partial")
