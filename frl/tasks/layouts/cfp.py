"""Celebrities in Frontal-Profile (Sengupta et al., "Frontal to profile face verification in the wild", WACV 2016), in
the authors' layout.

``Data/Images/ID/{frontal,profile}/NN.jpg``, numbered by ``Protocol/Pair_list_{F,P}.txt`` (``number path``), and
``Protocol/Split/{FF,FP}/NN/{same,diff}.txt``: ``i,j`` from 1, where i is of the frontal list, and j of the frontal
list in FF and of the profile list in FP. ``Data/Fiducials/ID/.../NN.txt`` has 30 lines ``x,y`` of one half of a face:
that which a profile shows; of frontal faces the half on the image's left.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from frl.errors import SourceError
from frl.tasks.layouts.pairs import FacePairs, Pair, gather, read_lines

Protocol = Literal["FF", "FP"]

FOLDS = 10
"""Of the whole benchmark."""

REMEDY = "Give the folder that holds CFP's Protocol and Data."

EYE, NOSE_TIP, MOUTH_CORNER = slice(12, 18), 21, 25
"""Of the 30 points, from 0: the eye's outline, the tip of the nose, the corner of the mouth."""


def open_cfp(root: str | os.PathLike[str], protocol: Protocol, *, fiducials: bool = False) -> FacePairs:
    """The pairs of CFP whose folds and images are here. The lists may name people who are not.

    Args:
        root: holds ``Protocol`` and ``Data``.
        protocol: frontal with frontal, or frontal with profile.
        fiducials: read the points of each image, too.

    Raises:
        SourceError: if a list breaks its format, naming the line, or too few of the folds or images are here.
    """
    root = Path(root)
    splits = root / "Protocol" / "Split" / protocol
    try:
        folds = sorted(entry.name for entry in os.scandir(splits) if entry.name.isdigit() and os.path.isdir(entry.path))
    except OSError as error:
        raise SourceError(splits, f"cannot be listed ({error.strerror})", REMEDY) from error
    first = _image_list(root, "F")
    second = first if protocol == "FF" else _image_list(root, "P")
    pairs = [pair for number, fold in enumerate(folds) for pair in _fold(splits / fold, number, first, second)]
    remarks = []
    if len(folds) < FOLDS:
        remarks = [f"{len(folds)} of CFP's {FOLDS} folds are here ({', '.join(folds)}): not the published protocol"]
    faces = gather(pairs, root, folds=folds, where=splits, remarks=remarks)
    if not fiducials:
        return faces
    return replace(faces, points=np.stack([five_of_cfp(_fiducials(root, name)) for name in faces.names]))


def _image_list(root: Path, kind: str) -> list[Path]:
    """The images of a list in the order of their numbers, relative to the root."""
    path = root / "Protocol" / f"Pair_list_{kind}.txt"
    listed = []
    for number, line in enumerate(read_lines(path, REMEDY), 1):
        said, _, name = line.strip().partition(" ")
        inner = posixpath.normpath(posixpath.join("Protocol", name.strip()))
        if said != str(number) or not name or inner.startswith(("..", "/")):
            remedy = "Compare it with CFP's Pair_list_F.txt."
            raise SourceError(f"{path}, line {number}", f"expected '{number} ../Data/...', found {line!r}", remedy)
        listed.append(Path(inner))
    return listed


def _fold(folder: Path, fold: int, first: list[Path], second: list[Path]) -> Iterator[Pair]:
    for kind in ("same", "diff"):
        path = folder / f"{kind}.txt"
        lines = read_lines(path, "Restore the file, or remove the fold's folder to go without it.")
        if not lines:
            raise SourceError(path, "lists no pair", "Restore the file, or remove the fold's folder to go without it.")
        for number, line in enumerate(lines, 1):
            fields = [field.strip() for field in line.split(",")]
            if len(fields) != 2 or not all(field.isascii() and field.isdigit() for field in fields):
                raise SourceError(f"{path}, line {number}", f"expected 'i,j', found {line!r}", "Correct the line.")
            i, j = map(int, fields)
            if not (1 <= i <= len(first) and 1 <= j <= len(second)):
                cause = f"{line!r} is not in 1 to {len(first)} and 1 to {len(second)}, the lists' numbers"
                raise SourceError(f"{path}, line {number}", cause, "Correct the line, or restore the image lists.")
            if first[i - 1] == second[j - 1]:
                raise SourceError(f"{path}, line {number}", "pairs an image with itself", "Correct the line.")
            yield Pair(fold=fold, first=first[i - 1], second=second[j - 1], same=kind == "same")


def _fiducials(root: Path, image: str) -> NDArray[np.float64]:
    """The 30 points of an image, ``(30, 2)``; NaN where there is no file of them.

    Raises:
        SourceError: if there is one of another form.
    """
    images = Path("Data", "Images")
    if not Path(image).is_relative_to(images):
        cause = f"is not in {images}, so that it is not known where its points are"
        raise SourceError(root / image, cause, "Correct CFP's Pair_list, or do not ask for the points.")
    path = root / "Data" / "Fiducials" / Path(image).relative_to(images).with_suffix(".txt")
    if not path.exists():
        return np.full((30, 2), np.nan)
    lines = read_lines(path, "Fetch it again.")
    try:
        points = np.array([[float(number) for number in line.split(",")] for line in lines])
        if points.shape != (30, 2) or not np.isfinite(points).all():
            raise ValueError(f"{len(lines)} lines")
    except ValueError as error:
        raise SourceError(path, f"is not 30 lines 'x,y' ({error})", "Fetch it again.") from error
    return points


def five_of_cfp(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of 30 points ``(30, 2)`` the eye, the nose tip and the corner of the mouth: ``(5, 2)``, of the unseen half NaN.

    Which half of the face it is, its eye says: it lies on the other side of the nose tip.
    """
    eye, nose, mouth = points[EYE].mean(axis=0), points[NOSE_TIP], points[MOUTH_CORNER]
    five = np.full((5, 2), np.nan)
    five[2] = nose
    five[[0, 3] if eye[0] < nose[0] else [1, 4]] = eye, mouth
    return five
