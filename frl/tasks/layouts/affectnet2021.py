"""AffectNet as it is served since 2021: cropped images, and four small files of numpy's about each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from frl.beton.targets import TargetSpec
from frl.errors import SourceError
from frl.tasks.layouts.affect import VALENCE_AROUSAL, class_index, expressions, valence_arousal
from frl.tasks.layouts.affectnet import EXPRESSIONS, REMEDY
from frl.tasks.layouts.files import files, join, read_array, read_image, without_image
from frl.tasks.layouts.layout import AnnotatedFace
from frl.tasks.layouts.schemes import IBUG68, points_fault

SETS = {"train": "train_set", "val": "val_set"}
PARTS = re.compile(r"_(exp|val|aro|lnd)\.npy$")


@dataclass(frozen=True)
class AffectNet2021:
    """``images/N.jpg`` with ``annotations/N_{exp,val,aro,lnd}.npy``. The numbers are stored as texts.

    Attributes:
        location: holds ``train_set`` and ``val_set``, or ``images`` and ``annotations`` of one of them.
    """

    location: str

    published = {"val": 3999}

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that are there; ``all`` of a folder that is one of them."""
        there = tuple(split for split, folder in SETS.items() if self._is_set(folder))
        if not there and not self._is_set(""):
            raise SourceError(self.location, "holds no images beside annotations", REMEDY)
        return there or ("all",)

    @property
    def specs(self) -> tuple[TargetSpec, ...]:
        """Expression, valence and arousal, and the points."""
        return expressions(EXPRESSIONS), VALENCE_AROUSAL, IBUG68.points()

    def faces(self, split: str) -> Iterator[AnnotatedFace]:
        """The faces by number; see ``Layout``."""
        folder = SETS.get(split, "")
        images = files(os.path.join(self.location, folder, "images"))
        for image in sorted(images, key=lambda name: (len(name), name)):
            yield self._face(folder, image)
        annotated = {PARTS.sub("", name) for name in files(self._annotations(folder), frozenset({".npy"}))}
        for stem in without_image(sorted(annotated, key=lambda name: (len(name), name)), images):
            name = join(folder, "annotations", stem)
            yield AnnotatedFace(name=name, fault=f"there is no image of {name}_exp.npy and so on")

    def read(self, place: str) -> bytes:
        """The image's bytes; see ``Layout``."""
        return read_image(os.path.join(self.location, place))

    def _is_set(self, folder: str) -> bool:
        return all(os.path.isdir(os.path.join(self.location, folder, part)) for part in ("images", "annotations"))

    def _annotations(self, folder: str) -> str:
        return os.path.join(self.location, folder, "annotations")

    def _face(self, folder: str, image: str) -> AnnotatedFace:
        place, stem = join(folder, "images", image), os.path.splitext(image)[0]
        path = os.path.join(self._annotations(folder), stem)
        try:
            index = class_index(read_array(f"{path}_exp.npy").item(), len(EXPRESSIONS))
            affect = valence_arousal(read_array(f"{path}_val.npy").item(), read_array(f"{path}_aro.npy").item())
            points = read_array(f"{path}_lnd.npy").astype(np.float64)
            if points.size != 2 * IBUG68.count:
                raise ValueError(f"{stem}_lnd.npy has the shape {points.shape}, not ({2 * IBUG68.count},)")
            if fault := points_fault(points):
                raise ValueError(f"{stem}_lnd.npy has {fault}")
        except ValueError as error:
            return AnnotatedFace(name=place, place=place, fault=str(error))
        targets = {"expression": np.array(index), "affect": affect, "landmarks": points.reshape(-1, 2)}
        return AnnotatedFace(name=place, place=place, targets=targets)
