"""COFW (Burgos-Artizzu et al., "Robust face landmark estimation under occlusion", ICCV 2013): images and points in one
MATLAB file of version 7.3, which is HDF5.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frl.beton.targets import TargetSpec
from frl.errors import SourceError, blame_machine
from frl.tasks.layouts.files import as_png
from frl.tasks.layouts.layout import AnnotatedFace, Rectangle
from frl.tasks.layouts.schemes import COFW29, bounds, points_fault

FILES = {"train": ("COFW_train_color.mat", "Tr"), "test": ("COFW_test_color.mat", "T")}
"""The file of each split, and how its variables end: IsTr, phisTr and bboxesTr."""

REMEDY = "Give the folder that holds COFW_train_color.mat and COFW_test_color.mat."
Place = tuple[str, int]


@dataclass(frozen=True)
class COFW:
    """29 points, of which some are hidden. The first 845 of the training faces are LFPW's.

    MATLAB's arrays lie transposed in HDF5, and it counts pixels from 1. Some images are grey.

    Attributes:
        location: holds the two files.
    """

    location: str

    published = {"train": 1345, "test": 507}

    @property
    def splits(self) -> tuple[str, ...]:
        """Those whose file is there."""
        there = tuple(split for split, (file, _) in FILES.items() if os.path.isfile(self._path(file)))
        if not there:
            raise SourceError(self.location, "holds no COFW_train_color.mat or COFW_test_color.mat", REMEDY)
        return there

    @property
    def specs(self) -> tuple[TargetSpec, ...]:
        """The points, and which of them are seen."""
        return COFW29.points(), COFW29.visible()

    def faces(self, split: str) -> Iterator[AnnotatedFace]:
        """The faces by their number; see ``Layout``."""
        file, end = FILES[split]
        path, count = self._path(file), COFW29.count
        with _open(path) as stored:
            rows = _table(path, stored, f"phis{end}", 3 * count)
            boxes = _table(path, stored, f"bboxes{end}", 4) if f"bboxes{end}" in stored else [None] * len(rows)
            images = stored.get(f"Is{end}")
            if images is None or images.size != len(rows) or len(boxes) != len(rows):
                cause = f"holds {0 if images is None else images.size} images, {len(rows)} rows of points"
                raise SourceError(path, f"{cause} and {len(boxes)} boxes", "Fetch it again.")
        for number, (row, box) in enumerate(zip(rows, boxes, strict=True)):
            points = row[: 2 * count].reshape(2, count).T - 1
            hidden = row[2 * count :]
            fault = points_fault(points)
            if not np.isin(hidden, (0, 1)).all():
                fault = "a flag of occlusion that is neither 0 nor 1"
            rectangle = bounds(points) if box is None or not (box[2:] > 0).all() else Rectangle(*(box - [1, 1, 0, 0]))
            yield AnnotatedFace(
                name=f"{split}/{number + 1:04}.png",
                place=(split, number),
                box=rectangle,
                targets={"landmarks": points, "visible": 1 - hidden} if fault is None else {},
                fault=None if fault is None else f"{file}, phis{end}, row {number + 1}: {fault}",
            )

    def read(self, place: Place) -> bytes:
        """An image, encoded as PNG; see ``Layout``."""
        split, number = place
        file, end = FILES[split]
        with _open(self._path(file)) as stored:
            try:
                pixels = stored[stored[f"Is{end}"][()].ravel()[number]][()]
            except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
                blame_machine(error, f"reading {file}")
                raise ValueError(f"{file} holds no readable image {number + 1} ({error})") from None
        return as_png(np.ascontiguousarray(pixels.T))

    def _path(self, file: str) -> str:
        return os.path.join(self.location, file)


def _open(path: str) -> Any:
    """The file, open as HDF5.

    Raises:
        SourceError: it is none, or h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise SourceError("h5py", "is not installed", "Install it: pip install h5py.") from error
    try:
        return h5py.File(path, "r", locking=False)
    except (OSError, RuntimeError, ValueError) as error:
        blame_machine(error, f"reading {path}")
        raise SourceError(path, f"is no MATLAB file of version 7.3 ({error})", "Fetch it again.") from error


def _table(path: str, stored: Any, name: str, columns: int) -> NDArray[np.float64]:
    """A matrix of MATLAB's with so many columns, a row a face.

    Raises:
        SourceError: there is none.
    """
    try:
        table = np.asarray(stored[name][()], np.float64).T
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        blame_machine(error, f"reading {path}")
        raise SourceError(path, f"holds no matrix {name} ({error})", "Fetch it again.") from error
    if table.ndim != 2 or table.shape[1] != columns:
        raise SourceError(path, f"its {name} has the shape {table.shape}, not (faces, {columns})", "Fetch it again.")
    return table
