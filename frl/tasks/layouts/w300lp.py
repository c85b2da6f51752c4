"""300W-LP (Zhu et al., "Face Alignment Across Large Poses", CVPR 2016): faces turned by a 3D model, with their pose."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frl.beton.targets import Kind, TargetSpec
from frl.errors import SourceError
from frl.tasks.layouts.files import files, join, read_image, read_matlab, without_image
from frl.tasks.layouts.layout import AnnotatedFace
from frl.tasks.layouts.schemes import IBUG68, bounds
from frl.tasks.metrics.rotation import angles, matrices_300wlp

PARTS = ("AFW", "HELEN", "IBUG", "LFPW")
POSE = TargetSpec(name="pose", kind=Kind.VECTOR, shape=(3,), names=("yaw", "pitch", "roll"))
"""Degrees: positive yaw moves the nose to the image's right, pitch lifts it, roll turns the head clockwise; first yaw,
then pitch, then roll, as everywhere in frl."""

REMEDY = "Give the folder that holds AFW, HELEN, IBUG and LFPW, each image with a .mat beside."


@dataclass(frozen=True)
class W300LP:
    """Each image has a ``.mat`` beside it; the names of a photograph's views end in their number.

    ``landmarks`` are the file's ``pt2d``, which slide along the visible outline. ``landmarks3d`` are ``pt3d_68``, or
    ``pts_3d`` of ``landmarks/AFW/..._pts.mat`` whose depth is unknown, or unknown. The subject is the photograph:
    nobody knows who is on it.

    Attributes:
        location: holds the folders of images, those mirrored in ``AFW_Flip`` and so on, and perhaps ``landmarks``.
    """

    location: str

    published = {"train": 122450, "train-unflipped": 61225}

    @property
    def splits(self) -> tuple[str, ...]:
        """All images, and those that are no mirrored ones."""
        if not any(os.path.isdir(os.path.join(self.location, part)) for part in PARTS):
            raise SourceError(self.location, "holds none of AFW, HELEN, IBUG and LFPW", REMEDY)
        return tuple(self.published)

    @property
    def specs(self) -> tuple[TargetSpec, ...]:
        """The points on the image and in space, and the pose."""
        return IBUG68.points(), IBUG68.points3d(), POSE

    def faces(self, split: str) -> Iterator[AnnotatedFace]:
        """The faces by folder and name; see ``Layout``."""
        for part in PARTS if split == "train-unflipped" else (*PARTS, *(f"{part}_Flip" for part in PARTS)):
            folder = os.path.join(self.location, part)
            images = files(folder)
            for image in images:
                yield self._face(part, image)
            for name in without_image(files(folder, frozenset({".mat"})), images):
                yield AnnotatedFace(name=join(part, name), fault=f"there is no image beside {join(part, name)}")

    def read(self, place: str) -> bytes:
        """The image's bytes; see ``Layout``."""
        return read_image(os.path.join(self.location, place))

    def _face(self, part: str, image: str) -> AnnotatedFace:
        place, stem = join(part, image), os.path.splitext(image)[0]
        try:
            known = read_matlab(os.path.join(self.location, part, f"{stem}.mat"), "Fetch it again.")
            targets = {"landmarks": flat_points(known), "pose": pose_of(known)}
            space = self._space(part, stem, known)
            if space is not None:
                targets["landmarks3d"] = space
        except (SourceError, ValueError) as error:
            return AnnotatedFace(name=place, place=place, fault=fault_of(f"{stem}.mat", error))
        return AnnotatedFace(
            name=place,
            place=place,
            box=bounds(targets["landmarks"] if space is None else space),
            subject=re.sub(r"_\d+$", "", stem),
            targets=targets,
        )

    def _space(self, part: str, stem: str, known: dict[str, Any]) -> NDArray[np.float64] | None:
        """The points in space, (68, 3), or None."""
        if "pt3d_68" in known:
            return space_points(known)
        path = os.path.join(self.location, "landmarks", part.removesuffix("_Flip"), f"{stem}_pts.mat")
        if not os.path.isfile(path) or part.endswith("_Flip"):
            return None
        points = matrix(read_matlab(path, "Fetch it again."), "pts_3d", (IBUG68.count, 2)) - 1
        return np.column_stack([points, np.full(IBUG68.count, np.nan)])


def matrix(known: dict[str, Any], name: str, shape: tuple[int, int]) -> NDArray[np.float64]:
    """A matrix of a MATLAB file.

    Raises:
        ValueError: there is none, or it has another shape or a number that is not finite.
    """
    if name not in known:
        raise ValueError(f"it holds no {name}")
    try:
        found = np.asarray(known[name], np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"its {name} is no matrix of numbers") from None
    if found.shape != shape:
        raise ValueError(f"its {name} has the shape {found.shape}, not {shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"its {name} has a number that is not finite")
    return found


def flat_points(known: dict[str, Any]) -> NDArray[np.float64]:
    """``pt2d`` as (68, 2), counted from 0 where MATLAB counts from 1; NaN where it says (-1, -1), unknown."""
    points = matrix(known, "pt2d", (2, IBUG68.count)).T
    return np.where((points == -1).all(axis=1, keepdims=True), np.nan, points - 1)


def space_points(known: dict[str, Any]) -> NDArray[np.float64]:
    """``pt3d_68`` as (68, 3): x and y counted from 0, and depth towards the camera."""
    return matrix(known, "pt3d_68", (3, IBUG68.count)).T - [1, 1, 0]


def pose_of(known: dict[str, Any]) -> NDArray[np.float64]:
    """``Pose_Para`` as yaw, pitch and roll in degrees, (3,).

    The file has pitch, yaw and roll in radians, of a frame whose y points upwards and whose positive yaw moves the nose
    to the image's left, and turns by roll first, then by yaw, then by pitch. These are the angles of the same head in
    our order, in which a turned image adds to the roll; ``to_300wlp`` leads back.
    """
    if "Pose_Para" not in known:
        raise ValueError("it holds no Pose_Para")
    given = np.ravel(known["Pose_Para"])
    if given.size != 7 or given.dtype.kind not in "fiu" or not np.isfinite(given[:3]).all():
        raise ValueError(f"its Pose_Para is {given.tolist()}, not seven finite numbers")
    if np.abs(given[:3]).max() > 2 * np.pi:
        raise ValueError(f"its Pose_Para begins with {given[:3].tolist()}, which are no radians")
    pitch, yaw, roll = np.degrees(given[:3].astype(np.float64))
    return angles(matrices_300wlp(np.array([[-yaw, pitch, roll]])))[0]


def fault_of(file: str, error: Exception) -> str:
    """What is wrong with one face, whose file could not be understood.

    Raises:
        SourceError: the error is about no file, but about a package that is missing.
    """
    if isinstance(error, SourceError) and not os.path.isabs(error.subject):
        raise error
    return str(error) if isinstance(error, SourceError) else f"{file}: {error}"
