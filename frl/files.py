"""Files that are either whole or absent, and who may write them."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from frl.errors import NO_ROOM, WriteError

LOOK_S = 0.2
"""Seconds between two looks at whether another process is done."""


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` that becomes ``path`` when the block ends without an exception.

    The bytes are on the disk before the name appears, so a crash at any moment leaves the old file or the new one.
    After an exception the temporary file is gone and ``path`` is untouched. Where there is no room, the error names
    ``path``, which the system's own does not.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(temporary, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        fsync_folder(path.parent)
    except OSError as error:
        if error.errno in NO_ROOM:
            error.filename = error.filename or os.fspath(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def require_room_for_folder(target: Path) -> None:
    """Refuse a path at which no folder can appear complete, by being renamed to it: a new one, or an empty one's.

    Raises:
        WriteError: something is there, or what the system lets no folder replace, which it would say at the end only.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise WriteError(target, "exists already and is not an empty folder", "Name a folder that is new or empty.")
    if target.is_symlink():
        raise WriteError(target, "is a link, in whose place no folder can be put", "Name a new folder.")
    if os.path.ismount(target):
        raise WriteError(target, "is where a file system is mounted, which no folder replaces", "Name one in it.")
    if target.exists() and target.samefile(os.curdir):
        raise WriteError(target, "is the folder in which the command runs", "Name a new folder in it.")


class InUseError(BlockingIOError):
    """Another process holds the file or folder."""

    remedy = "Wait until it has ended, or end it; then run the command again."

    def __init__(self) -> None:
        super().__init__("another process is writing it")


def try_lock(file: int) -> bool:
    """Lock an open file or folder for this process until it is closed; whether nobody else holds it.

    A file gets a record lock: unlike flock, it works on network folders and does not live on in forked workers that
    outlive a killed parent. A folder has no records, and gets flock's. Either dies with its process.
    """
    lock = fcntl.flock if stat.S_ISDIR(os.fstat(file).st_mode) else fcntl.lockf
    try:
        lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def lock_within(file: int, seconds: float) -> bool:
    """``try_lock`` for so many seconds, until whoever holds the file lets go of it or dies."""
    deadline = time.monotonic() + seconds
    while not try_lock(file):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_S)
    return True


def wait_until_free(path: Path, seconds: float) -> bool:
    """Wait until no other process holds a file that ``try_lock`` locks; whether that came true in so many seconds."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        return lock_within(file, seconds)
    finally:
        os.close(file)


def fsync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
