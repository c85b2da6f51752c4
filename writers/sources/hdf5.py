"""HDF5 as the paper's code reads it (Bulat et al., "Pre-training strategies and datasets for facial representation
learning", ECCV 2022): ``images`` holds encoded files, one variable-length row of uint8 each.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any

from frl.errors import SourceError
from writers.reject import Reject
from writers.sources.labels import person
from writers.sources.source import Candidate

ROWS = 1 << 14
"""Names of folders read at a time."""


class HDF5Rows:
    """The store of the rows of ``images``; every process opens the file for itself.

    Attributes:
        location: the file.
    """

    def __init__(self, location: str) -> None:
        self.location = location

    def read(self, place: int) -> bytes:
        """The bytes of a row; see ``Store``."""
        try:
            return self.file["images"][place].tobytes()
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            # Of a cause that a program could tell apart, HDF5 says no more than the system's error number, in its text.
            if number := re.search(r"errno = (\d+)", str(error)):
                raise OSError(int(number[1]), os.strerror(int(number[1])), self.location) from error
            raise Reject(f"its row cannot be read: {error}") from error

    @cached_property
    def file(self) -> Any:
        """The open file, checked.

        Raises:
            SourceError: if it has another layout, or h5py is not installed.
        """
        try:
            import h5py
        except ImportError as error:
            raise SourceError("h5py", "is not installed", "Install it: pip install h5py.") from error
        try:
            file = h5py.File(self.location, "r", locking=False)
            images = file.get("images")
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise SourceError(self.location, f"cannot be opened as HDF5 ({error})", "Fetch it again.") from error
        remedy = "Give a file whose data set 'images' has a row of variable-length uint8 for each encoded image."
        if not isinstance(images, h5py.Dataset):
            raise SourceError(self.location, f"has no data set 'images', only {sorted(file)}", remedy)
        if images.ndim != 1 or h5py.check_vlen_dtype(images.dtype) != "uint8":
            raise SourceError(self.location, f"its 'images' are {images.dtype} of shape {images.shape}", remedy)
        return file

    def __reduce__(self) -> tuple[type[HDF5Rows], tuple[str]]:
        return type(self), (self.location,)


@dataclass(frozen=True)
class HDF5:
    """The rows of a file by number; who is on them stands in ``foldernames``, where that is there."""

    store: HDF5Rows

    def candidates(self) -> Iterator[Candidate]:
        """List the rows; see ``Source``."""
        for row, folder in enumerate(self._folders()):
            try:
                yield Candidate(f"{row:08}", row, person(folder))
            except ValueError as error:
                yield Candidate(f"{row:08}", row, fault=str(error))

    def remarks(self) -> Iterator[str]:
        """Which data sets are not read though they have a value for each image; see ``Remarking``."""
        file = self.store.file
        others = sorted(name for name in file.keys() - {"images", "foldernames"} if _per_image(file, name))
        if others:
            yield f"{self.store.location}: {', '.join(others)} not read; who is on an image is read from foldernames"

    def _folders(self) -> Iterator[Any]:
        """What the file says of who is on each row."""
        count = len(self.store.file["images"])
        folders = self.store.file.get("foldernames")
        if folders is None:
            yield from repeat(None, count)
            return
        if folders.shape != (count,):
            cause = f"has {count} images, but foldernames of shape {folders.shape}"
            raise SourceError(self.store.location, cause, "Give a name for each image, or remove foldernames.")
        for first in range(0, count, ROWS):
            for folder in folders[first : first + ROWS].tolist():
                yield folder.decode("utf-8", "surrogateescape") if isinstance(folder, bytes) else folder


def _per_image(file: Any, name: str) -> bool:
    """Whether a data set has a value for each image."""
    return getattr(file[name], "shape", None) is not None and file[name].shape[:1] == file["images"].shape
