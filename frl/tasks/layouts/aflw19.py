"""AFLW with 19 points (Koestinger et al., 2011; points of Zhu et al., CVPR 2016): ``AFLWinfo_release.mat``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frl.beton.targets import Kind, TargetSpec
from frl.errors import SourceError
from frl.tasks.layouts.files import first_folder, join, read_image, read_matlab
from frl.tasks.layouts.layout import AnnotatedFace, Counted, Rectangle
from frl.tasks.layouts.schemes import AFLW19, FACE_BOX, corners, points_fault

INFO = "AFLWinfo_release.mat"
TRAIN = 20_000
"""So many of the first faces of the published order are for training."""

REMEDY = f"Give the folder that holds {INFO} and data/flickr/{{0,2,3}}."


@dataclass(frozen=True)
class Aflw:
    """Faces in the published order ``ra``, the first 20,000 for training. Errors are divided by the root of the area of
    the box.

    ``bbox`` is left, right, top, bottom; ``data`` 19 x, then 19 y; ``mask_new`` tells which points are seen. A frontal
    face is one of which all are.

    Attributes:
        location: holds ``AFLWinfo_release.mat``, and the images in ``data/flickr`` or ``flickr``.
    """

    location: str

    published = {"train": TRAIN, "test": 4386}

    @property
    def splits(self) -> tuple[str, ...]:
        """Both, for one file describes them."""
        if not os.path.isfile(os.path.join(self.location, INFO)):
            raise SourceError(self.location, f"holds no {INFO}", REMEDY)
        return tuple(self.published)

    @property
    def specs(self) -> tuple[TargetSpec, ...]:
        """The points, which of them are seen, the box, and whether a face is frontal."""
        frontal = TargetSpec(name="subsets", kind=Kind.CLASS, shape=(1,), names=("frontal",))
        return AFLW19.points(), AFLW19.visible(), FACE_BOX, frontal

    def faces(self, split: str) -> Iterator[AnnotatedFace]:
        """The faces in the published order; see ``Layout``."""
        path = os.path.join(self.location, INFO)
        info = read_matlab(path, "Fetch it again.")
        boxes, data, seen, order = self._tables(path, info)
        names = [str(np.ravel(cell)[0]) if np.size(cell) else "" for cell in np.ravel(info["nameList"])]
        root = first_folder(self.location, "data/flickr", "flickr") or ""
        counted = Counted()
        for index in order[:TRAIN] if split == "train" else order[TRAIN:]:
            left, right, top, bottom = boxes[index].tolist()
            points = data[index].reshape(2, AFLW19.count).T
            box, fault = Rectangle(left, top, right - left, bottom - top), points_fault(points)
            if not (box.width > 0 and box.height > 0):
                fault = f"a box without an area, {left:g} to {right:g} across, {top:g} to {bottom:g} down"
            elif not np.isin(seen[index], (0, 1)).all():
                fault = "a flag of visibility that is neither 0 nor 1"
            elif not names[index]:
                fault = "no name of an image"
            targets = {
                "landmarks": points,
                "visible": seen[index],
                "face_box": corners(box),
                "subsets": np.array([seen[index].all()], np.int64),
            }
            yield AnnotatedFace(
                name=counted(names[index] or f"(row {index + 1})"),
                place=join(root, names[index]),
                box=None if fault else box,
                targets={} if fault else targets,
                fault=f"{INFO}, row {index + 1}: {fault}" if fault else None,
            )

    def read(self, place: str) -> bytes:
        """The image's bytes; see ``Layout``."""
        return read_image(os.path.join(self.location, place))

    def _tables(
        self, path: str, info: dict[str, NDArray]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Boxes, points, visibility, and the order of the faces, counted from 0.

        Raises:
            SourceError: one is missing or has another shape.
        """
        if missing := [name for name in ("bbox", "data", "mask_new", "nameList", "ra") if name not in info]:
            raise SourceError(path, f"holds no {missing[0]}", "Fetch it again.")
        count = np.size(info["nameList"])
        shapes = {"bbox": (count, 4), "data": (count, 2 * AFLW19.count), "mask_new": (count, AFLW19.count)}
        for name, shape in shapes.items():
            if info[name].shape != shape:
                raise SourceError(path, f"its {name} has the shape {info[name].shape}, not {shape}", "Fetch it again.")
        order = np.ravel(info["ra"]).astype(np.int64) - 1
        if not np.array_equal(np.sort(order), np.arange(count)):
            raise SourceError(path, f"its ra is no order of the {count} faces", "Fetch it again.")
        boxes, data, seen = (info[name].astype(np.float64) for name in shapes)
        return boxes, data, seen, order
