"""HDF5 as the paper's code reads it (Bulat et al., "Pre-training strategies and datasets for facial representation
learning", ECCV 2022): ``images`` holds encoded files, one variable-length row of uint8 each.
"""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any

from frl import store
from frl.content import in_place_of
from frl.errors import SourceError
from frl.stored_file import StoredFile
from writers.reject import Reject
from writers.sources.labels import person
from writers.sources.source import Candidate

ROWS = 1 << 14
"""Names of folders read at a time."""


class HDF5Rows:
    """The store of the rows of ``images``; every process opens the file for itself.

    Attributes:
        location: the file.
        version: which one it must be, if it lies in an object store.
    """

    def __init__(self, location: str, version: StoredFile | None = None) -> None:
        self.location = location
        self.version = version

    def read(self, place: int) -> bytes:
        """The bytes of a row; see ``Store``."""
        try:
            return self.file["images"][place].tobytes()
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            self.blame_others(error)
            raise Reject(f"its row cannot be read: {error}") from error

    @cached_property
    def file(self) -> Any:
        """The open file, checked.

        Raises:
            SourceError: if it has another layout, or h5py is not installed.
            StoreError: if an object store does not give it.
        """
        try:
            import h5py
        except ImportError as error:
            raise SourceError("h5py", "is not installed", "Install it: pip install h5py.") from error
        try:
            file = h5py.File(self.location if self.version is None else self.version.open(), "r", locking=False)
            images = file.get("images")
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            self._confirm()
            usual = f"cannot be opened as HDF5 ({error})", "Fetch it again."
            raise SourceError(self.location, *(in_place_of("HDF5 file", Path(self.location)) or usual)) from error
        weakref.finalize(self, file.close)  # HDF5 would close it when Python's objects are gone, and crash
        remedy = "Give a file whose data set 'images' has a row of variable-length uint8 for each encoded image."
        if not isinstance(images, h5py.Dataset):
            raise SourceError(self.location, f"has no data set 'images', only {sorted(file)}", remedy)
        if images.ndim != 1 or h5py.check_vlen_dtype(images.dtype) != "uint8":
            raise SourceError(self.location, f"its 'images' are {images.dtype} of shape {images.shape}", remedy)
        return file

    def blame_others(self, error: Exception) -> None:
        """Before the file is blamed: see to it that it was neither replaced nor its disk that failed.

        Raises:
            StoreChanged: if it is another now.
            OSError: if the disk failed.
        """
        self._confirm()
        # Of a cause that a program could tell apart, HDF5 says no more than the system's error number, in its text.
        if number := re.search(r"errno = (\d+)", str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1])), self.location) from error

    def _confirm(self) -> None:
        if self.version is not None:
            self.version.confirm()

    def __reduce__(self) -> tuple[type[HDF5Rows], tuple[str, StoredFile | None]]:
        return type(self), (self.location, self.version)


def open_hdf5(path: str) -> HDF5:
    """The source of a file, here or in an object store.

    Raises:
        StoreError: if a store does not know it.
    """
    address = store.address(path)
    return HDF5(HDF5Rows(path, StoredFile.now(address) if address else None))


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
        if folders is None and "foldernames" not in list(self.store.file):  # which has links that lead nowhere, too
            yield from repeat(None, count)
            return
        shape = getattr(folders, "shape", None)
        if shape != (count,):
            said = "that are no data set" if shape is None else f"of shape {shape}"
            cause = f"has {count} images, but foldernames {said}"
            raise SourceError(self.store.location, cause, "Give a name for each image, or remove foldernames.")
        for first in range(0, count, ROWS):
            try:
                names = folders[first : first + ROWS].tolist()
            except (OSError, RuntimeError, ValueError) as error:
                self.store.blame_others(error)
                cause = f"its foldernames cannot be read ({error})"
                raise SourceError(self.store.location, cause, "Fetch it again.") from error
            for folder in names:
                yield folder.decode("utf-8", "surrogateescape") if isinstance(folder, bytes) else folder


def _per_image(file: Any, name: str) -> bool:
    """Whether a data set has a value for each image."""
    shape = getattr(file.get(name), "shape", None)  # a group has none, nor a link that leads nowhere
    return shape is not None and shape[:1] == file["images"].shape
