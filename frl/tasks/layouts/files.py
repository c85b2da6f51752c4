"""Read the files of benchmarks: lists, images, MATLAB's files; what is wrong with one is said of it."""

from __future__ import annotations

import csv
import io
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frl.errors import SourceError, blame_machine, is_fault_of_machine
from frl.images.names import IMAGE_SUFFIXES

DAMAGED = (OSError, EOFError, LookupError, NotImplementedError, TypeError, ValueError, zlib.error)
"""What decoders raise over bytes that are not theirs."""

LARGEST_IMAGE = 128 << 20
"""Bytes of an encoded image that are read into memory."""


def read_image(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file.

    Raises:
        OSError: it is not there, may not be read, or the disk fails.
        ValueError: it is no regular file, or larger than an image.
    """
    # A pipe would make whoever opens it wait for somebody to write into it, perhaps for ever.
    with open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("no regular file")
        if status.st_size > LARGEST_IMAGE:
            raise ValueError(f"{status.st_size / 1e6:,.0f} MB, which is no image")
        return file.readall()


def as_png(pixels: NDArray[Any]) -> bytes:
    """Grey ``(H, W)`` or RGB ``(H, W, 3)`` pixels, uint8, as a PNG.

    Raises:
        ValueError: they have another type or shape.
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)) or not pixels.size:
        raise ValueError(f"pixels of type {pixels.dtype} and shape {pixels.shape}")
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def read_lines(path: str | os.PathLike[str], remedy: str) -> list[str]:
    """The lines of a text file.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        blame_machine(error, f"reading {path}")
        raise SourceError(path, f"cannot be read ({error})", remedy) from error


def read_rows(path: str | os.PathLike[str], remedy: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row of a CSV that holds anything.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            rows = csv.reader(stream, skipinitialspace=True)
            for row in rows:
                if row:
                    yield rows.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        blame_machine(error, f"reading {path}")
        raise SourceError(path, f"cannot be read ({error})", remedy) from error


def read_matlab(path: str | os.PathLike[str], remedy: str) -> dict[str, Any]:
    """The variables of a MATLAB file of version 7 or older.

    Raises:
        SourceError: it cannot be read, or scipy is not installed.
    """
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise SourceError("scipy", "is not installed", "Install it: pip install scipy.") from error
    try:
        return dict(loadmat(os.fspath(path)))
    except (
        MatReadError,
        OSError,
        EOFError,
        LookupError,
        NotImplementedError,
        TypeError,
        ValueError,
        zlib.error,
    ) as error:
        blame_machine(error, f"reading {path}")
        raise SourceError(path, f"is no readable MATLAB file ({error})", remedy) from error


def read_array(path: str | os.PathLike[str]) -> NDArray[Any]:
    """An array in numpy's format; what would need to run code is refused.

    Raises:
        ValueError: it is absent, damaged, or holds objects.
    """
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        blame_machine(error, f"reading {path}")
        raise ValueError(f"{os.path.basename(path)} cannot be read ({error})") from None


def folders(path: str | os.PathLike[str]) -> list[str]:
    """The names of the folders in a folder, sorted; empty if there is no such folder."""
    return sorted(entry.name for entry in _scan(path) if os.path.isdir(entry.path))


def files(path: str | os.PathLike[str], suffixes: frozenset[str] = IMAGE_SUFFIXES) -> list[str]:
    """The names of the files in a folder with one of these suffixes, sorted; empty if there is no such folder.

    A link that leads nowhere is among them: who reads it says so.
    """
    return sorted(
        entry.name
        for entry in _scan(path)
        if os.path.splitext(entry.name)[1].lower() in suffixes and not entry.name.startswith(".") and _is_listed(entry)
    )


def _is_listed(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError as error:  # of a link that leads to itself
        if is_fault_of_machine(error):
            raise
        return True


def without_image(annotations: Iterable[str], images: Iterable[str]) -> list[str]:
    """Those of some files beside which no image of their name lies."""
    stems = {os.path.splitext(image)[0] for image in images}
    return [name for name in annotations if os.path.splitext(name)[0] not in stems]


def first_folder(location: str, *names: str) -> str | None:
    """The first of these folders below a location that is there, as a path relative to it; ``""`` is itself."""
    return next((name for name in names if os.path.isdir(os.path.join(location, name))), None)


def first_file(location: str, *names: str) -> str | None:
    """The first of these files below a location that is there, likewise."""
    return next((name for name in names if os.path.isfile(os.path.join(location, name))), None)


def join(*parts: str) -> str:
    """Parts of a path with slashes, without the empty ones."""
    return "/".join(part for part in parts if part)


def _scan(path: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as listing:
            return list(listing)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        blame_machine(error, f"listing {path}")
        raise SourceError(path, f"cannot be listed ({error.strerror})", "Check its permissions.") from error


def numbers(texts: list[str]) -> list[float]:
    """Texts as numbers.

    Raises:
        ValueError: one of them says none; it is named.
    """
    found = []
    for text in texts:
        try:
            found.append(float(text))
        except ValueError:
            raise ValueError(f"{text.strip()[:40]!r} is no number") from None
    return found
