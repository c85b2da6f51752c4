"""Read files, or parts of them, so that what is wrong with one is said of it alone."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, TextIO

from frl import store
from frl.content import first_bytes, stand_in
from frl.errors import ABOUT_A_PATH, SourceError
from frl.stored_file import StoredFile
from writers.reject import Reject

LARGEST_FILE = 128 << 20
"""Bytes of an encoded image that are read into memory; photographs are far smaller."""

_BLOCK = 1 << 20

_OF_ONE_FILE = (*ABOUT_A_PATH, errno.ENXIO)
"""Errors of the system that are about a file and not about the disk; the last is that of a socket."""


def read_file(path: str) -> bytes:
    """The bytes of one file.

    Raises:
        Reject: if it is absent, may not be read, has a name that no file can have, or is no image by its size.
        OSError: if the disk fails.
        StoreError: if an object store does not give it.
    """
    if address := store.address(path):
        return _fetched(address)
    return read_local(path)


def read_local(path: str) -> bytes:
    """The bytes of one file of this machine; raises like ``read_file``.

    By the system's own calls: of a small file, Python's ``open`` costs as much as its reading.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise reject_of(error) from error
    except ValueError as error:  # a zero byte in its name, or half of a character
        raise Reject(f"cannot be read: {error}") from error
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            is_folder = stat.S_ISDIR(found.st_mode)
            raise Reject(f"cannot be read: {os.strerror(errno.EISDIR)}" if is_folder else "no regular file")
        if fault := too_large(found.st_size):
            raise Reject(fault)
        data = os.read(file, found.st_size + 1)  # the byte too many says that the file has not grown
        if len(data) != found.st_size:
            data += b"".join(iter(lambda: os.read(file, _BLOCK), b""))
        return data
    finally:
        os.close(file)


def reject_of(error: OSError) -> Reject:
    """Why a file alone cannot be read.

    Raises:
        OSError: the error itself, if it is the disk's.
    """
    if error.errno not in _OF_ONE_FILE:
        raise error
    return Reject(f"cannot be read: {error.strerror}")


def _fetched(address: str) -> bytes:
    """The bytes of a file of an object store; raises like ``read_file``."""
    try:
        data = store.read(address, 0, None)
    except FileNotFoundError as error:
        raise Reject("cannot be read: No such file") from error
    except PermissionError as error:
        raise Reject(f"cannot be read: {error}") from error
    if fault := too_large(len(data)):
        raise Reject(fault)
    return data


def read_head(path: str, nbytes: int) -> bytes:
    """The first bytes of a file, fewer where it is shorter.

    Raises:
        Reject: if it is no regular file.
        OSError: if it is absent or may not be read, or the disk fails.
    """
    with open(path, "rb", buffering=0, opener=_open_regular) as file:
        return file.read(nbytes)


def _open_regular(path: str, flags: int) -> int:
    """Open what is a file. To open a pipe would wait for somebody to write into it, perhaps for ever."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # of a folder, open says so itself
        os.close(descriptor)
        raise Reject("no regular file")
    return descriptor


def read_at(path: str, offset: int, nbytes: int) -> bytes:
    """A part of a file.

    Raises:
        Reject: if the file ends within it.
        OSError: if the file cannot be opened, or the disk fails.
        StoreError: if an object store does not give it.
    """
    if address := store.address(path):
        return store.read(address, offset, nbytes)
    with open(path, "rb", buffering=0) as file:
        data = os.pread(file.fileno(), nbytes, offset)
    if len(data) < nbytes:
        raise Reject("its archive ends within it")
    return data


def open_list_text(path: str | os.PathLike[str]) -> TextIO:
    """A text of this machine or of an object store, UTF-8 with or without a mark; line ends stay as they are.

    Raises:
        OSError: if it cannot be read.
        SourceError: if it is a pointer or a page that came in its place.
    """
    if address := store.address(path):
        return store.open_text(address)
    if content := stand_in(first_bytes(Path(path))):
        raise SourceError(path, f"is no list: it is {content.what}", f"{content.remedy}.")
    return open(path, newline="", encoding="utf-8-sig")


def open_binary(path: str) -> BinaryIO:
    """A file of this machine or of an object store, to be read in any order.

    Raises:
        OSError: if it is absent or may not be read, or the disk fails.
        StoreError: if an object store does not give it.
    """
    if address := store.address(path):
        return StoredFile.now(address).open()
    return open(path, "rb")


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a regular file, here or in an object store."""
    address = store.address(path)
    return store.is_file(address) if address else os.path.isfile(path)


def too_large(nbytes: int) -> str | None:
    """Why a file of so many bytes is not read, or None if it is."""
    return f"{nbytes / 1e6:,.0f} MB, more than {LARGEST_FILE / 1e6:,.0f} MB" if nbytes > LARGEST_FILE else None
