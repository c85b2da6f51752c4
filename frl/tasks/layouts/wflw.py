"""WFLW (Wu et al., "Look at Boundary", CVPR 2018): lists of 98 points, a box and six flags of each face."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from frl.beton.targets import Kind, TargetSpec
from frl.errors import SourceError
from frl.tasks.layouts.files import first_file, first_folder, join, numbers, read_image, read_lines
from frl.tasks.layouts.layout import AnnotatedFace, Counted, Rectangle
from frl.tasks.layouts.schemes import WFLW98, points_fault

SUBSETS = ("pose", "expression", "illumination", "make-up", "occlusion", "blur")
FOLDERS = (
    "WFLW_annotations/list_98pt_rect_attr_train_test",
    "annotations/list_98pt_rect_attr_train_test",
    "list_98pt_rect_attr_train_test",
    "",
)
NUMBERS = 2 * WFLW98.count + 4 + len(SUBSETS)
"""Of a line: x and y of each point, left, top, right and bottom of the box, the flags; the path follows."""

REMEDY = "Give the folder that holds WFLW_images and WFLW_annotations/list_98pt_rect_attr_train_test."


@dataclass(frozen=True)
class WFLW:
    """The lists ``list_98pt_rect_attr_{train,test}.txt``; an image may show several faces. Pixels are counted from 0.

    Attributes:
        location: holds ``WFLW_images`` and ``WFLW_annotations``, or the lists themselves.
    """

    location: str

    published = {"train": 7500, "test": 2500}

    @property
    def splits(self) -> tuple[str, ...]:
        """Those whose list is there."""
        there = tuple(split for split in self.published if self._list(split))
        if not there:
            raise SourceError(self.location, "holds no list_98pt_rect_attr_train.txt or _test.txt", REMEDY)
        return there

    @property
    def specs(self) -> tuple[TargetSpec, ...]:
        """The points, and the parts of the test set that a face is in."""
        return (WFLW98.points(), TargetSpec(name="subsets", kind=Kind.CLASS, shape=(len(SUBSETS),), names=SUBSETS))

    def faces(self, split: str) -> Iterator[AnnotatedFace]:
        """The faces by line; see ``Layout``."""
        path, name = self._list(split), Counted()
        if path is None:
            raise SourceError(self.location, f"holds no list_98pt_rect_attr_{split}.txt", REMEDY)
        for number, line in enumerate(read_lines(os.path.join(self.location, path), REMEDY), 1):
            if line.strip():
                yield self._face(f"{os.path.basename(path)}, line {number}", line, name)

    def read(self, place: str) -> bytes:
        """The image's bytes; see ``Layout``."""
        return read_image(os.path.join(self.location, place))

    def _list(self, split: str) -> str | None:
        return first_file(self.location, *(join(folder, f"list_98pt_rect_attr_{split}.txt") for folder in FOLDERS))

    @cached_property
    def _images(self) -> str:
        return first_folder(self.location, "WFLW_images", "images") or ""

    def _face(self, where: str, line: str, name: Counted) -> AnnotatedFace:
        tokens = line.split(maxsplit=NUMBERS)
        image = tokens[-1].strip()
        named, place = name(image), join(self._images, image)
        try:
            if len(tokens) != NUMBERS + 1:
                raise ValueError(f"{len(tokens)} columns instead of {NUMBERS + 1}")
            known = np.array(numbers(tokens[:NUMBERS]))
            points, (left, top, right, bottom), flags = np.split(known, [2 * WFLW98.count, NUMBERS - len(SUBSETS)])
            if fault := points_fault(known):
                raise ValueError(fault)
            if right <= left or bottom <= top:
                raise ValueError("a box without an area")
            if not np.isin(flags, (0, 1)).all():
                raise ValueError(f"a flag that is neither 0 nor 1 among {', '.join(SUBSETS)}")
        except ValueError as error:
            return AnnotatedFace(name=named, place=place, fault=f"{where}: {error}")
        return AnnotatedFace(
            name=named,
            place=place,
            box=Rectangle(float(left), float(top), float(right - left), float(bottom - top)),
            targets={"landmarks": points.reshape(-1, 2), "subsets": flags.astype(np.int64)},
        )
