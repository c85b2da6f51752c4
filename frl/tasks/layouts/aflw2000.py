"""AFLW2000-3D (Zhu et al., "Face Alignment Across Large Poses", CVPR 2016): 2,000 faces with 68 points in space."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frl.beton.targets import TargetSpec
from frl.errors import SourceError
from frl.tasks.layouts.files import files, first_file, read_array, read_image, read_matlab, without_image
from frl.tasks.layouts.layout import AnnotatedFace
from frl.tasks.layouts.schemes import IBUG68, bounds
from frl.tasks.layouts.w300lp import POSE, fault_of, pose_of, space_points

AGAIN = "AFLW2000-3D-Reannotated.pts68.npy"
PLACES = (AGAIN, f"test.configs/{AGAIN}", f"../test.configs/{AGAIN}", f"../{AGAIN}")
"""Where the second annotation may lie, which 3DDFA's authors publish in test.configs."""

REMEDY = "Give the folder of image00002.jpg and so on, each with its .mat beside."


@dataclass(frozen=True)
class Aflw2000:
    """Each image has a ``.mat`` beside it. The split says which points are the truth, for papers use either.

    ``test`` has the original ``pt3d_68``. ``test-reannotated`` has the points that were annotated anew, without depth,
    in the order of the sorted names. The two differ by 3.4 % of the face's size on average.

    Attributes:
        location: holds the images.
    """

    location: str

    published = {"test": 2000, "test-reannotated": 2000}

    @property
    def splits(self) -> tuple[str, ...]:
        """The second one only if its points are there."""
        if not files(self.location):
            raise SourceError(self.location, "holds no image", REMEDY)
        return ("test", "test-reannotated") if first_file(self.location, *PLACES) else ("test",)

    @property
    def specs(self) -> tuple[TargetSpec, ...]:
        """The points in space, and the pose."""
        return IBUG68.points3d(), POSE

    def faces(self, split: str) -> Iterator[AnnotatedFace]:
        """The faces by name; see ``Layout``."""
        images = files(self.location)
        again = self._again(len(images)) if split == "test-reannotated" else [None] * len(images)
        for image, points in zip(images, again, strict=True):
            yield self._face(image, points)
        for name in without_image(files(self.location, frozenset({".mat"})), images):
            yield AnnotatedFace(name=name, fault=f"there is no image beside {name}")

    def read(self, place: str) -> bytes:
        """The image's bytes; see ``Layout``."""
        return read_image(os.path.join(self.location, place))

    def _face(self, image: str, points: NDArray[np.float64] | None) -> AnnotatedFace:
        stem = os.path.splitext(image)[0]
        try:
            known = read_matlab(os.path.join(self.location, f"{stem}.mat"), "Fetch it again.")
            space = space_points(known) if points is None else points
            targets = {"landmarks3d": space, "pose": pose_of(known)}
        except (SourceError, ValueError) as error:
            return AnnotatedFace(name=image, place=image, fault=fault_of(f"{stem}.mat", error))
        return AnnotatedFace(name=image, place=image, box=bounds(space), targets=targets)

    def _again(self, count: int) -> NDArray[np.float64]:
        """The points of the second annotation, (count, 68, 3); their depth is unknown.

        Raises:
            SourceError: they are not of so many images.
        """
        path = os.path.normpath(os.path.join(self.location, first_file(self.location, *PLACES) or AGAIN))
        try:
            found = read_array(path).astype(np.float64)
        except ValueError as error:
            raise SourceError(path, str(error), "Fetch it again.") from error
        if found.shape != (count, 2, IBUG68.count) or not np.isfinite(found).all():
            cause = f"has the shape {found.shape}, where {count} images lie"
            raise SourceError(path, cause, "It is of all 2,000 images in the order of their names: add the others.")
        flat = found.transpose(0, 2, 1)
        return np.concatenate([flat, np.full((*flat.shape[:2], 1), np.nan)], axis=2)
