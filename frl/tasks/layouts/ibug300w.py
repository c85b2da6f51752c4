"""300-W (Sagonas et al., "300 Faces In-The-Wild Challenge", 2016): images, each with a ``.pts`` of 68 points beside."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frl.beton.targets import Kind, TargetSpec
from frl.errors import SourceError
from frl.tasks.layouts.files import files, join, numbers, read_image, read_lines
from frl.tasks.layouts.layout import AnnotatedFace
from frl.tasks.layouts.schemes import IBUG68, bounds, points_fault

PARTS = {
    "afw": ("train",),
    "helen/trainset": ("train",),
    "lfpw/trainset": ("train",),
    "helen/testset": ("common", "full"),
    "lfpw/testset": ("common", "full"),
    "ibug": ("challenging", "full"),
}
"""The folders, and the splits that each belongs to."""

SUBSETS = ("common", "challenging")

REMEDY = "Give the folder that holds afw, helen, ibug and lfpw, or a folder of images with a .pts beside each."


@dataclass(frozen=True)
class Ibug300W:
    """The four data sets as ibug.doc.ic.ac.uk serves them, or any folder of images and ``.pts`` files.

    Attributes:
        location: holds ``afw``, ``helen/{trainset,testset}``, ``lfpw/{trainset,testset}`` and ``ibug``, or the images.
    """

    location: str

    published = {"train": 3148, "common": 554, "challenging": 135, "full": 689}

    @property
    def splits(self) -> tuple[str, ...]:
        """The published ones as far as their folders are there; of a plain folder ``all``."""
        there = {split for part in self._parts for split in PARTS[part]}
        if there:
            return tuple(split for split in self.published if split in there)
        if not files(self.location, frozenset({".pts"})):
            raise SourceError(self.location, "holds neither the folders of 300-W nor a .pts file", REMEDY)
        return ("all",)

    @property
    def specs(self) -> tuple[TargetSpec, ...]:
        """The points, and which part of the test set a face is in."""
        subsets = TargetSpec(name="subsets", kind=Kind.CLASS, shape=(len(SUBSETS),), names=SUBSETS)
        return (IBUG68.points(), subsets) if self._parts else (IBUG68.points(),)

    def faces(self, split: str) -> Iterator[AnnotatedFace]:
        """The faces by folder and file name; see ``Layout``."""
        parts = [part for part in self._parts if split in PARTS[part]] if self._parts else [""]
        for part in parts:
            known = {}
            if part:
                known["subsets"] = np.array([subset in PARTS[part] for subset in SUBSETS], np.int64)
            yield from self._part(part, known)

    def read(self, place: str) -> bytes:
        """The image's bytes; see ``Layout``."""
        return read_image(os.path.join(self.location, place))

    @property
    def _parts(self) -> list[str]:
        return [part for part in PARTS if os.path.isdir(os.path.join(self.location, part))]

    def _part(self, part: str, known: Mapping[str, NDArray[np.int64]]) -> Iterator[AnnotatedFace]:
        folder = os.path.join(self.location, part)
        # dlib's copy of the data holds mirrored twins of all images.
        annotated = {os.path.splitext(name)[0]: name for name in files(folder, frozenset({".pts"}))}
        images = {os.path.splitext(name)[0]: name for name in files(folder)}
        for stem in sorted(annotated.keys() | images.keys()):
            if stem.endswith("_mirror"):
                continue
            name = join(part, images.get(stem, annotated.get(stem, "")))
            if stem not in images:
                yield AnnotatedFace(name=name, fault=f"there is no image beside {name}")
            elif stem not in annotated:
                yield AnnotatedFace(name=name, place=name, fault=f"there is no {stem}.pts beside it")
            else:
                yield self._face(name, join(part, annotated[stem]), known)

    def _face(self, name: str, annotation: str, known: Mapping[str, NDArray[np.int64]]) -> AnnotatedFace:
        try:
            points = read_points(os.path.join(self.location, annotation))
        except (SourceError, ValueError) as error:
            return AnnotatedFace(name=name, place=name, fault=str(error))
        return AnnotatedFace(name=name, place=name, box=bounds(points), targets={"landmarks": points, **known})


def read_points(path: str) -> NDArray[np.float64]:
    """The 68 points of a ``.pts`` file, (68, 2), counted from 0; the file counts pixels from 1, as MATLAB does.

    Raises:
        SourceError: it cannot be read.
        ValueError: it has another form; the message names the line.
    """
    lines = [line.strip() for line in read_lines(path, "Fetch it again.")]
    name = os.path.basename(path)
    try:
        first, last = lines.index("{") + 1, lines.index("}")
    except ValueError:
        raise ValueError(f"{name} has no points between braces") from None
    points = []
    for number, line in enumerate(lines[first:last], first + 1):
        try:
            x, y = numbers(line.split())
        except ValueError as error:
            cause = error if "number" in str(error) else f"{len(line.split())} numbers instead of x and y"
            raise ValueError(f"{name}, line {number}: {cause}") from None
        points.append((x - 1, y - 1))
    if len(points) != IBUG68.count:
        raise ValueError(f"{name} has {len(points)} points, not {IBUG68.count}")
    found = np.array(points)
    if fault := points_fault(found):
        raise ValueError(f"{name} has {fault}")
    return found
