"""Read files, or parts of them, so that what is wrong with one is said of it alone."""

from __future__ import annotations

import os

from writers.reject import Reject

LARGEST_FILE = 128 << 20
"""Bytes of an encoded image that are read into memory; photographs are far smaller."""


def read_file(path: str) -> bytes:
    """The bytes of one file.

    Raises:
        Reject: if it is absent, may not be read, or is no image by its size.
        OSError: if the disk fails.
    """
    try:
        # Unbuffered: the size is known, so one read takes it all.
        with open(path, "rb", buffering=0) as file:
            if fault := too_large(os.fstat(file.fileno()).st_size):
                raise Reject(fault)
            return file.readall()
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as error:
        raise Reject(f"cannot be read: {error.strerror}") from error


def read_at(path: str, offset: int, nbytes: int) -> bytes:
    """A part of a file.

    Raises:
        Reject: if the file ends within it.
        OSError: if the file cannot be opened, or the disk fails.
    """
    with open(path, "rb", buffering=0) as file:
        data = os.pread(file.fileno(), nbytes, offset)
    if len(data) < nbytes:
        raise Reject("its archive ends within it")
    return data


def too_large(nbytes: int) -> str | None:
    """Why a file of so many bytes is not read, or None if it is."""
    return f"{nbytes / 1e6:,.0f} MB, more than {LARGEST_FILE / 1e6:,.0f} MB" if nbytes > LARGEST_FILE else None
